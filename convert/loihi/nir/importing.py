"""From a NIR graph to a Loihi network in fixed point: scales, synapses, and what the host does at the edge.

A population's equations hold at any scale, so each is scaled such that its thresholds, currents and biases fit the
chip, and its largest weight fills its synapse. Where all numbers are whole as they are, as in graphs that were exported
from here, the scale is 1 and nothing is rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nmbrl.convert.loihi.nir.graph import Arriving, Floats, Graph, Neurons
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.host import Encoder, Host
from nmbrl.targets.loihi.limits import (
    BIAS_BITS,
    BIAS_EXPONENTS,
    DELAYS,
    STATE_BITS,
    SYNAPTIC_BITS,
    THRESHOLD_BITS,
    WEIGHT_EXPONENTS,
    Integers,
    representable,
)
from nmbrl.targets.loihi.network import LIF, Network, Population, Synapses, weight_range
from nmbrl.targets.loihi.spiking import ALIGNMENT, DECAY_SHIFT

INPUTS = ("spikes", "currents")
UNIT = 1 << ALIGNMENT
SHARE = 1 << DECAY_SHIFT
# Potentials may go so many thresholds below 0 before the chip clips them.
HEADROOM = 16
LARGEST_THRESHOLD = (1 << THRESHOLD_BITS) // HEADROOM
MANTISSA = representable(BIAS_BITS)[1]
# What the host gives: numbers in steps of 2^-12, up to 64; its matrix has eight more bits than those products lose.
HOST_EXP, HOST_SHIFT, HOST_LARGEST = 12, 20, 64
# Currents that the host gives go up to so many thresholds a step.
CURRENT_THRESHOLDS = 4


@dataclass(frozen=True, eq=False)
class Imported:
    """A graph on the chip.

    Attributes:
        graph: in floating point.
        network: in fixed point; its outputs are spikes of a population, or potentials of readouts.
        host: encoders of inputs that are currents, exponents of readouts.
        levels: steps after which each population begins, as every synapse takes one.
        rising: u (size,) with which a population begins: constant currents are biases, which do not rise as in NIR.
        scales: chip's thresholds that are 1 in the graph, by population.
    """

    graph: Graph
    network: Network
    host: Host
    levels: dict[str, int]
    rising: dict[str, Integers]
    scales: dict[str, float]


def quantise(graph: Graph, inputs: str = "spikes", weight_bits: int = 8, steps: int = 1) -> Imported:
    """Make a Loihi network of a graph.

    Args:
        graph: see `nmbrl.convert.loihi.nir.graph.discretise`.
        inputs: ``spikes`` (0 or 1: each input is a population that the host gives 1 where there is a spike, with
            synapses from it) or ``currents`` (real numbers, up to 64 in magnitude once low-passed by tau_syn: the host
            multiplies them by the weights and gives neurons biases).
        weight_bits: of synapses, the sign included, 2 to 9; of 1 bit they would be -256 and 0.
        steps: of a decision: potentials of readouts have room for so many.

    Raises:
        NmbrlError: if an option is out of range, or a population has numbers that no scale fits on the chip.
    """
    if inputs not in INPUTS:
        raise NmbrlError(f"unknown inputs {inputs!r}; choose from {', '.join(INPUTS)}")
    for name, value, low, high in (("weight-bits", weight_bits, 2, 9), ("steps", steps, 1, 1024)):
        if not low <= value <= high:
            raise NmbrlError(f"--{name} is {value}; it must be in {low} to {high}")
    return _Import(graph, inputs, weight_bits, steps).result()


class _Import:
    def __init__(self, graph: Graph, inputs: str, weight_bits: int, steps: int) -> None:
        self.graph, self.bits, self.steps = graph, weight_bits, steps
        self.relays = graph.inputs if inputs == "spikes" else {}
        self.levels = _levels(graph, self.relays)
        self.names = {name: name.replace("/", "_") for name in (*graph.inputs, *graph.neurons, *graph.outputs)}
        if len(set(self.names.values())) < len(self.names):
            raise NmbrlError("NIR graph: two nodes have the same name but for their slashes")
        self.populations: list[Population] = []
        self.synapses: list[Synapses] = []
        self.rising: dict[str, Integers] = {}
        self.scales: dict[str, float] = {}
        self.encoders: dict[str, Encoder] = {}
        self.readouts: dict[str, Integers] = {}
        self.given: dict[str, str] = {}

    def result(self) -> Imported:
        graph = self.graph
        for name, size in self.relays.items():
            self.populations.append(_relay(self.names[name], size))
            self.given[name] = self.names[name]
        for name, part in graph.neurons.items():
            self._add_population(name, part, graph.arriving[name])
        outputs = {}
        for name in graph.outputs:
            spiking = graph.spiking(name)
            if spiking is None:
                self._add_readout(name, graph.arriving[name])
            outputs[name] = self.names[spiking] if spiking is not None else f"{self.names[name]}/v"
        network = Network(tuple(self.populations), tuple(self.synapses), self.given, outputs, self.steps)
        host = Host(self.encoders, self.readouts, {}, ())
        levels = {self.names[name]: level for name, level in self.levels.items()}
        return Imported(graph, network, host, levels, self.rising, self.scales)

    def _add_population(self, name: str, part: Neurons, arriving: Arriving) -> None:
        own = self.names[name]
        weights = {source: part.gain[:, None] * matrix for source, matrix in arriving.weights.items()}
        currents = {source: weights.pop(source) for source in list(weights) if source in self._hosts()}
        constant = part.gain * arriving.constant
        if np.any((part.keep_u == 1) & (constant != 0)):
            raise NmbrlError(f"NIR graph: a constant current into {name}, whose tau_syn is out of all proportion")
        steady = np.divide(constant, 1 - part.keep_u, out=np.zeros_like(constant), where=constant != 0)
        bias = part.bias + steady
        scale = self._scale(name, part, list(weights.values()), bias)
        exponent = _bias_exponent(bias * scale * UNIT, part.threshold.max() * scale * UNIT if currents else 0.0)
        mantissa = np.rint(bias * scale * UNIT / (1 << exponent)).astype(np.int32)
        self.scales[own] = scale
        self.rising[own] = np.rint(-steady * scale * UNIT).astype(np.int32)
        self.populations.append(
            LIF(
                name=own,
                size=part.size,
                du=np.clip(np.rint(SHARE * (1 - part.keep_u)) - 1, 0, SHARE - 1).astype(np.int32),
                dv=np.clip(np.rint(SHARE * (1 - part.keep_v)), 0, SHARE - 1).astype(np.int32),
                bias_mant=mantissa,
                bias_exp=np.full(part.size, exponent, np.int32),
                vth=np.rint(part.threshold * scale).astype(np.int32),
            )
        )
        for source, matrix in weights.items():
            self._connect(source, name, matrix * scale)
        if currents:
            self._encode(name, part, currents, scale, exponent, MANTISSA - int(np.abs(mantissa).max()))

    def _add_readout(self, name: str, arriving: Arriving) -> None:
        own, size = self.names[name], len(np.atleast_1d(arriving.constant))
        if any(source in self.graph.inputs for source in arriving.weights):
            raise NmbrlError(f"NIR graph: output {name} takes an input that passes no neurons")
        rows = np.concatenate([np.abs(matrix) for matrix in arriving.weights.values()], axis=1)
        _, high, _ = weight_range("mixed", self.bits)
        # Each row is scaled such that its largest weight fills the synapse, and a decision's sum the potential.
        bounds = (
            (high, rows.max(axis=1)),
            (representable(STATE_BITS)[1] / UNIT / self.steps, rows.sum(axis=1) + np.abs(arriving.constant)),
            (MANTISSA * (1 << BIAS_EXPONENTS[-1]) / UNIT, np.abs(arriving.constant)),
        )
        fits = np.full(size, 2.0**20)
        for most, needed in bounds:
            fits = np.minimum(fits, np.divide(most, needed, out=np.full(size, 2.0**20), where=needed > 0))
        exponents = np.floor(np.log2(fits)).astype(np.int32)
        scale = 2.0**exponents
        constant = arriving.constant * scale * UNIT
        exponent = _bias_exponent(constant, 0.0)
        self.readouts[own] = (exponents + ALIGNMENT).astype(np.int32)

        def full(number: int) -> Integers:
            return np.full(size, number, np.int32)

        self.populations.append(
            LIF(
                name=own,
                size=size,
                du=full(SHARE - 1),
                dv=full(0),
                bias_mant=np.rint(constant / (1 << exponent)).astype(np.int32),
                bias_exp=full(exponent),
                vth=full((1 << THRESHOLD_BITS) - 1),
            )
        )
        for source, matrix in arriving.weights.items():
            self._connect(source, name, matrix * scale[:, None])

    def _connect(self, source: str, target: str, weights: Floats) -> None:
        """Add synapses; the exponent is 0 where that loses nothing, else the least that the largest weight fits."""
        if not weights.any():
            return
        low, high, step = weight_range("mixed", self.bits)
        exponent = 0 if _whole(weights, low, high, step) else _weight_exponent(np.abs(weights).max(), high)
        held = np.clip(np.rint(weights / 2.0**exponent / step) * step, low, high).astype(np.int32)
        delay = max(0, self.levels[target] - self.levels[source] - 1)
        if delay not in DELAYS:
            raise NmbrlError(f"NIR graph: {target} is {delay} populations behind {source}, at most {DELAYS[-1]}")
        self.synapses.append(
            Synapses(
                source=self.names[source],
                target=self.names[target],
                weights=held,
                weight_exp=exponent,
                weight_bits=self.bits,
                delay=delay if source != target else 0,
                binary=True,
            )
        )

    def _hosts(self) -> set[str]:
        """Return the inputs that the host multiplies."""
        return set(self.graph.inputs) - set(self.relays)

    def _encode(
        self, name: str, part: Neurons, currents: Mapping[str, Floats], scale: float, exponent: int, limit: int
    ) -> None:
        if np.ptp(part.keep_u) > 0:
            raise NmbrlError(f"NIR graph: {name} takes currents and its neurons differ in tau_syn; --inputs spikes can")
        matrix = np.concatenate(list(currents.values()), axis=1) * scale * UNIT / (1 << exponent)
        weights = np.rint(matrix * 2.0 ** (HOST_SHIFT - HOST_EXP))
        if np.abs(weights).max() >= 1 << 31:
            raise NmbrlError(f"NIR graph: currents into {name} are out of all proportion to its thresholds")
        self.encoders[self.names[name]] = Encoder(
            tensors=tuple(currents),
            weights=weights.astype(np.int32),
            exponent=HOST_EXP,
            largest=HOST_LARGEST << HOST_EXP,
            shift=HOST_SHIFT,
            limit=limit,
        )
        self.given[name] = self.names[name]

    def _scale(self, name: str, part: Neurons, weights: list[Floats], bias: Floats) -> float:
        low, high, step = weight_range("mixed", self.bits)
        threshold, largest_bias = part.threshold.max(), np.abs(bias).max()
        if (
            np.array_equal(part.threshold, np.rint(part.threshold))
            and threshold < 1 << THRESHOLD_BITS
            and largest_bias * UNIT <= MANTISSA << BIAS_EXPONENTS[-1]
            and all(_exact(matrix, low, high, step) for matrix in weights)
        ):
            return 1.0
        largest = max((float(np.abs(matrix).max()) for matrix in weights), default=0.0)
        sums = sum((np.abs(matrix).sum(axis=1) for matrix in weights), np.zeros(part.size))
        # Where all that synapses can deliver arrives in every step, a current grows to this much.
        currents = sums / np.maximum(1 - part.keep_u, 1 / SHARE)
        bounds = [
            (LARGEST_THRESHOLD, threshold),
            (representable(SYNAPTIC_BITS)[1], sums.max()),
            (representable(STATE_BITS)[1] / UNIT, currents.max()),
            (representable(STATE_BITS)[1] / UNIT, (currents + np.abs(bias)).max()),
            ((MANTISSA << BIAS_EXPONENTS[-1]) / UNIT / 2, largest_bias),
            (high * 2.0 ** WEIGHT_EXPONENTS[-1], largest),
        ]
        scale = min((most / needed for most, needed in bounds if needed > 0), default=1.0)
        if threshold > 0 and scale * threshold < 1:
            raise NmbrlError(
                f"NIR graph: what arrives at {name} is {currents.max() / threshold:.3g} times its threshold at most;"
                f" the chip's currents hold {representable(STATE_BITS)[1] / UNIT:,.0f} of the smallest thresholds"
            )
        if largest > 0:
            exponent = _weight_exponent(scale * largest, high)
            filled = high * 2.0**exponent / largest
            scale = filled if filled <= scale else filled / 2
        return scale


def _levels(graph: Graph, relays: Mapping[str, int]) -> dict[str, int]:
    """Return the step in which each input, population and output begins; populations in a loop begin together."""
    names = list(graph.neurons)
    index = {name: k for k, name in enumerate(names)}
    reach = np.eye(len(names), dtype=bool)
    for target in names:
        for source in graph.arriving[target].weights:
            if source in index:
                reach[index[source], index[target]] = True
    for k in range(len(names)):
        reach |= reach[:, k : k + 1] & reach[k : k + 1]
    together = reach & reach.T
    found = dict.fromkeys(graph.inputs, 0)
    found |= dict.fromkeys(names, 0)
    for _ in names:
        for target in (*names, *graph.outputs):
            sources = graph.arriving[target].weights
            before = [
                found[source] + 1
                for source in sources
                if source in relays
                or (source in index and not (target in index and together[index[source], index[target]]))
            ]
            found[target] = max([found.get(target, 0), *before])
            if target in index:
                for other in np.flatnonzero(together[index[target]]):
                    found[names[other]] = max(found[names[other]], found[target])
    return found


def _relay(name: str, size: int) -> LIF:
    """Neurons that spike in the steps in which the host gives them 1, and forget that at once."""

    def full(number: int) -> Integers:
        return np.full(size, number, np.int32)

    return LIF(
        name=name, size=size, du=full(SHARE - 1), dv=full(SHARE - 1), bias_mant=full(0), bias_exp=full(0), vth=full(0)
    )


def _whole(weights: Floats, low: int, high: int, step: int) -> bool:
    """Return whether weights are what a synapse holds, but for the rounding of floating point."""
    held = np.rint(weights / step) * step
    return bool((held >= low).all() and (held <= high).all() and np.allclose(weights, held, rtol=1e-6, atol=1e-9))


def _exact(weights: Floats, low: int, high: int, step: int) -> bool:
    """Return whether synapses hold weights just as they are."""
    return any(_whole(weights / 2.0**exponent, low, high, step) for exponent in WEIGHT_EXPONENTS)


def _weight_exponent(largest: float, high: int) -> int:
    """Return the least exponent with which a synapse holds a weight."""
    exponent = int(np.ceil(np.log2(largest / high) - 1e-9))
    return min(max(exponent, WEIGHT_EXPONENTS[0]), WEIGHT_EXPONENTS[-1])


def _bias_exponent(biases: Floats, threshold: float) -> int:
    """Return the least exponent that biases, and the currents that go with a threshold, have room with."""
    largest = max(float(np.abs(biases).max()), 0.0)
    needed = max(largest * 2 if threshold else largest, CURRENT_THRESHOLDS * threshold)
    exponent = int(np.ceil(np.log2(max(needed / MANTISSA, 1.0))))
    return min(exponent, BIAS_EXPONENTS[-1])
