"""A .tflite model as plain data: its operators in order, its constants, and how its integers stand for reals."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
ACTIVATIONS = {number: name for name, number in vars(schema.ActivationFunctionType).items() if isinstance(number, int)}
DTYPES: dict[int, str] = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT32: "int32",
    schema.TensorType.INT64: "int64",
}


@dataclass(frozen=True)
class Steps:
    """How the integers of a tensor stand for reals: ``(q - zero) * scale`` for every q from `low` to `high`."""

    scale: float
    zero: int
    low: int
    high: int


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        operator: its name in TFLite's schema.
        inputs: names of the tensors that it reads, in order; those left out are missing.
        output: name of the tensor that it writes.
        fused: name of the activation that follows it, or ``NONE``.
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    fused: str


@dataclass(frozen=True)
class Graph:
    """A model of one subgraph whose operators have one output each.

    Attributes:
        nodes: the operators, in the order in which they run.
        inputs: names of the tensors that enter.
        outputs: names of the tensors that leave.
        sizes: length of the last axis of every tensor, by name.
        constants: values of every tensor that has some in the file, by name, as they are stored.
        steps: of every tensor of integers with one scale, by name.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: dict[str, int]
    constants: dict[str, NDArray[np.generic]]
    steps: dict[str, Steps]


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Return an operator's name in TFLite's schema."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def read_graph(content: bytes) -> Graph:
    """Read a .tflite file."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    (graph,) = model.subgraphs
    names = [tensor.name.decode() for tensor in graph.tensors]
    constants, steps = {}, {}
    for name, tensor in zip(names, graph.tensors, strict=True):
        values = model.buffers[tensor.buffer].data
        if values is not None:
            shape = () if tensor.shape is None else tuple(tensor.shape)
            constants[name] = np.frombuffer(bytes(values), DTYPES[tensor.type]).reshape(shape)
        scales = None if tensor.quantization is None else tensor.quantization.scale
        if scales is not None and len(scales) == 1:
            bounds = np.iinfo(np.dtype(DTYPES[tensor.type]))
            steps[name] = Steps(float(scales[0]), int(tensor.quantization.zeroPoint[0]), bounds.min, bounds.max)
    return Graph(
        nodes=tuple(_node(model, operator, names) for operator in graph.operators),
        inputs=tuple(names[index] for index in graph.inputs),
        outputs=tuple(names[index] for index in graph.outputs),
        sizes={
            name: 1 if tensor.shape is None or not len(tensor.shape) else int(tensor.shape[-1])
            for name, tensor in zip(names, graph.tensors, strict=True)
        },
        constants=constants,
        steps=steps,
    )


def _node(model: schema.ModelT, operator: schema.OperatorT, names: list[str]) -> Node:
    (output,) = operator.outputs
    return Node(
        operator=operator_name(model, operator),
        inputs=tuple(names[index] for index in operator.inputs if index >= 0),
        output=names[output],
        fused=ACTIVATIONS[getattr(operator.builtinOptions, "fusedActivationFunction", 0)],
    )
