"""A graph in PyTorch, for what is differentiated along whole runs."""

import numpy as np
import torch
from torch import Tensor

from nmbrl.convert.loihi.lowering import Graph, Node

# Matrices (source size, size) by source, and the bias, of one operand.
Operand = tuple[dict[str, Tensor], Tensor]


class Differentiable:
    """Evaluates a graph's nodes on tensors, float32.

    Attributes:
        graph: what is evaluated.
        operands: of each node; whoever differentiates by them makes them require gradients.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operands: dict[str, list[Operand]] = {
            node.name: [
                ({source: _tensor(matrix.T) for source, matrix in operand.terms.items()}, _tensor(operand.bias))
                for operand in node.operands
            ]
            for node in graph.nodes
        }

    def evaluate(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        """Return a node's values (batch, size), no input's, from those of its sources."""
        operands = [
            sum((values[source] @ matrix for source, matrix in terms.items()), start=bias)
            for terms, bias in self.operands[node.name]
        ]
        if node.kind == "product":
            return operands[0] * operands[1]
        if node.kind == "relu":
            return torch.relu(operands[0])
        return operands[0] if node.operation is None else node.operation(operands[0])


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
