"""Which integer stands for which real number: exponents of messages, weights and accumulators, from calibrated ranges.

Every scale is a power of two, so that sums, differences and pass-throughs are exact. A message m of a population stands
for ``m * 2^-k``, a weight w for ``w * 2^-j``, an accumulator's A for ``A * 2^-q``; with synapses of exponent e into it,
``q = j + k + e``. Precision is as fine as weights of 8 bits and the widths of the chip allow; where a width is too
narrow, the bit is taken from the messages while they are finer than the weights, then from the weights.
"""

from dataclasses import dataclass

import numpy as np

from nmbrl.convert.loihi.lowering import Graph
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.limits import PRODUCT_BITS, SYNAPTIC_BITS, WEIGHT_EXPONENTS
from nmbrl.targets.loihi.network import SignMode, weight_range

# Numbers may grow to this multiple of the largest seen in calibration before they exceed a width.
MARGIN = 2.0
# Messages give up their last bits for a width before weights do, but not below this many bits.
MESSAGE_BITS_KEPT = 8

NodeKey = tuple[str, str]
OperandKey = tuple[str, str, int]
TermKey = tuple[str, str, int, str]


@dataclass(frozen=True)
class Ranges:
    """What calibration saw.

    Attributes:
        values: largest magnitude of each node, in samples and at rest.
        operands: largest magnitude of each operand, with or without its bias.
        changes: largest change of each operand from rest, which is what arrives in a step; from one sample to another
            it is at most twice that.
        means: mean (size,) of each node.
    """

    values: dict[NodeKey, float]
    operands: dict[OperandKey, float]
    changes: dict[OperandKey, float]
    means: dict[NodeKey, np.ndarray]


def measure_ranges(graphs: dict[str, Graph], samples: dict[str, dict[str, np.ndarray]]) -> Ranges:
    """Evaluate graphs in float64.

    Args:
        graphs: of each function.
        samples: arrays (samples, size) by input, of each function.
    """
    ranges = Ranges({}, {}, {}, {})
    for function, graph in graphs.items():
        values = {node: samples[function][name].astype(np.float64) for name, node in graph.inputs.items()}
        rest = {node: np.zeros((1, array.shape[1])) for node, array in values.items()}
        for node in graph.nodes:
            for port, operand in enumerate(node.operands):
                sums = operand.evaluate(values)
                ranges.operands[function, node.name, port] = max(_largest(sums), _largest(sums - operand.bias))
                ranges.changes[function, node.name, port] = _largest(sums - operand.evaluate(rest))
            if node.kind != "input":
                values[node.name], rest[node.name] = node.evaluate(values), node.evaluate(rest)
            ranges.values[function, node.name] = max(_largest(values[node.name]), _largest(rest[node.name]))
            ranges.means[function, node.name] = values[node.name].mean(axis=0)
    return ranges


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max())


@dataclass(frozen=True)
class Scales:
    """The chosen exponents; see the module.

    Attributes:
        messages: k of each node.
        weights: j of each term of an operand.
        accumulators: q of each operand.
    """

    messages: dict[NodeKey, int]
    weights: dict[TermKey, int]
    accumulators: dict[OperandKey, int]


def choose_scales(
    graphs: dict[str, Graph], ranges: Ranges, tied: list[set[NodeKey]], message_bits: int, weight_bits: int
) -> Scales:
    """Choose all exponents.

    Args:
        graphs: of each function.
        ranges: of their nodes.
        tied: nodes that must have the same message scale: a state segment wherever it goes in or out.
        message_bits: width of messages, signed.
        weight_bits: width of weights without their sign.
    """
    return _Choice(graphs, ranges, tied, message_bits, weight_bits).run()


class _Choice:
    """Starts from the finest exponents and gives up a bit at a time until every width holds."""

    def __init__(
        self, graphs: dict[str, Graph], ranges: Ranges, tied: list[set[NodeKey]], message_bits: int, weight_bits: int
    ) -> None:
        self.nodes = {(function, node.name): node for function, graph in graphs.items() for node in graph.nodes}
        self.ranges = ranges
        self.tied = tied
        # A message is a change, up to twice as large as a value.
        self.k = {key: _exponent(MARGIN * ranges.values[key], 2.0 ** (message_bits - 2)) for key in self.nodes}
        self.finest: dict[TermKey, int] = {}
        self.exact: dict[TermKey, int | None] = {}
        self.j: dict[TermKey, int] = {}
        self.q: dict[OperandKey, int] = {}
        for (function, name), node in self.nodes.items():
            for port, operand in enumerate(node.operands):
                for source, matrix in operand.terms.items():
                    key = (function, name, port, source)
                    self.finest[key] = finest_weights(matrix, weight_bits)
                    self.exact[key] = _coarsest_exact(matrix, self.finest[key], weight_bits)

    def run(self) -> Scales:
        while not self.settled():
            pass
        return Scales(self.k, self.j, self.q)

    def settled(self) -> bool:
        """Give up one round of bits; return whether none had to be."""
        before = (dict(self.k), dict(self.finest))
        for group in self.tied:
            smallest = min(self.k[key] for key in group)
            self.k.update(dict.fromkeys(group, smallest))
        for key, node in self.nodes.items():
            for port in range(len(node.operands)):
                self.align((*key, port))
                limit = 2.0 ** (SYNAPTIC_BITS - 1) / MARGIN
                largest = max(self.ranges.operands[*key, port], self.ranges.changes[*key, port])
                if largest * 2.0 ** self.q[*key, port] > limit:
                    self.coarsen((*key, port))
            if node.kind == "product":
                exponents = (self.q[*key, port] - product_shift(self.ranges, self.q, (*key, port)) for port in range(2))
                self.k[key] = min(self.k[key], sum(exponents))
            elif node.kind in ("linear", "relu"):
                self.k[key] = min(self.k[key], self.q[*key, 0])
        return before == (self.k, self.finest)

    def align(self, key: OperandKey) -> None:
        """Give the terms of an operand one accumulator scale, within the range of weight exponents."""
        terms = self.terms(key)
        if not terms:
            self.q[key] = _exponent(MARGIN * self.ranges.operands[key], 2.0 ** (SYNAPTIC_BITS - 1))
            return
        for term in terms:
            exact = self.exact[term]
            self.j[term] = self.finest[term] if exact is None else exact
        reach = min(self.finest[term] + self.message(term) for term in terms) + WEIGHT_EXPONENTS[-1]
        q = self.q[key] = min(max(self.j[term] + self.message(term) for term in terms), reach)
        for term in terms:
            spread = q - self.message(term)
            self.j[term] = min(max(self.j[term], spread - WEIGHT_EXPONENTS[-1]), spread)

    def coarsen(self, key: OperandKey) -> None:
        """Take one bit from the finest term of an operand."""
        term = max(self.terms(key), key=lambda term: self.j[term] + self.message(term))
        source = (key[0], term[3])
        bits = np.log2(max(self.ranges.values[source], 1e-30)) + self.k[source]
        if bits > MESSAGE_BITS_KEPT or self.exact[term] is not None:
            self.k[source] -= 1
        else:
            self.finest[term] = self.j[term] = self.j[term] - 1
        if self.k[source] < -64:
            raise NmbrlError(
                f"Loihi: {key[1]} of {key[0]} does not fit {SYNAPTIC_BITS} bits; check the calibration data"
            )

    def terms(self, key: OperandKey) -> list[TermKey]:
        return [(*key, source) for source in self.nodes[key[:2]].operands[key[2]].terms]

    def message(self, term: TermKey) -> int:
        return self.k[term[0], term[3]]


def product_shift(ranges: Ranges, accumulators: dict[OperandKey, int], key: OperandKey) -> int:
    """Return by how many bits an operand of a product is too fine: each may fill half of the product's width."""
    limit = 2.0 ** ((PRODUCT_BITS - 1) / 2) / MARGIN
    return max(0, accumulators[key] - _exponent(ranges.operands[key], limit))


def sign_mode(matrix: np.ndarray) -> SignMode:
    """Return the sign mode that loses least: a one-sided matrix needs no sign."""
    if (matrix >= 0).all():
        return "excitatory"
    return "inhibitory" if (matrix <= 0).all() else "mixed"


def round_weights(matrix: np.ndarray, exponent: int, weight_bits: int) -> np.ndarray:
    """Return the weights (float64, whole) that a synapse holds for ``matrix * 2^exponent``."""
    low, high, step = weight_range(sign_mode(matrix), weight_bits)
    return np.clip(np.rint(matrix * 2.0**exponent / step) * step, low, high)


def finest_weights(matrix: np.ndarray, weight_bits: int) -> int:
    """Return the largest exponent at which all of a matrix fits its synapses."""
    low, high, _ = weight_range(sign_mode(matrix), weight_bits)
    return _exponent(_largest(matrix), max(-low if sign_mode(matrix) == "inhibitory" else high, 1))


def _coarsest_exact(matrix: np.ndarray, finest: int, weight_bits: int) -> int | None:
    """Return the smallest exponent at which nothing is rounded, as in sums and differences; None if there is none."""
    if not np.array_equal(round_weights(matrix, finest, weight_bits), matrix * 2.0**finest):
        return None
    exponent = finest
    while np.array_equal(round_weights(matrix, exponent - 1, weight_bits), matrix * 2.0 ** (exponent - 1)):
        exponent -= 1
    return exponent


def _exponent(largest: float, limit: float) -> int:
    """Return the largest e for which ``largest * 2^e <= limit``."""
    return int(np.floor(np.log2(limit / max(largest, 1e-6))))


def tie_states(graphs: dict[str, Graph], segments: tuple[str, ...]) -> list[set[NodeKey]]:
    """Return, for each state segment, the nodes that take or give it."""
    groups = []
    for segment in segments:
        group = {(function, graph.inputs[segment]) for function, graph in graphs.items() if segment in graph.inputs}
        group |= {(function, graph.outputs[segment]) for function, graph in graphs.items() if segment in graph.outputs}
        if group:
            groups.append(group)
    return groups
