"""Executes a Loihi bundle of leaky integrate-and-fire neurons, whose potentials are part of the model's state."""

from typing import Any

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array
from nmbrl.targets.loihi.executor import AnySimulator, LoihiExecutor, require_population
from nmbrl.targets.loihi.host import Host
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import LIF, Network
from nmbrl.targets.loihi.spiking import ALIGNMENT


class SpikingExecutor(LoihiExecutor):
    """A call begins with the potentials that it is given, and nothing else of what a lane has seen before is left.

    On a chip that only runs the closed loop nothing of that is moved: populations simply run on. A spike that was sent
    in a decision's last step arrives in the first of the next, so the state must tell which neurons spiked: the
    potential of one that did, and that the chip has set to 0, is kept as its threshold + 1.

    Args:
        *arguments: see `LoihiExecutor`.
        host: what the host does.
        **options: see `LoihiExecutor`.
    """

    def __init__(self, *arguments: Any, host: Host, **options: Any) -> None:
        self.host = host
        super().__init__(*arguments, **options)
        self._edges = {name: _Edge(network, host) for name, network in self.networks.items()}

    def give(self, function: str, inputs: dict[str, Array]) -> dict[str, Integers]:
        """Return what the host gives before a decision; see `LoihiExecutor.give`."""
        return self._edges[function].give(inputs)

    def take(self, function: str, simulator: AnySimulator, last: dict[str, Integers]) -> dict[str, Array]:
        """Return what the host reads after a decision; see `LoihiExecutor.take`."""
        names = [tensor.name for tensor in self.functions[function].outputs]
        return self._edges[function].take(names, simulator, last)

    def run(self, simulator: AnySimulator, values: dict[str, Integers]) -> dict[str, Integers]:
        """Run the steps of a call and return the last step's messages; see `LoihiExecutor.run`."""
        for place, value in values.items():
            simulator.write(place, value)
        simulator.run(steps=simulator.network.steps - 1)
        return simulator.step()

    def check(self) -> None:
        """Check that bundle, networks and host fit together; see `LoihiExecutor.check`."""
        for function, network in self.networks.items():
            record = self.functions[function]
            given = {tensor.name: tensor.size for tensor in record.inputs}
            for name, encoder in self.host.encoders.items():
                numbers = sum(given.get(tensor, 0) for tensor in encoder.tensors)
                if name in network.by_name and encoder.weights.shape != (network.by_name[name].size, numbers):
                    raise NmbrlError(f"Loihi bundle: inputs of {name} do not fit {function}; convert again")
            for tensor in record.outputs:
                require_population(function, tensor, network.by_name.get(_population(tensor.name, self.host)))


class _Edge:
    """The edge of one function's network."""

    def __init__(self, network: Network, host: Host) -> None:
        self.host, self.network = host, network
        self.sizes = {population.name: population.size for population in network.populations}
        self.carried = [name for name in host.carried if name in self.sizes]
        self.encoders = {name: encoder for name, encoder in host.encoders.items() if name in self.sizes}
        self.scales = {name: 2.0**e for name, e in host.readouts.items() if name in self.sizes}
        self.changes = {name: largest for name, largest in host.changes.items() if name in self.sizes}
        self.thresholds: dict[str, Integers] = {}
        for name in self.carried:
            population = network.by_name[name]
            assert isinstance(population, LIF)
            self.thresholds[name] = population.vth << ALIGNMENT
        # Weights that a carried population's last spikes pass: of float32, in which their sums are exact.
        self.weights = [
            (part.source, part.target, np.ascontiguousarray(part.weights.T, np.float32), part.weight_exp)
            for part in network.synapses
            if part.source in self.carried
        ]

    def give(self, inputs: dict[str, Array]) -> dict[str, Integers]:
        batch = len(next(iter(inputs.values())))
        values = {
            f"{name}/{variable}": np.zeros((batch, size), np.int32)
            for name, size in self.sizes.items()
            for variable in ("u", "v", "arriving")
        }
        values |= {name: encoder.encode(inputs) for name, encoder in self.encoders.items()}
        spikes = {}
        for name in self.carried:
            potential = inputs[f"{name}_v"].astype(np.int32)
            spikes[name] = potential > self.thresholds[name]
            values[f"{name}/u"] = inputs[f"{name}_u"].astype(np.int32)
            values[f"{name}/v"] = np.where(spikes[name], 0, potential)
        for source, target, weights, exponent in self.weights:
            sums = (spikes[source].astype(np.float32) @ weights).astype(np.int32)
            values[f"{target}/arriving"] += sums << exponent if exponent >= 0 else sums >> -exponent
        for name, largest in self.changes.items():
            numbers = np.clip(inputs[name].astype(np.float64), -largest, largest)
            values[f"{name}/v"] = np.rint(numbers * self.scales[name]).astype(np.int32)
        return values

    def take(self, names: list[str], simulator: AnySimulator, messages: dict[str, Integers]) -> dict[str, Array]:
        outputs = {}
        for name in names:
            population = _population(name, self.host)
            if population in self.scales:
                outputs[name] = (simulator.read(f"{population}/v") / self.scales[population]).astype(np.float32)
            elif name.endswith("_u"):
                outputs[name] = simulator.read(f"{population}/u").astype(np.float32)
            else:
                potential = simulator.read(f"{population}/v")
                spiked = messages[population] != 0 if population in messages else np.zeros_like(potential, bool)
                outputs[name] = np.where(spiked, self.thresholds[population] + 1, potential).astype(np.float32)
        # What stands for a probability is a number that came close to one.
        return {name: np.clip(array, 0, 1) if name == "c" else array for name, array in outputs.items()}


def _population(tensor: str, host: Host) -> str:
    """Return the population that gives an output."""
    return tensor if tensor in host.readouts else tensor.removesuffix("_u").removesuffix("_v")
