"""How much each neuron matters: what a lasting error of its value does to actions, imagination and value."""

import numpy as np
import torch
from torch import Tensor

from nmbrl.convert.loihi.differentiable import Differentiable
from nmbrl.convert.loihi.lowering import Graph
from nmbrl.convert.loihi.rehearsal import Call, Rehearsal
from nmbrl.convert.loihi.scales import NodeKey

# Random directions in which all that a run gives is differentiated (Hutchinson's estimate of a sum of squares).
DIRECTIONS = 32
SEED = 0


def measure_sensitivities(graphs: dict[str, Graph], rehearsal: Rehearsal) -> dict[NodeKey, np.ndarray]:
    """Differentiate the rehearsal's runs by an offset of each neuron that lasts for the whole run.

    Returns:
        For each node, of each neuron (size,) the root mean square, over all that its group's run gives, of the
        derivative; through the recurrence, as a change that a neuron does not send lasts until it does.
    """
    found: dict[NodeKey, np.ndarray] = {}
    for group, functions in rehearsal.GROUPS.items():
        parts = {function: _Offset(graphs[function]) for function in functions if function in graphs}
        nodes = [(function, name) for function, part in parts.items() for name in part.offsets]
        given = rehearsal.run(group, _call_of(parts))
        offsets = [parts[function].offsets[name] for function, name in nodes]
        squares = [torch.zeros_like(offset) for offset in offsets]
        generator = torch.Generator().manual_seed(SEED)
        for _ in range(DIRECTIONS):
            signs = torch.randint(0, 2, given.shape, generator=generator, dtype=given.dtype) * 2 - 1
            slopes = torch.autograd.grad((given * signs).sum(), offsets, retain_graph=True, allow_unused=True)
            for square, slope in zip(squares, slopes, strict=True):
                square += 0.0 if slope is None else slope.square()
        for node, square in zip(nodes, squares, strict=True):
            found[node] = (square.double() / (DIRECTIONS * given.numel())).sqrt().numpy()
    return found


class _Offset(Differentiable):
    """A graph with an offset at each neuron.

    Attributes:
        offsets: zeros (size,), by node.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.offsets = {node.name: torch.zeros(node.size, requires_grad=True) for node in graph.nodes}

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        values = {node: inputs[name] + self.offsets[node] for name, node in self.graph.inputs.items()}
        for node in self.graph.nodes:
            if node.kind != "input":
                values[node.name] = self.evaluate(node, values) + self.offsets[node.name]
        return {name: values[node] for name, node in self.graph.outputs.items()}


def _call_of(parts: dict[str, _Offset]) -> Call:
    return lambda function, inputs: parts[function](inputs)
