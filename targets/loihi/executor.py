"""Executes a Loihi bundle: host numbers to integers, the network's steps of a decision, and back."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.bundle import Function, Tensor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor, Interface
from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.chips import LOIHI_2
from nmbrl.targets.loihi.compiled import CompiledSimulator
from nmbrl.targets.loihi.lava.comparison import LavaComparison
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import Network, Population
from nmbrl.targets.loihi.placement import Placement, place
from nmbrl.targets.loihi.simulator import Simulator
from nmbrl.targets.loihi.traffic import Routes

SIMULATORS = ("fast", "strict", "numpy", "lava")
AnySimulator = CompiledSimulator | Simulator


class LoihiExecutor(Executor):
    """Every function is a network of its own, which keeps its state from one call to the next.

    Lane i of a batch goes on from the i-th row of the last (`keep` says which of them), and only changes are sent.
    Where all thresholds are 0 a call's result does not depend on what a lane has seen before, only its counts do. With
    larger thresholds the last changes too small to send are missing from it, within the thresholds.

    Besides calls, ``counts`` has ``steps``, ``messages``, ``possible_messages`` (one a neuron and
    call, of spiking neurons one a step),
    ``synaptic_operations``, ``neuron_updates``, ``packets`` (messages times the axons that they leave through),
    ``hops_east_west`` and ``hops_north_south`` (tiles that those cross), all summed over the batch; ``messages``,
    ``synaptic_operations`` and ``neuron_updates`` also for each population, as ``messages/<function>/<population>``.

    Args:
        interface: shapes and constants of the model.
        macs: multiply-accumulates of one call of each function for one sample.
        functions: inputs and outputs of each function with their scales.
        networks: network of each function.
        simulator: one of `SIMULATORS`; with ``lava``, Lava runs beside the first lane; ``numpy`` is ``fast`` without
            compiled code.
        placement: cores of the networks; None lays them on Loihi 2.

    Attributes:
        routes: of each function.
        on_step: called with a function and the messages (batch, size) by population after each of its steps.

    Raises:
        NmbrlError: if the simulator is unknown or not installed, or functions and networks do not fit.
    """

    def __init__(
        self,
        interface: Interface,
        macs: dict[str, int],
        functions: dict[str, Function],
        networks: dict[str, Network],
        simulator: str = "fast",
        placement: Placement | None = None,
    ) -> None:
        super().__init__("loihi", interface, macs)
        if simulator not in SIMULATORS:
            raise NmbrlError(f"unknown simulator {simulator!r}; choose from {', '.join(SIMULATORS)}")
        self.functions, self.networks = functions, networks
        self.check()
        self.placement = placement or place(networks, LOIHI_2)
        self._limits = {
            (function, name): network.limit(place)
            for function, network in networks.items()
            for name, place in network.inputs.items()
        }
        self.routes = {name: Routes(name, network, self.placement) for name, network in networks.items()}
        self._messages = {name: np.zeros_like(routes.activity.messages) for name, routes in self.routes.items()}
        self._lanes = dict.fromkeys(networks, 0)
        self._names = {
            function: {
                quantity: [f"{quantity}/{function}/{population.name}" for population in network.populations]
                for quantity in ("messages", "synaptic_operations", "neuron_updates")
            }
            for function, network in networks.items()
        }
        self._kind = simulator
        self.on_step: Callable[[str, dict[str, Integers]], None] | None = None
        self._simulators: dict[str, AnySimulator] = {}
        self._lava: dict[str, LavaComparison] = {}

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function; see `Executor.call`.

        Raises:
            NmbrlError: in ``strict``, where a number is too wide for the chip (`WidthError`); in ``lava``, where Lava
                fails, takes too long or differs.
        """
        network = self.networks[function]
        batch = len(next(iter(inputs.values())))
        simulator = self._simulators.get(function)
        if simulator is None:
            simulator = self._simulators[function] = open_simulator(network, batch, self._kind)
            if self._kind == "lava":
                self._lava[function] = LavaComparison(network, simulator)
        else:
            simulator.resize(batch)
        values = self.give(function, inputs)
        if function in self._lava:
            self._lava[function].run(values)
            last = self._lava[function].last
        elif self.on_step is not None:
            for step in range(network.steps):
                last = simulator.step(values if step == 0 else None)
                self.on_step(function, last)
        else:
            last = self.run(simulator, values)
        self._lanes[function] += batch
        return self.take(function, simulator, last)

    @property
    def counts(self) -> Counter[str]:
        """See `Executor.counts`."""
        self._settle()
        return self._counts

    @property
    def messages(self) -> dict[str, NDArray[np.int64]]:
        """Messages of each neuron in each step of a call (steps, neurons), by function, since the start."""
        self._settle()
        return self._messages

    def give(self, function: str, inputs: dict[str, Array]) -> dict[str, Integers]:
        """Return what the host gives before a call, (batch, size) by place; see `Simulator.step`."""
        return {
            self.networks[function].inputs[tensor.name]: quantise(
                inputs[tensor.name], tensor, self._limits[function, tensor.name]
            )
            for tensor in self.functions[function].inputs
        }

    def run(self, simulator: AnySimulator, values: dict[str, Integers]) -> dict[str, Integers]:
        """Run the steps of a call; return the messages of the last step, if `take` needs them."""
        simulator.run(values)
        return {}

    def take(self, function: str, simulator: AnySimulator, last: dict[str, Integers]) -> dict[str, Array]:
        """Return the outputs (batch, size) by name.

        Args:
            function: that was called.
            simulator: after its steps.
            last: what `run` returned.
        """
        outputs = self.networks[function].outputs
        return {
            tensor.name: (simulator.read(outputs[tensor.name]) * scale(tensor)).astype(np.float32)
            for tensor in self.functions[function].outputs
        }

    def check(self) -> None:
        """Check that functions and networks fit together.

        Raises:
            NmbrlError: if they do not.
        """
        for name, function in self.functions.items():
            network = self.networks[name]
            for tensors, places in ((function.inputs, network.inputs), (function.outputs, network.outputs)):
                for tensor in tensors:
                    scale(tensor)
                    population = network.by_name.get(places.get(tensor.name, "").partition("/")[0])
                    require_population(name, tensor, population)

    def keep(self, lanes: NDArray[np.bool_]) -> None:
        """Let every network go on with the lanes that are left, or with the samples of each; see `Executor.keep`.

        Where Lava runs beside the first lane, lanes stay where they are.
        """
        for function, simulator in self._simulators.items():
            if function not in self._lava and simulator.batch % len(lanes) == 0:
                simulator.keep(np.repeat(lanes, simulator.batch // len(lanes)))

    def read_state(self, function: str, place: str) -> Integers:
        """Return a state variable (batch, size) of a function that has been called; see `Network.locate`."""
        return self._simulators[function].read(place)

    def forget(self) -> None:
        """Start all networks anew, as if nothing had been computed; counts stay."""
        self._settle()
        self.close()
        self._simulators.clear()
        self._lava.clear()

    def close(self) -> None:
        """End Lava where it runs."""
        for comparison in self._lava.values():
            comparison.close()

    def _settle(self) -> None:
        """Take over what simulators have counted: that takes as long as a call, so not at each."""
        for function, simulator in self._simulators.items():
            if simulator.activity.lane_steps or self._lanes[function]:
                self._count(function, simulator.activity)
                simulator.activity.clear()

    def _count(self, function: str, activity: Activity) -> None:
        routes, network = self.routes[function], self.networks[function]
        self._messages[function] += activity.messages
        messages = activity.by_neuron()
        total = {
            "steps": activity.lane_steps,
            "possible_messages": len(messages) * self._lanes[function] * network.turns,
            "packets": messages @ routes.packets,
            "hops_east_west": messages @ routes.hops_east_west,
            "hops_north_south": messages @ routes.hops_north_south,
        }
        self._lanes[function] = 0
        for quantity, counts in activity.by_population(messages).items():
            each = counts.tolist()
            total[quantity] = sum(each)
            total.update(zip(self._names[function][quantity], each, strict=True))
        for name, number in total.items():
            self._counts[name] += int(number)


def open_simulator(network: Network, batch: int, kind: str) -> AnySimulator:
    """Make a simulator: the compiled one, or the NumPy one where that is asked for or there is no C compiler.

    Args:
        network: what to run.
        batch: number of lanes.
        kind: one of `SIMULATORS`.
    """
    if kind != "numpy":
        with suppress(NmbrlError):
            return CompiledSimulator(network, batch, strict=kind == "strict")
    return Simulator(network, batch, strict=kind == "strict")


def require_population(function: str, tensor: Tensor, population: Population | None) -> None:
    """Raise an error where no population of a tensor's size stands for it."""
    if population is None or population.size != tensor.size:
        raise NmbrlError(f"Loihi bundle: {function} has no population of size {tensor.size} for {tensor.name}")


def scale(tensor: Tensor) -> float:
    """Return the real value of one step of a tensor; every tensor of a Loihi bundle has one."""
    if tensor.scale is None:
        raise NmbrlError(f"Loihi bundle: {tensor.name} has no scale; convert again")
    return tensor.scale


def quantise(values: Array, tensor: Tensor, limit: int) -> Integers:
    """Round to steps of a tensor's scale; beyond +-`limit` they saturate."""
    steps = values.astype(np.float64)
    steps /= scale(tensor)
    np.rint(steps, out=steps)
    np.minimum(steps, limit, out=steps)
    np.maximum(steps, -limit, out=steps)
    return steps.astype(np.int32)
