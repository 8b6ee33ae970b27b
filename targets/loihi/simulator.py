"""Runs a Loihi network in NumPy, many independent copies (lanes) at once, with exactly the integers that Lava computes.

It is event-driven by population: one that nothing arrived at has nothing new to send, so it is left alone.
"""

import copy
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.limits import PRODUCT_BITS, STATE_BITS, SYNAPTIC_BITS, Integers, excess
from nmbrl.targets.loihi.network import Input, Network, Population, Product, SigmaDelta, Synapses, Table


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
    """Synapses that share source, target, port and delay, as one matrix (source size, target size).

    Shifting a sum left is shifting its terms, so all non-negative exponents go into the matrix.
    """

    target: str
    port: int
    delay: int
    matrix: np.ndarray
    right_shift: int

    def deliver(self, messages: np.ndarray) -> Integers:
        """Return what float64 messages (batch, source size) deliver; exact while sums stay below 2^53."""
        current = (messages @ self.matrix).astype(np.int64).astype(np.int32)
        return current >> self.right_shift if self.right_shift else current


@dataclass
class _State:
    """Accumulators, one a port, ``sent`` and the value last given of a population; (lanes, size) each."""

    accumulators: list[Integers]
    sent: Integers
    value: Integers

    def extended(self, other: "_State", lanes: int) -> "_State":
        """Return this state with `lanes` copies of one lane behind it."""

        def extend(array: Integers, rest: Integers) -> Integers:
            return np.concatenate([array, np.repeat(rest, lanes, axis=0)])

        accumulators = [extend(*pair) for pair in zip(self.accumulators, other.accumulators, strict=True)]
        return _State(accumulators, extend(self.sent, other.sent), extend(self.value, other.value))


class Simulator:
    """A network's state in `batch` lanes.

    Args:
        network: what to run.
        batch: number of lanes at first; see `resize`.
        strict: raise `WidthError` where a number is too wide for the chip, instead of computing on as Lava does.
    """

    def __init__(self, network: Network, batch: int = 1, strict: bool = False) -> None:
        self.network = network
        self.strict = strict
        self.time = 0
        self.activity = Activity(network)
        self._populations = network.by_name
        self._wires = _wires(network.synapses)
        self._pending: dict[int, dict[tuple[str, int], Integers]] = defaultdict(dict)
        self._states = {population.name: _zeros(population, 1) for population in network.populations}
        self._fresh = True
        self._settle()
        self.resize(batch)

    def resize(self, batch: int) -> None:
        """Use the first `batch` lanes; lanes that were never used start settled on inputs of 0.

        Only between steps in which nothing is under way (a whole number of `Network.steps` after an input).
        """
        self.batch = batch
        for name, settled in self._settled.items():
            missing = batch - len(self._states[name].sent)
            if missing > 0:
                self._states[name] = self._states[name].extended(settled, missing)

    def run(self, values: dict[str, Integers] | None = None, steps: int | None = None) -> None:
        """Run steps.

        Args:
            values: see `step`, for the first of them.
            steps: how many; None for `Network.steps`.
        """
        for step in range(self.network.steps if steps is None else steps):
            self.step(values if step == 0 else None)

    def step(self, values: dict[str, Integers] | None = None) -> dict[str, Integers]:
        """Run one step.

        Args:
            values: new values (batch, size) of `Input` populations, by name of the population.

        Returns:
            Messages (batch, size) of every population that was updated; all others sent nothing.
        """
        arrived = self._pending.pop(self.time, {})
        for name, value in (values or {}).items():
            self._states[name].value[: self.batch] = value
        touched = {name for name, _ in arrived} | set(values or ())
        messages = {
            name: self._update(population, arrived)
            for name, population in self._populations.items()
            if self._fresh or name in touched
        }
        for name, sent in messages.items():
            self._send(name, sent)
        self.activity.lane_steps += self.batch
        self._fresh = False
        self.time += 1
        return messages

    def sent(self, name: str) -> Integers:
        """Return the value of a population: the sum (batch, size) of all it has sent."""
        return self._states[name].sent[: self.batch].copy()

    def _settle(self) -> None:
        """Let the biases run through, in one lane: what every lane's state is before its first input."""
        self.batch = 1
        for _ in range(self.network.steps):
            self.step()
        self._settled = copy.deepcopy(self._states)
        self.activity.clear()

    def _update(self, population: Population, arrived: dict[tuple[str, int], Integers]) -> Integers:
        """Add what arrived, compute the activation, and return the messages (batch, size) by the rule of `network`."""
        state = self._states[population.name]
        for port, accumulator in enumerate(state.accumulators):
            current = arrived.get((population.name, port))
            if current is not None:
                accumulator[: self.batch] += current
        accumulators = [accumulator[: self.batch] for accumulator in state.accumulators]
        is_input = isinstance(population, Input)
        y = state.value[: self.batch] if is_input else population.activate(accumulators)
        sent = state.sent[: self.batch]
        if not population.threshold:
            # floor(y - (sent << e)) >> e, without the detour
            messages = (y >> population.shift) - sent
        else:
            change = y - (sent << population.shift)
            messages = np.where(np.abs(change) < population.threshold, 0, change) >> population.shift
        sent += messages
        if self.strict:
            self._check(population, accumulators, y, messages, arrived)
        return messages

    def _send(self, name: str, messages: Integers) -> None:
        counts = np.count_nonzero(messages, axis=0)
        if not counts.any():
            return
        self.activity.messages[self.time % self.network.steps, self.activity.neurons[name]] += counts
        payload = messages.astype(np.float64)
        for wire in self._wires.get(name, ()):
            current = wire.deliver(payload)
            slot, key = self._pending[self.time + 1 + wire.delay], (wire.target, wire.port)
            slot[key] = slot[key] + current if key in slot else current

    def _check(
        self,
        population: Population,
        accumulators: list[Integers],
        y: Integers,
        messages: Integers,
        arrived: dict[tuple[str, int], Integers],
    ) -> None:
        """Raise `WidthError` for the first number of this step that the chip could not hold."""
        checks: list[tuple[str, np.ndarray, int]] = []
        for port, accumulator in enumerate(accumulators):
            current = arrived.get((population.name, port))
            if current is not None:
                checks.append((f"synaptic input {port}", current, SYNAPTIC_BITS))
            checks.append((f"accumulator {port}", accumulator, STATE_BITS))
        if isinstance(population, Product):
            for port, bias in enumerate((population.bias_0, population.bias_1)):
                checks.append((f"accumulator {port} and bias", accumulators[port] + bias, STATE_BITS))
            first, second = population.operands(accumulators)
            checks.append(("product", first.astype(np.int64) * second, PRODUCT_BITS))
        elif isinstance(population, SigmaDelta | Table):
            checks.append(("accumulator and bias", accumulators[0] + population.bias, STATE_BITS))
        checks += [("activation", y, STATE_BITS), ("message", messages, population.message_bits)]
        for variable, values, bits in checks:
            amount = excess(values, bits)
            if amount:
                raise WidthError(population.name, variable, self.time, amount, bits)


def _zeros(population: Population, lanes: int) -> _State:
    def zeros() -> Integers:
        return np.zeros((lanes, population.size), np.int32)

    return _State([zeros() for _ in range(population.ports)], zeros(), zeros())


def _wires(synapses: tuple[Synapses, ...]) -> dict[str, list[_Wire]]:
    """Make matrices, by source; parallel synapses become one unless a right shift rounds what each delivers."""
    merged: dict[tuple[str, str, int, int], np.ndarray] = {}
    wires: dict[str, list[_Wire]] = defaultdict(list)
    for part in synapses:
        matrix = np.ascontiguousarray(part.weights.T, np.float64)
        if part.weight_exp < 0:
            wires[part.source].append(_Wire(part.target, part.port, part.delay, matrix, -part.weight_exp))
            continue
        key = (part.source, part.target, part.port, part.delay)
        merged[key] = merged.get(key, 0.0) + matrix * 2.0**part.weight_exp
    for (source, target, port, delay), matrix in merged.items():
        wires[source].append(_Wire(target, port, delay, matrix, 0))
    return dict(wires)
