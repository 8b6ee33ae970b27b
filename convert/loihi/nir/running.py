"""Runs an imported graph on the chip's simulators, in the graph's time and units, and compares it with the graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nmbrl.convert.loihi.nir.graph import Floats
from nmbrl.convert.loihi.nir.importing import Imported
from nmbrl.convert.loihi.nir.simulation import simulate
from nmbrl.targets.loihi.executor import open_simulator
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import LIF


@dataclass(frozen=True)
class Agreement:
    """How far a network's spikes are those of its graph in floating point.

    Attributes:
        expected: spikes of the graph.
        found: spikes of the network.
        equal: those that both have, of the same neuron in the same step.
    """

    expected: int
    found: int
    equal: int

    @property
    def share(self) -> float:
        """Equal spikes of all that either has; 1 where neither has any."""
        either = self.expected + self.found - self.equal
        return self.equal / either if either else 1.0


def run(imported: Imported, inputs: Mapping[str, Floats], simulator: str = "fast") -> dict[str, Floats]:
    """Run an imported network from rest.

    Args:
        imported: what to run.
        inputs: of every input of the graph (steps, batch, size).
        simulator: see `nmbrl.targets.loihi.executor.SIMULATORS`; not ``lava``.

    Returns:
        What outputs are in each step, and the spikes of every population, by the network's names (steps, batch, size).
        Step t is that of the inputs, although the chip computes it as many steps later as there are synapses between.
    """
    network, graph = imported.network, imported.graph
    steps, batch = next(iter(inputs.values())).shape[:2]
    machine = open_simulator(network, batch, simulator)
    given = _given(imported, inputs)
    found = {name: np.zeros((steps, batch, part.size)) for name, part in network.by_name.items()}
    last = max(imported.levels.values())
    readouts = imported.host.readouts
    for step in range(steps + last):
        for name, level in imported.levels.items():
            if step <= level and name in imported.rising:
                part = network.by_name[name]
                machine.write(f"{name}/u", np.broadcast_to(imported.rising[name], (batch, part.size)))
                machine.write(f"{name}/v", np.zeros((batch, part.size), np.int32))
        for name in readouts:
            machine.write(f"{name}/v", np.zeros((batch, network.by_name[name].size), np.int32))
        for name, values in given.items():
            t = step - imported.levels[name]
            machine.write(name, values[t] if 0 <= t < steps else np.zeros_like(values[0]))
        messages = machine.step()
        for name in found:
            t = step - imported.levels.get(name, 0)
            if 0 <= t < steps:
                if name in readouts:
                    found[name][t] = machine.read(f"{name}/v") / 2.0 ** readouts[name].astype(np.float64)
                elif name in messages:
                    found[name][t] = messages[name] != 0
    outputs = {name: found[place.partition("/")[0]] for name, place in network.outputs.items()}
    assert set(outputs) == set(graph.outputs)
    return {**found, **outputs}


def agreement(imported: Imported, inputs: Mapping[str, Floats], simulator: str = "fast") -> Agreement:
    """Run graph and network on the same inputs and count the spikes of all populations that came from the graph."""
    expected, found = simulate(imported.graph, inputs), run(imported, inputs, simulator)
    pairs = [(expected[name] != 0, found[name.replace("/", "_")] != 0) for name in imported.graph.neurons]
    return Agreement(
        expected=sum(int(a.sum()) for a, _ in pairs),
        found=sum(int(b.sum()) for _, b in pairs),
        equal=sum(int((a & b).sum()) for a, b in pairs),
    )


def _given(imported: Imported, inputs: Mapping[str, Floats]) -> dict[str, Integers]:
    """Return what the host gives populations in each step (steps, batch, size)."""
    network, given = imported.network, {}
    for name, place in network.inputs.items():
        if place not in imported.host.encoders:
            given[place] = inputs[name].astype(np.int32)
    for place, encoder in imported.host.encoders.items():
        population = network.by_name[place]
        assert isinstance(population, LIF)
        keep_u = (4095 - int(population.du[0])) / 4096
        low_passed = {}
        for name in encoder.tensors:
            held, now = [], np.zeros_like(inputs[name][0])
            for numbers in inputs[name]:
                now = keep_u * now + numbers
                held.append(now)
            low_passed[name] = np.stack(held)
        given[place] = np.stack(
            [encoder.encode({name: array[t] for name, array in low_passed.items()}) for t in range(len(held))]
        )
    return given
