"""From a graph with its scales to a Loihi network."""

from typing import Any

import numpy as np

from nmbrl.convert.loihi.lowering import Graph, Node
from nmbrl.convert.loihi.scales import MARGIN, NodeKey, Ranges, Scales, product_shift, round_weights, sign_mode
from nmbrl.targets.loihi.limits import Integers, representable
from nmbrl.targets.loihi.network import Input, Network, Population, Product, SigmaDelta, Synapses, Table

# Segments of a table: 512 over +-8 leave the linear interpolation of tanh 1e-4 off.
SEGMENTS = 512


class Emission:
    """Makes the network of one function.

    Args:
        function: name of the function.
        graph: what it computes.
        scales: of every function's nodes.
        ranges: of every function's nodes.
        message_bits: width of messages, signed.
        weight_bits: width of weights without their sign.
        threshold: changes smaller than this many steps of a population's messages are not sent; outputs always
            send everything.
    """

    def __init__(
        self,
        function: str,
        graph: Graph,
        scales: Scales,
        ranges: Ranges,
        message_bits: int,
        weight_bits: int,
        threshold: float,
    ) -> None:
        self.function, self.graph, self.scales, self.ranges = function, graph, scales, ranges
        self.message_bits, self.weight_bits, self.threshold = message_bits, weight_bits, threshold
        self.kinds = {node.name: node.kind for node in graph.nodes}

    def network(self) -> Network:
        """Return the network: a population a node; delays make all that one input sets off arrive there at once."""
        depths = self.graph.depths()
        synapses = tuple(
            self._synapses(node, port, source, depths[node.name] - depths[source] - 1)
            for node in self.graph.nodes
            for port, operand in enumerate(node.operands)
            for source in operand.terms
        )
        return Network(
            populations=tuple(self._population(node) for node in self.graph.nodes),
            synapses=synapses,
            inputs=dict(self.graph.inputs),
            outputs=dict(self.graph.outputs),
            steps=max(depths.values()) + 1,
        )

    def _synapses(self, node: Node, port: int, source: str, delay: int) -> Synapses:
        matrix = node.operands[port].terms[source]
        j = self.scales.weights[self.function, node.name, port, source]
        return Synapses(
            source=source,
            target=node.name,
            weights=round_weights(matrix, j, self.weight_bits).astype(np.int32),
            port=port,
            weight_exp=self._accumulator(node, port) - j - self._message(source),
            weight_bits=self.weight_bits,
            sign_mode=sign_mode(matrix),
            delay=delay,
        )

    def _population(self, node: Node) -> Population:
        k = self._message(node.name)
        shift = self._accumulator(node, 0) - k if node.kind in ("linear", "relu") else 0
        common: dict[str, Any] = {
            "name": node.name,
            "size": node.size,
            "threshold": 0 if node.name in self.graph.outputs.values() else round(self.threshold * 2.0**shift),
            "message_bits": self.message_bits,
        }
        if node.kind == "input":
            return Input(**common, limit=self._limit(node))
        if node.kind == "product":
            return self._product(node, common)
        if node.kind == "table":
            values, exponent = self._table(node)
            return Table(**common, bias=self._bias(node, 0), values=values, exponent=exponent)
        # Half a step more makes the floor of the shift a rounding.
        return SigmaDelta(**common, bias=self._bias(node, 0) + _half(shift), state_exp=shift, relu=node.kind == "relu")

    def _limit(self, node: Node) -> int:
        """Return the largest input that the accumulators have room for; messages are changes, twice as wide."""
        largest = int(MARGIN * self.ranges.values[self.function, node.name] * 2.0 ** self._message(node.name))
        return min(max(largest, 1), (1 << (self.message_bits - 2)) - 1)

    def _product(self, node: Node, common: dict[str, Any]) -> Product:
        accumulators = self.scales.accumulators
        shifts = [product_shift(self.ranges, accumulators, (self.function, node.name, port)) for port in range(2)]
        exponent = sum(self._accumulator(node, port) - shifts[port] for port in range(2)) - self._message(node.name)
        biases = [self._bias(node, port) + _half(shifts[port]) for port in range(2)]
        return Product(
            **common, bias_0=biases[0], bias_1=biases[1], shift_0=shifts[0], shift_1=shifts[1], exponent=exponent
        )

    def _message(self, name: str) -> int:
        return self.scales.messages[self.function, name]

    def _accumulator(self, node: Node, port: int) -> int:
        return self.scales.accumulators[self.function, node.name, port]

    def _bias(self, node: Node, port: int) -> Integers:
        """Round the bias, corrected for what rounding weights and products does to the mean of the operand."""
        operand = node.operands[port]
        bias = operand.bias.copy()
        for source, matrix in operand.terms.items():
            j = self.scales.weights[self.function, node.name, port, source]
            held = round_weights(matrix, j, self.weight_bits) * 2.0**-j
            bias += (matrix - held) @ self.ranges.means[self.function, source]
            if self.kinds[source] == "product":
                # A product is rounded down: half a step too small on average.
                bias += held.sum(axis=1) * 0.5 * 2.0 ** -self._message(source)
        return np.rint(bias * 2.0 ** self._accumulator(node, port)).astype(np.int32)

    def _table(self, node: Node) -> tuple[Integers, int]:
        """Return a table's entries and exponent: as wide as the operand may get, or until the function is flat."""
        assert node.function is not None
        k, q = self._message(node.name), self._accumulator(node, 0)
        largest = MARGIN * self.ranges.operands[self.function, node.name, 0]
        exponent = max(1, int(np.ceil(np.log2(largest * 2.0 ** (q + 1) / SEGMENTS))))
        while exponent > 1 and self._flat_beyond(node, SEGMENTS / 2 * 2.0 ** (exponent - 1 - q), largest):
            exponent -= 1
        points = (np.arange(SEGMENTS + 1) - SEGMENTS // 2) * 2.0 ** (exponent - q)
        low, high = representable(self.message_bits - 1)
        return np.clip(np.rint(node.function(points) * 2.0**k), low, high).astype(np.int32), exponent

    def _flat_beyond(self, node: Node, reach: float, largest: float) -> bool:
        """Whether a table that ends at +-`reach` is less than half a step off up to +-`largest`."""
        assert node.function is not None
        outside = np.linspace(reach, max(largest, reach), 64)
        steps = 2.0 ** self._message(node.name)
        return all(
            np.abs(node.function(sign * outside) - node.function(np.array([sign * reach]))).max() * steps < 0.5
            for sign in (-1.0, 1.0)
        )


def _half(shift: int) -> np.int32:
    return np.int32(1 << (shift - 1) if shift else 0)


def scale_of(scales: Scales, key: NodeKey) -> float:
    """Return the real value of one step of a node's messages."""
    return 2.0 ** -scales.messages[key]
