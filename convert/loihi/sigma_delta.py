"""Sigma-delta neurons that learn: a graph whose neurons send changes that reach their thresholds, in PyTorch.

Gradients pass rounding straight through: what a neuron leaves unsent is noise that does not depend on its value, and
whether it sends is differentiated as a logistic function of the logarithm of its change over its threshold.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmbrl.convert.loihi.affine import Affine
from nmbrl.convert.loihi.differentiable import Differentiable
from nmbrl.convert.loihi.lowering import Graph, Node

# Width of the logistic function, in logarithms of a change.
WIDTH = 0.3
SMALLEST_THRESHOLD = 1e-5


class SigmaDelta(Differentiable):
    """A function whose neurons send changes that reach their thresholds.

    Attributes:
        weights: matrices and biases that are fitted; sums, differences and pass-throughs stay exact.
        thresholds: logarithms of thresholds (size,), by node.
    """

    def __init__(self, graph: Graph, thresholds: dict[str, np.ndarray]) -> None:
        super().__init__(graph)
        self.weights: list[Tensor] = []
        for operands in self.operands.values():
            for terms, bias in operands:
                free = [matrix for matrix in terms.values() if not _exact(matrix)]
                for matrix in free:
                    matrix.requires_grad_().register_hook(_keep_zeros(matrix.detach() != 0))
                self.weights += [*free, *([bias.requires_grad_()] if free else [])]
        self.thresholds = {
            name: torch.tensor(np.log(np.maximum(values, SMALLEST_THRESHOLD)), dtype=torch.float32, requires_grad=True)
            for name, values in thresholds.items()
        }

    def rest(self, batch: int) -> dict[str, Tensor]:
        """Return what all nodes have sent (batch, size) where all inputs are 0."""
        values: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            values[node.name] = (
                torch.zeros(batch, node.size)
                if node.kind == "input"
                else self.evaluate(node, values).expand(batch, node.size)
            )
        return values

    def advance(self, sent: dict[str, Tensor], inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Go through a decision.

        Args:
            sent: (batch, size) by node, since the start.
            inputs: (batch, size) by name.

        Returns:
            The same after it, and how many neurons have sent (batch,).
        """
        given = {node: inputs[name] for name, node in self.graph.inputs.items()}
        values: dict[str, Tensor] = {}
        count = torch.zeros(len(next(iter(inputs.values()))))
        for node in self.graph.nodes:
            target = given[node.name] if node.kind == "input" else self.evaluate(node, values)
            values[node.name], sends = Gate.apply(target, sent[node.name], self.thresholds[node.name])
            count = count + sends.sum(1)
        return values, count

    def tuned(self) -> Graph:
        """Return the graph with the fitted weights."""
        nodes = tuple(replace(node, operands=tuple(self._operands(node))) for node in self.graph.nodes)
        return replace(self.graph, nodes=nodes)

    def _operands(self, node: Node) -> list[Affine]:
        return [
            Affine(
                {source: matrix.detach().double().numpy().T for source, matrix in terms.items()},
                bias.detach().double().numpy(),
            )
            if any(tensor.requires_grad for tensor in (bias, *terms.values()))
            else operand
            for operand, (terms, bias) in zip(node.operands, self.operands[node.name], strict=True)
        ]


class Gate(torch.autograd.Function):
    """From values, what was sent and logarithms of thresholds: what has been sent now, and 1 where a neuron sends."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, sent: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """Compare changes (batch, size) with thresholds (size,)."""
        change = value - sent
        sends = change.abs() >= threshold.exp()
        ctx.save_for_backward(change, sends, threshold)
        return torch.where(sends, value, sent), sends.to(value.dtype)

    @staticmethod
    def backward(ctx: Any, to_value: Tensor, to_sends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pass values straight through, and whether neurons send by the logistic function's slope."""
        change, sends, threshold = ctx.saved_tensors
        size = change.abs().clamp(min=1e-9)
        logistic = torch.sigmoid((size.log() - threshold) / WIDTH)
        slope = to_sends * logistic * (1 - logistic) / WIDTH
        moved = slope * change.sign() / size
        # What is left unsent grows in proportion to the threshold.
        unsent = torch.where(sends, torch.zeros_like(change), -change)
        return to_value + moved, -moved, (to_value * unsent - slope).sum(0)


def _exact(matrix: Tensor) -> bool:
    return bool(((matrix == 0) | (matrix.abs() == 1)).all())


def _keep_zeros(present: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * present
