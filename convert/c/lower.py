"""A .tflite graph to kernel calls.

Whatever is a function of one int8 element (activations, rescalings, arithmetic with a constant, x * sigmoid(x)) becomes
a 256-entry table, fused into the kernel that makes the element where nothing else reads it. Slices, reshapes and
concatenations move nothing: they are parts of other slots wherever that is possible.
"""

from dataclasses import dataclass

import numpy as np

from nmbrl.convert.c.dense import resolve_dense
from nmbrl.convert.c.elementwise import UNARY, Product, Sum, as_table
from nmbrl.convert.c.errors import ModelError
from nmbrl.convert.c.fixed_point import INT8
from nmbrl.convert.c.model import Graph, OperatorInfo, TensorInfo, require
from nmbrl.convert.c.select import concatenation_axis, slice_bounds
from nmbrl.convert.c.softmax import exponential_table
from nmbrl.convert.c.steps import Add, Dense, Lowered, Map, Multiply, Slot, Softmax, Step, Table, compose


@dataclass(frozen=True)
class Value:
    """What a tensor holds: the elements of a slot, each put through a table (None: as they are)."""

    slot: Slot
    table: Table | None = None


def lower(graph: Graph, name: str, inputs: list[str], outputs: list[str]) -> Lowered:
    """Lower a graph.

    Args:
        graph: a validated .tflite graph.
        name: of the function.
        inputs: names of the graph's inputs, in order.
        outputs: names of its outputs.

    Raises:
        ModelError: if it has an operator that the C runtime does not have, or one with operands it does not support.
    """
    lowering = _Lowering(graph, inputs)
    for operator in graph.operators:
        lowering.add(operator)
    made = lowering.finish(outputs)
    return Lowered(name, lowering.inputs, made, tuple(_fuse(lowering.steps, made)))


class _Lowering:
    def __init__(self, graph: Graph, inputs: list[str]) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.values: dict[int, Value] = {}
        self.materialised: dict[tuple[Slot, Table], Slot] = {}
        self.constants: dict[int, Slot] = {}
        for index, name in zip(graph.inputs, inputs, strict=True):
            tensor = graph.tensors[index]
            if tensor.dtype != "int8" or not tensor.scales or tensor.data is not None:
                raise ModelError(f"input {name} is {tensor.dtype}, not quantised int8; convert the model to int8 input")
            self.values[index] = Value(Slot(name, tensor.size, "input"))
        self.inputs = tuple(self.values[index].slot for index in graph.inputs)

    def add(self, operator: OperatorInfo) -> None:
        """Lower one operator."""
        name = operator.name
        if name in UNARY:
            self._unary(operator)
        elif name in ("ADD", "SUB", "MUL"):
            self._binary(operator)
        elif name == "FULLY_CONNECTED":
            self._dense(operator)
        elif name == "CONCATENATION":
            self._concatenate(operator)
        elif name in ("SLICE", "STRIDED_SLICE", "SPLIT"):
            self._slice(operator)
        elif name == "RESHAPE":
            self._reshape(operator)
        elif name == "SOFTMAX":
            self._softmax(operator)
        else:
            raise ModelError(f"{operator.where} is not supported by the C runtime")

    def finish(self, names: list[str]) -> tuple[Slot, ...]:
        """Give the graph's outputs memory of the caller's, copying where what they hold has a place already."""
        made: list[Slot] = []
        for index, name in zip(self.graph.outputs, names, strict=True):
            tensor = self.activation(index, f"output {name}")
            slot = self.slot(self.values[index])
            free = slot.kind == "scratch" and slot.parent is None and slot not in made
            output = Slot(name, tensor.size, "output")
            if free:
                slot.name, slot.kind = name, "output"
                output = slot
            else:
                self.steps.append(Map(output, f"output {name}", slot))
            made.append(output)
        return tuple(made)

    def activation(self, index: int, where: str) -> TensorInfo:
        """Return a tensor that must be a row of quantised int8."""
        tensor = self.graph.tensors[index]
        if tensor.dtype != "int8" or len(tensor.scales) != 1:
            raise ModelError(f"{where}: tensor {index} is {tensor.dtype}; the C runtime has int8 with one scale")
        if not -128 <= tensor.zero_point <= 127:
            raise ModelError(f"{where}: tensor {index} has zero point {tensor.zero_point}")
        return tensor

    def operands(self, operator: OperatorInfo, inputs: int) -> tuple[list[TensorInfo], TensorInfo]:
        """Return the activations that an operator of one output takes and gives."""
        counts = len(operator.inputs) == inputs and len(operator.outputs) == 1 and -1 not in operator.inputs
        require(counts, operator, f"has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs")
        tensors = [self.activation(index, operator.where) for index in (*operator.inputs, *operator.outputs)]
        return tensors[:-1], tensors[-1]

    def value(self, index: int) -> Value:
        """Return what a tensor holds; constants get a slot of their own."""
        if index not in self.values:
            data = self.graph.tensors[index].data
            assert data is not None
            self.values[index] = Value(Slot(f"constant_{index}", data.size, "constant", data=data.reshape(-1)))
        return self.values[index]

    def slot(self, value: Value) -> Slot:
        """Return a slot that holds a value as it is."""
        if value.table is None:
            return value.slot
        key = value.slot, value.table
        if key not in self.materialised:
            slot = Slot(f"{value.slot.name}_mapped", value.slot.size)
            self.steps.append(Map(slot, "table", value.slot, table=value.table))
            self.materialised[key] = slot
        return self.materialised[key]

    def emit(self, operator: OperatorInfo, step: Step) -> None:
        """Append a step that makes the operator's output."""
        self.steps.append(step)
        self.values[operator.outputs[0]] = Value(step.output)

    def fresh(self, operator: OperatorInfo) -> Slot:
        """Return a new scratch slot for the operator's output."""
        return Slot(f"t{operator.position}", self.graph.tensors[operator.outputs[0]].size)

    def _unary(self, operator: OperatorInfo) -> None:
        (source,), output = self.operands(operator, 1)
        require(source.size == output.size, operator, "changes the number of elements")
        value = self.value(operator.inputs[0])
        table = UNARY[operator.name](operator, source, output)
        self.values[operator.outputs[0]] = Value(value.slot, compose(value.table, table))

    def _binary(self, operator: OperatorInfo) -> None:
        (a, b), output = self.operands(operator, 2)
        rule = (Product if operator.name == "MUL" else Sum).resolve(operator, a, b, output)
        scalars = [_scalar(tensor) for tensor in (a, b)]
        require(None in scalars, operator, "has two constants")
        rows = [tensor for tensor, scalar in zip((a, b), scalars, strict=True) if scalar is None]
        fits = all(t.size == output.size and t.is_row for t in rows)
        require(fits, operator, "broadcasts activations, which the C runtime does not")
        first, second = (self.value(index) for index in operator.inputs)
        columns = [_column(v, s) for v, s in zip((first, second), scalars, strict=True)]
        varying = [v for v, s in zip((first, second), scalars, strict=True) if s is None]
        if len(varying) == 1 or first.slot is second.slot:
            self.values[operator.outputs[0]] = Value(varying[0].slot, as_table(rule.values(*columns)))
        elif isinstance(rule, Sum):
            a_table, b_table = (as_table(rule.addend(i, column)) for i, column in enumerate(columns))
            self.emit(operator, Add(
                self.fresh(operator), operator.where, first.slot, second.slot, a_table, b_table, rule.factor,
                rule.zero_point, rule.low, rule.high,
            ))  # fmt: skip
        else:
            self.emit(operator, Multiply(
                self.fresh(operator), operator.where, self.slot(first), self.slot(second), rule.a_zero, rule.b_zero,
                rule.factor, rule.zero_point, rule.low, rule.high,
            ))  # fmt: skip

    def _dense(self, operator: OperatorInfo) -> None:
        require(len(operator.inputs) in (2, 3) and len(operator.outputs) == 1, operator, "has too many operands")
        source, output = (self.activation(i, operator.where) for i in (operator.inputs[0], operator.outputs[0]))
        weights, bias = (self.graph.tensors[i] if i >= 0 else None for i in (*operator.inputs[1:], -1)[:2])
        layer = resolve_dense(operator, source, weights, bias, output)
        slot = self.slot(self.value(operator.inputs[0]))
        self.emit(operator, Dense(self.fresh(operator), operator.where, slot, *layer))

    def _concatenate(self, operator: OperatorInfo) -> None:
        require(operator.inputs and len(operator.outputs) == 1, operator, "has no inputs")
        tensors, output = self.operands(operator, len(operator.inputs))
        concatenation_axis(operator, tensors, output)
        whole = self.fresh(operator)
        offset = 0
        for index, tensor in zip(operator.inputs, tensors, strict=True):
            slot = self.slot(self.value(index))
            if slot.kind == "scratch" and slot.parent is None:
                slot.parent, slot.offset = whole, offset
            else:
                part = Slot(f"{whole.name}_{offset}", tensor.size, "scratch", whole, offset)
                self.steps.append(Map(part, operator.where, slot))
            offset += tensor.size
        self.values[operator.outputs[0]] = Value(whole)

    def _slice(self, operator: OperatorInfo) -> None:
        index, bounds = slice_bounds(operator, self.graph.tensors)
        source = self.activation(index, operator.where)
        slot = self.slot(self.value(index))
        for output, (start, stop) in zip(operator.outputs, bounds, strict=True):
            tensor = self.activation(output, operator.where)
            same = (tensor.scale, tensor.zero_point) == (source.scale, source.zero_point)
            require(same and tensor.size == stop - start, operator, "changes scale, zero point or size of what it cuts")
            part = Slot(f"{slot.name}_{start}_{stop}", stop - start, slot.kind, slot, start, None)
            self.values[output] = Value(part)

    def _reshape(self, operator: OperatorInfo) -> None:
        require(len(operator.inputs) in (1, 2) and len(operator.outputs) == 1, operator, "has too many operands")
        source, output = (self.activation(i, operator.where) for i in (operator.inputs[0], operator.outputs[0]))
        require(source.size == output.size, operator, "changes the number of elements")
        self.values[operator.outputs[0]] = self.value(operator.inputs[0])

    def _softmax(self, operator: OperatorInfo) -> None:
        (source,), output = self.operands(operator, 1)
        require(source.is_row and source.size == output.size, operator, "has more than one row")
        slot = self.slot(self.value(operator.inputs[0]))
        table = exponential_table(operator, source, output)
        self.emit(operator, Softmax(self.fresh(operator), operator.where, slot, table))


def _scalar(tensor: TensorInfo) -> int | None:
    """Return the value of a constant whose elements are all equal."""
    if tensor.data is None or (tensor.data != tensor.data.flat[0]).any():
        return None
    return int(tensor.data.flat[0])


def _column(value: Value, scalar: int | None) -> np.ndarray:
    """Return what an operand is for each of the 256 elements of its slot."""
    if scalar is not None:
        return np.full_like(INT8, scalar)
    return INT8 if value.table is None else np.asarray(value.table, np.int64)


def _fuse(steps: list[Step], outputs: tuple[Slot, ...]) -> list[Step]:
    """Move tables into the steps that make their input, where nothing else reads that input."""
    kept = list(steps)
    for step in steps:
        if not isinstance(step, Map):
            continue
        source = step.input
        makers = [maker for maker in kept if maker.output is source]
        readers = [reader for reader in kept for slot in reader.inputs if _overlaps(slot, source)]
        fusable = len(makers) == 1 and makers[0].fusable and len(readers) == 1
        if fusable and source not in outputs and source.parent is None:
            makers[0].table = compose(makers[0].table, step.table)
            makers[0].output = step.output
            kept.remove(step)
    return kept


def _overlaps(a: Slot, b: Slot) -> bool:
    """Whether one of two slots is a part of the other, or the same."""
    if a.storage is not b.storage:
        return False
    return a.start < b.start + b.size and b.start < a.start + a.size
