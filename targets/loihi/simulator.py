"""Runs a Loihi network in NumPy, many independent copies (lanes) at once, with exactly the integers that Lava computes.

This is the definition that the compiled simulator is held against; what a neuron does is in its kind's ``step``. Where
every population rests, one that nothing arrived at is left alone: it has nothing new to send.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.limits import Integers, excess
from nmbrl.targets.loihi.network import ARRIVING, GIVEN, Network, Population, Synapses
from nmbrl.targets.loihi.population import State


class WidthError(NmbrlError):
    """A number that is too wide for the chip.

    Attributes:
        population: where.
        variable: of what.
        step: steps since the simulator was made.
        amount: by how much the farthest value lies outside the width.
    """

    def __init__(self, population: str, variable: str, step: int, amount: int, bits: int) -> None:
        super().__init__(
            f"Loihi: {variable} of population {population} overflows {bits} bits by {amount} in step {step}; "
            "convert with calibration data that reaches as far, or with fewer message bits"
        )
        self.population, self.variable, self.step, self.amount = population, variable, step, amount


@dataclass
class _Wire:
    """Synapses that share source, target, port, delay and kind of message, as one matrix (source size, target size).

    Shifting a sum left is shifting its terms, so all non-negative exponents go into the matrix.
    """

    target: str
    port: int
    delay: int
    binary: bool
    matrix: np.ndarray
    right_shift: int

    def deliver(self, messages: Integers) -> Integers:
        """Return what messages (batch, source size) deliver; exact while sums stay below 2^53."""
        payload = (messages != 0 if self.binary else messages).astype(np.float64)
        current = (payload @ self.matrix).astype(np.int64).astype(np.int32)
        return current >> self.right_shift if self.right_shift else current


class Simulator:
    """A network's state in `batch` lanes.

    Args:
        network: what to run.
        batch: number of lanes at first; see `resize`.
        strict: raise `WidthError` where a number is too wide for the chip, instead of computing on as Lava does.

    Attributes:
        watch: called with a population, a name of its `Population.widths` and the numbers (batch, size), for each in
            each step.
    """

    def __init__(self, network: Network, batch: int = 1, strict: bool = False) -> None:
        self.network = network
        self.strict = strict
        self.watch: Callable[[str, str, np.ndarray], None] | None = None
        self.time = 0
        self.activity = Activity(network)
        self._populations = network.by_name
        self._wires = _wires(network.synapses)
        self._states = {population.name: _zeros(network, population) for population in network.populations}
        self._fresh, self.batch = True, 1
        if network.rests:
            # Let the biases run through.
            self.run()
            self.activity.clear()
        self._first = {name: {k: array.copy() for k, array in state.items()} for name, state in self._states.items()}
        self.resize(batch)

    def resize(self, batch: int) -> None:
        """Use the first `batch` lanes; others stand still.

        Lanes that were never used start as the first did: where the network rests, settled on inputs of 0, else with
        all variables 0.
        """
        self.batch = batch
        for name, first in self._first.items():
            state = self._states[name]
            for variable, array in first.items():
                missing = batch - len(state[variable])
                if missing > 0:
                    state[variable] = np.concatenate([state[variable], np.repeat(array, missing, axis=0)])

    def keep(self, lanes: NDArray[np.bool_]) -> None:
        """Go on in some lanes only, a mask (batch,), and in their order; the others stand still behind them."""
        order = np.argsort(~lanes, kind="stable")
        for state in self._states.values():
            for array in state.values():
                array[: self.batch] = array[order]
        self.resize(int(lanes.sum()))

    def run(self, values: dict[str, Integers] | None = None, steps: int | None = None) -> None:
        """Run steps.

        Args:
            values: see `step`, for the first of them.
            steps: how many; None for `Network.steps`.
        """
        for step in range(self.network.steps if steps is None else steps):
            self.step(values if step == 0 else None)

    def play(self, values: dict[str, Integers]) -> None:
        """Run a step for each row of values.

        Args:
            values: what the host gives before each step, (steps, batch, size) by place; nothing that is under way.
        """
        for step in range(len(next(iter(values.values())))):
            self.step({place: rows[step] for place, rows in values.items()})

    def step(self, values: dict[str, Integers] | None = None) -> dict[str, Integers]:
        """Run one step.

        Args:
            values: what the host gives before it, (batch, size) by place; see `Network`.

        Returns:
            Messages (batch, size) of every population that was updated; all others sent nothing.
        """
        for place, value in (values or {}).items():
            self.write(place, value)
        given = {place.partition("/")[0] for place in values or ()}
        every = self._fresh or not self.network.rests
        messages = {
            name: self._update(population)
            for name, population in self._populations.items()
            if every or name in given or any(arrived.any() for arrived in self._arriving(name, 0))
        }
        for name in self._populations:
            for port in self._arriving(name):
                # In step: what would arrive after k more steps now does after k - 1.
                port[:, :-1] = port[:, 1:]
                port[:, -1] = 0
        for name, sent in messages.items():
            self._send(name, sent)
        self.activity.lane_steps += self.batch
        self._fresh = False
        self.time += 1
        return messages

    def read(self, place: str) -> Integers:
        """Return a variable (batch, size) of a population; of a population alone its `Population.readout`."""
        return self._variable(*self.network.locate(place)).copy()

    def write(self, place: str, values: Integers) -> None:
        """Set a variable (batch, size) of a population; of a population alone what the host gives it."""
        self._variable(*self.network.locate(place, GIVEN))[:] = values

    def _variable(self, name: str, variable: str) -> Integers:
        if variable.startswith(ARRIVING):
            return self._arriving(name)[0][:, int(variable[len(ARRIVING) :] or 0)]
        return self._states[name][variable][: self.batch]

    def _arriving(self, name: str, steps: int | None = None) -> list[Integers]:
        """Return what is under way to each port (batch, steps from now, size), or of it what arrives in so many."""
        ports = [self._states[name][f"port {port}"][: self.batch] for port in range(self._populations[name].ports)]
        return ports if steps is None else [port[:, steps] for port in ports]

    def _update(self, population: Population) -> Integers:
        state = {variable: self._variable(population.name, variable) for variable in population.variables}
        widths = population.widths

        def check(variable: str, values: np.ndarray) -> None:
            if self.watch is not None:
                self.watch(population.name, variable, values)
            amount = excess(values, widths[variable]) if self.strict else 0
            if amount:
                raise WidthError(population.name, variable, self.time, amount, widths[variable])

        return population.step(state, self._arriving(population.name, 0), self.time, check)

    def _send(self, name: str, messages: Integers) -> None:
        counts = np.count_nonzero(messages, axis=0)
        if not counts.any():
            return
        self.activity.messages[self.time % self.network.steps, self.activity.neurons[name]] += counts
        for wire in self._wires.get(name, ()):
            self._arriving(wire.target, wire.delay)[wire.port] += wire.deliver(messages)


def _zeros(network: Network, population: Population) -> State:
    """Return one lane's variables, and what is under way to each port (lanes, steps from now, size)."""
    state = {variable: np.zeros((1, population.size), np.int32) for variable in population.variables}
    horizon = network.horizon(population.name)
    under_way = {f"port {port}": np.zeros((1, horizon, population.size), np.int32) for port in range(population.ports)}
    return {**state, **under_way}


def _wires(synapses: tuple[Synapses, ...]) -> dict[str, list[_Wire]]:
    """Make matrices, by source; parallel synapses become one unless a right shift rounds what each delivers."""
    merged: dict[tuple[str, str, int, int, bool], np.ndarray] = {}
    wires: dict[str, list[_Wire]] = defaultdict(list)
    for part in synapses:
        matrix = np.ascontiguousarray(part.weights.T, np.float64)
        if part.weight_exp < 0:
            wires[part.source].append(_Wire(part.target, part.port, part.delay, part.binary, matrix, -part.weight_exp))
            continue
        key = (part.source, part.target, part.port, part.delay, part.binary)
        merged[key] = merged.get(key, 0.0) + matrix * 2.0**part.weight_exp
    for (source, target, port, delay, binary), matrix in merged.items():
        wires[source].append(_Wire(target, port, delay, binary, matrix, 0))
    return dict(wires)
