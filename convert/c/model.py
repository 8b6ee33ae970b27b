"""What the converter needs of a .tflite file (schema: tensorflow/lite/schema/schema.fbs), validated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmbrl.convert.c.errors import ModelError
from nmbrl.convert.c.flatbuffer import Table, root_table

TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
SIZES = {"int8": 1, "int32": 4, "int64": 8}
ACTIVATIONS = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6", 4: "tanh", 5: "sign_bit"}
# Names of the operators that error messages may have to name; the rest are called by their number.
OPERATORS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE",
    9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION", 14: "LOGISTIC", 16: "LSTM", 17: "MAX_POOL_2D", 18: "MUL",
    19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR", 24: "RNN", 25: "SOFTMAX",
    26: "SPACE_TO_DEPTH", 27: "SVDF", 28: "TANH", 32: "CUSTOM", 34: "PAD", 36: "GATHER", 39: "TRANSPOSE", 40: "MEAN",
    41: "SUB", 42: "DIV", 43: "SQUEEZE", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 45: "STRIDED_SLICE", 47: "EXP",
    49: "SPLIT", 50: "LOG_SOFTMAX", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 56: "ARG_MAX", 57: "MINIMUM",
    58: "LESS", 59: "NEG", 65: "SLICE", 70: "EXPAND_DIMS", 74: "SUM", 76: "RSQRT", 83: "PACK", 88: "UNPACK",
    97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 101: "ABS", 102: "SPLIT_V",
    114: "QUANTIZE", 117: "HARD_SWISH", 118: "IF", 119: "WHILE", 126: "BATCH_MATMUL", 142: "VAR_HANDLE",
    143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE", 150: "GELU",
}  # fmt: skip
# No vector of a model that fits a microcontroller is longer.
LONGEST = 1 << 16


@dataclass(frozen=True)
class TensorInfo:
    """A tensor: one row (leading dimensions are 1) or constant data.

    Attributes:
        position: its index, as operators refer to it.
        name: as in the file.
        shape: as in the file.
        dtype: name of the element type.
        scales: float32 quantisation scales; several for weights with one an output channel, none if not quantised.
        zero_points: as many.
        data: constant content in `shape`, None for activations.
    """

    position: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[np.float32, ...]
    zero_points: tuple[int, ...]
    data: np.ndarray | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_row(self) -> bool:
        """Whether all dimensions but the last are 1."""
        return self.size == (self.shape or (0,))[-1]

    @property
    def scale(self) -> np.float32:
        """The one scale."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The one zero point."""
        return self.zero_points[0]


@dataclass(frozen=True)
class OperatorInfo:
    """An operator: its name, its position in the graph, tensor indices (-1: absent) and its options table."""

    position: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None

    @property
    def where(self) -> str:
        """How error messages call it."""
        return f"operator {self.position} ({self.name})"

    def option(self, number: int, kind: str, default: Any = 0) -> Any:
        """Return a scalar of the options table."""
        return default if self.options is None else self.options.scalar(number, kind, default)


@dataclass(frozen=True)
class Graph:
    """A model's only subgraph, for one row.

    Attributes:
        tensors: by position.
        operators: in the order of execution.
        inputs: positions of tensors.
        outputs: positions of tensors.
        rows: how many rows of each activation the file computes at once, independently of each other.
    """

    tensors: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rows: int = 1


def read_graph(content: bytes) -> Graph:
    """Read and validate a .tflite file.

    Raises:
        ModelError: if it is malformed, or is no single graph of static, quantised vectors.
    """
    try:
        return _read_graph(content)
    except (OverflowError, MemoryError, RecursionError) as error:
        raise ModelError(f"the .tflite file is damaged: {error or type(error).__name__}") from error


def _read_graph(content: bytes) -> Graph:
    model = root_table(content, b"TFL3")
    if model.scalar(0, "uint32") != 3:
        raise ModelError(f"the .tflite file has schema version {model.scalar(0, 'uint32')}, not 3")
    graphs = model.tables(2)
    if len(graphs) != 1:
        raise ModelError(f"the model has {len(graphs)} subgraphs; the C runtime has one graph without control flow")
    names = [_operator_name(code) for code in model.tables(1)]
    buffers = model.tables(4)
    graph = graphs[0]
    tensors = tuple(_tensor(table, i, buffers) for i, table in enumerate(graph.tables(0)))
    operators = tuple(_operator(table, i, names, len(tensors)) for i, table in enumerate(graph.tables(3)))
    inputs, outputs = (_indices(graph.array(i, "int32"), len(tensors), "the graph") for i in (1, 2))
    read = Graph(tensors, operators, inputs, outputs)
    _check_order(read)
    return _one_row(read)


def _one_row(graph: Graph) -> Graph:
    """Return what a graph does to each of its rows: leading dimensions that all activations share become 1."""
    used = {*graph.inputs, *(i for operator in graph.operators for i in (*operator.inputs, *operator.outputs))}
    activations = {t.position: t.shape for t in graph.tensors if t.position in used and t.data is None}
    first = graph.tensors[graph.inputs[0]].shape
    for rows in (int(np.prod(first[:-1], dtype=np.int64)), *first[:1]):
        leading = {position: _leading(shape, rows) for position, shape in activations.items()}
        if rows > 1 and all(leading.values()):
            tensors = tuple(
                replace(t, shape=(1,) * count + t.shape[count:]) if (count := leading.get(t.position, 0)) else t
                for t in graph.tensors
            )
            return replace(graph, tensors=tensors, rows=rows)
    return graph


def _leading(shape: tuple[int, ...], rows: int) -> int:
    """How many dimensions, not counting the last, make up this many rows; 0 if none do."""
    products = np.cumprod(np.asarray(shape[:-1], np.int64))
    found = np.flatnonzero(products == rows)
    return int(found[-1]) + 1 if len(found) else 0


def _operator_name(code: Table) -> str:
    number = max(code.scalar(0, "int8"), code.scalar(3, "int32"))
    name = OPERATORS.get(number, f"builtin operator {number}")
    return f"CUSTOM {code.text(1)!r}" if name == "CUSTOM" else name


def _indices(values: np.ndarray | None, count: int, where: str) -> tuple[int, ...]:
    indices = () if values is None else tuple(int(value) for value in values)
    if any(not -1 <= index < count for index in indices):
        raise ModelError(f"{where} refers to a tensor that is not there ({count} tensors)")
    return indices


def _operator(table: Table, position: int, names: list[str], tensors: int) -> OperatorInfo:
    code = table.scalar(0, "uint32")
    if code >= len(names):
        raise ModelError(f"operator {position} has code {code} of {len(names)}")
    where = f"operator {position} ({names[code]})"
    inputs, outputs = (_indices(table.array(i, "int32"), tensors, where) for i in (1, 2))
    return OperatorInfo(position, names[code], inputs, outputs, table.table(4))


def _tensor(table: Table, position: int, buffers: list[Table]) -> TensorInfo:
    where = f"tensor {position}"
    shape = tuple(int(size) for size in _or_empty(table.array(0, "int32")))
    if len(shape) > 8 or any(not 0 < size <= LONGEST for size in shape):
        raise ModelError(f"{where} has shape {list(shape)[:8]}; every size must be static and at most {LONGEST}")
    if int(np.prod(shape, dtype=object)) > 1 << 24:
        raise ModelError(f"{where} has shape {list(shape)}, more than any microcontroller holds")
    kind = table.scalar(1, "int8")
    if kind not in TYPES:
        raise ModelError(f"{where} has element type {kind}, which this reader does not know")
    scales, zero_points = _quantisation(table.table(4), where)
    number = table.scalar(2, "uint32")
    if number >= len(buffers):
        raise ModelError(f"{where} has buffer {number} of {len(buffers)}")
    return TensorInfo(
        position, table.text(3), shape, TYPES[kind], scales, zero_points,
        _constant(buffers[number], TYPES[kind], shape, where) if number else None,
    )  # fmt: skip


def _or_empty(values: np.ndarray | None) -> np.ndarray:
    return np.zeros(0, np.int32) if values is None else values


def _quantisation(table: Table | None, where: str) -> tuple[tuple[np.float32, ...], tuple[int, ...]]:
    if table is None:
        return (), ()
    scales = tuple(np.float32(scale) for scale in _or_empty(table.array(2, "float32")))
    zeros = tuple(int(zero) for zero in _or_empty(table.array(3, "int64"))) or (0,) * len(scales)
    if len(zeros) == 1:
        zeros *= len(scales)
    if len(zeros) != len(scales):
        raise ModelError(f"{where} has {len(scales)} scales and {len(zeros)} zero points")
    # Far from overflow and denormals, so that products of scales stay finite and above zero.
    if not all(np.isfinite(scale) and 1e-15 < scale < 1e15 for scale in scales):
        raise ModelError(f"{where} has a quantisation scale that is no positive number of reasonable size")
    return scales, zeros


def _constant(buffer: Table, dtype: str, shape: tuple[int, ...], where: str) -> np.ndarray | None:
    if buffer.scalar(1, "int64"):
        raise ModelError(f"{where} keeps its data outside the flatbuffer, which this reader does not follow")
    data = buffer.array(0, "uint8")
    if data is None or len(data) == 0:
        return None
    if dtype not in SIZES:
        raise ModelError(f"{where} is a constant of type {dtype}; the C runtime has int8 and int32")
    if len(data) != int(np.prod(shape, dtype=np.int64)) * SIZES[dtype]:
        raise ModelError(f"{where} has {len(data)} bytes of data for shape {list(shape)} of {dtype}")
    return data.view(f"<i{SIZES[dtype]}").reshape(shape)


def _check_order(graph: Graph) -> None:
    """Every tensor is written once, before it is read."""
    written = set(graph.inputs) | {tensor.position for tensor in graph.tensors if tensor.data is not None}
    if -1 in written or len(set(graph.inputs)) != len(graph.inputs) or not graph.inputs or not graph.outputs:
        raise ModelError("the graph needs inputs and outputs, each of them once")
    for operator in graph.operators:
        unwritten = [index for index in operator.inputs if index >= 0 and index not in written]
        if unwritten:
            raise ModelError(f"{operator.where} reads tensor {unwritten[0]} before anything writes it")
        if not operator.outputs or any(index < 0 or index in written for index in operator.outputs):
            raise ModelError(f"{operator.where} writes a tensor that has a value already, or none")
        written |= set(operator.outputs)
    if any(index not in written for index in graph.outputs):
        raise ModelError("nothing writes an output of the graph")


def require(condition: object, operator: OperatorInfo, message: str | Callable[[], str]) -> None:
    """Refuse a model in which an operator is not what the C runtime has.

    Raises:
        ModelError: naming the operator.
    """
    if not condition:
        raise ModelError(f"{operator.where} {message if isinstance(message, str) else message()}")
