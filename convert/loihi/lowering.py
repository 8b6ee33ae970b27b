"""From a PyTorch module to a graph of populations: traced, with everything affine folded into the connections."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from nmbrl.convert.loihi.affine import Affine, concatenate
from nmbrl.targets.errors import NmbrlError

aten = torch.ops.aten

# Elementwise functions of one vector that become tables.
TABLES = {
    aten.sigmoid.default,
    aten.tanh.default,
    aten.silu.default,
    aten.gelu.default,
    aten.elu.default,
    aten.softplus.default,
    aten.exp.default,
    aten.hardtanh.default,
    aten.hardsigmoid.default,
}


@dataclass(frozen=True, eq=False)
class Node:
    """A population to be: what it computes, in real numbers.

    Attributes:
        name: unique in its graph.
        kind: ``input``; ``linear`` and ``relu`` of one operand; ``table``: `function` of one; ``product`` of two.
        operands: affine maps of earlier nodes.
        operation: elementwise function of a table, on tensors.
    """

    name: str
    kind: Literal["input", "linear", "relu", "table", "product"]
    size: int
    operands: tuple[Affine, ...] = ()
    operation: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def function(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """`operation` on arrays, of the same shape and type."""
        operation = self.operation
        return None if operation is None else lambda values: operation(torch.from_numpy(values)).numpy()

    def evaluate(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Return the node's values (samples, size) from those of its sources."""
        operands = [operand.evaluate(values) for operand in self.operands]
        if self.kind == "product":
            return operands[0] * operands[1]
        if self.kind == "relu":
            return np.maximum(operands[0], 0.0)
        return operands[0] if self.function is None else self.function(operands[0])


@dataclass(frozen=True)
class Graph:
    """Nodes in order of evaluation, and which of them are the named inputs and outputs."""

    nodes: tuple[Node, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]

    def depths(self) -> dict[str, int]:
        """Return the number of synapses on the longest path to each node."""
        depths: dict[str, int] = {}
        for node in self.nodes:
            sources = [depths[name] for operand in node.operands for name in operand.terms]
            depths[node.name] = 1 + max(sources) if sources else 0
        return depths


def lower(module: nn.Module, inputs: dict[str, int], outputs: tuple[str, ...]) -> Graph:
    """Lower a module.

    Args:
        module: maps tensors (batch, size) to a tuple of such tensors.
        inputs: names and sizes of its arguments, in order.
        outputs: names of its results, in order.

    Returns:
        The graph; inputs that nothing depends on are not in it.

    Raises:
        NmbrlError: if it uses an operation that has no counterpart, named.
    """
    example = tuple(torch.zeros(2, size) for size in inputs.values())
    try:
        program = torch.export.export(module.eval(), example)
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        raise NmbrlError(f"Loihi: the model cannot be traced: {str(error).strip().splitlines()[0]}") from error
    return _Lowering(program, inputs).run(outputs)


class _Lowering:
    """Walks a traced program; every value is a tensor of constants, an affine map, or a list of those."""

    def __init__(self, program: torch.export.ExportedProgram, inputs: dict[str, int]) -> None:
        self.program = program
        self.nodes: list[Node] = []
        self.known: dict[tuple, str] = {}
        self.values: dict[str, Any] = {}
        self.inputs = inputs

    def run(self, outputs: tuple[str, ...]) -> Graph:
        signature = self.program.graph_signature
        constants = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants |= signature.inputs_to_lifted_tensor_constants
        stored = {**self.program.state_dict, **self.program.constants}
        names = iter(self.inputs.items())
        results: list[Affine] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name in constants:
                self.values[node.name] = stored[constants[node.name]].detach().double()
            elif node.op == "placeholder":
                name, size = next(names)
                self.values[node.name] = self.add(Node(f"in.{name}", "input", size), (name,))
            elif node.op == "call_function":
                arguments = torch.fx.map_arg((node.args, node.kwargs), lambda argument: self.values[argument.name])
                self.values[node.name] = self.apply(node.name, node.target, *arguments)
            elif node.op == "output":
                results = [self.values[argument.name] for argument in node.args[0]]
        found = {name: self.population(f"out.{name}", value) for name, value in zip(outputs, results, strict=True)}
        return self.pruned(found)

    def pruned(self, outputs: dict[str, str]) -> Graph:
        """Drop what no output depends on."""
        needed = set(outputs.values())
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(name for operand in node.operands for name in operand.terms)
        nodes = tuple(node for node in self.nodes if node.name in needed)
        inputs = {node.name.removeprefix("in."): node.name for node in nodes if node.kind == "input"}
        return Graph(nodes, inputs, outputs)

    def add(self, node: Node, key: tuple) -> Affine:
        """Add a node, or find the one that computes the same."""
        key = (node.kind, *key, *(operand.key() for operand in node.operands))
        if key not in self.known:
            self.known[key] = node.name
            self.nodes.append(node)
        return Affine.of(self.known[key], node.size)

    def population(self, name: str, value: Affine) -> str:
        """Return the node whose value an affine map is, made if there is none."""
        source = value.is_source()
        return source or str(self.add(Node(name, "linear", value.size, (value,)), ()).is_source())

    def apply(self, name: str, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Evaluate one operation."""
        flat = [part for argument in args for part in (argument if isinstance(argument, list | tuple) else [argument])]
        if target is not operator.getitem and not any(isinstance(part, Affine) for part in flat):
            return target(*args, **kwargs)
        if target in TABLES:
            return self.table(name, target, args, kwargs)
        if target is aten.relu.default:
            return self.add(Node(name, "relu", args[0].size, (args[0],)), ())
        if target is operator.getitem:
            return args[0][args[1]]
        operation = self.OPERATIONS.get(target)
        if operation is None:
            raise NmbrlError(f"Loihi: the operation {target} ({name}) has no counterpart there")
        return operation(self, name, *args, **kwargs)

    def table(self, name: str, target: Any, args: tuple, kwargs: dict[str, Any]) -> Affine:
        operand, rest = args[0], args[1:]

        def operation(values: torch.Tensor) -> torch.Tensor:
            return target(values, *rest, **kwargs)

        key = (str(target), str(rest), str(sorted(kwargs.items())))
        return self.add(Node(name, "table", operand.size, (operand,), operation), key)

    def linear(self, name: str, operand: Affine, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Affine:
        """Apply weights to `operand`, elements of which become populations first where that saves connections."""
        matrix = weight.numpy()
        parts: list[Affine] = []
        for rows in _alike(operand):
            part, columns = operand.rows(rows), matrix[:, rows]
            if part.mapped(columns).connections > np.count_nonzero(columns) + part.connections:
                part = Affine.of(self.population(f"{name}.{len(parts)}", part), part.size)
            parts.append(part.mapped(columns))
        total = Affine({}, np.zeros(len(matrix)))
        for part in parts:
            total = total + part
        return total if bias is None else total.shifted(bias.numpy())

    def sum(self, name: str, left: Any, right: Any, alpha: float = 1) -> Affine:
        """Return left + alpha * right; either may be constant."""
        if not isinstance(left, Affine):
            return right.scaled(alpha).shifted(_constant(left))
        if not isinstance(right, Affine):
            return left.shifted(alpha * _constant(right))
        return left + right.scaled(alpha)

    def difference(self, name: str, left: Any, right: Any, alpha: float = 1) -> Affine:
        return self.sum(name, left, right, -alpha)

    def reversed_difference(self, name: str, left: Any, right: Any, alpha: float = 1) -> Affine:
        """Return right - alpha * left."""
        return self.sum(name, right, left, -alpha)

    def product(self, name: str, left: Any, right: Any) -> Affine:
        if not isinstance(left, Affine):
            return right.scaled(_constant(left))
        if not isinstance(right, Affine):
            return left.scaled(_constant(right))
        return self.add(Node(name, "product", left.size, (left, right)), ())

    def quotient(self, name: str, left: Any, right: Any) -> Affine:
        if isinstance(right, Affine):
            raise NmbrlError(f"Loihi: the division by a variable ({name}) has no counterpart there")
        return left.scaled(1 / _constant(right))

    def cat(self, name: str, parts: list[Affine], dim: int = 0) -> Affine:
        self.require_features(name, dim)
        return concatenate([part if isinstance(part, Affine) else Affine({}, _constant(part)) for part in parts])

    def slice(
        self, name: str, value: Affine, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
    ) -> Affine:
        # A slice of the batch in a trace is always the whole batch.
        return value if dim == 0 else value.rows(slice(start, end, step))

    def split(self, name: str, value: Affine, size: int | list[int], dim: int = 0) -> list[Affine]:
        self.require_features(name, dim)
        sizes = [size] * -(-value.size // size) if isinstance(size, int) else size
        bounds = np.cumsum([0, *sizes])
        return [value.rows(slice(bounds[i], bounds[i + 1])) for i in range(len(sizes))]

    def chunk(self, name: str, value: Affine, chunks: int, dim: int = 0) -> list[Affine]:
        return self.split(name, value, -(-value.size // chunks), dim)

    def same(self, name: str, value: Affine, *_: Any, **__: Any) -> Affine:
        return value

    def negative(self, name: str, value: Affine) -> Affine:
        return value.scaled(-1.0)

    def require_features(self, name: str, dim: int) -> None:
        if dim not in (1, -1):
            raise NmbrlError(f"Loihi: {name} works across the batch, which has no counterpart there")

    OPERATIONS: dict[Any, Callable[..., Any]] = {  # noqa: RUF012 - a constant
        aten.linear.default: linear,
        aten.add.Tensor: sum,
        aten.sub.Tensor: difference,
        aten.rsub.Scalar: reversed_difference,
        aten.rsub.Tensor: reversed_difference,
        aten.mul.Tensor: product,
        aten.div.Tensor: quotient,
        aten.neg.default: negative,
        aten.cat.default: cat,
        aten.slice.Tensor: slice,
        aten.split.Tensor: split,
        aten.split_with_sizes.default: split,
        aten.chunk.default: chunk,
        aten.clone.default: same,
        aten.contiguous.default: same,
        aten.detach.default: same,
        aten.dropout.default: same,
    }


def _constant(value: Any) -> Any:
    """A number, or a constant tensor as a vector: broadcasting over the batch is what remains."""
    if isinstance(value, torch.Tensor):
        return value.double().numpy().reshape(-1) if value.dim() else float(value)
    return value


def _alike(value: Affine) -> list[np.ndarray]:
    """Group the elements of an affine map by the sources that they depend on; their indices."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in range(value.size):
        sources = tuple(name for name, matrix in value.terms.items() if matrix[row].any())
        groups.setdefault(sources, []).append(row)
    return [np.array(rows) for rows in groups.values()]
