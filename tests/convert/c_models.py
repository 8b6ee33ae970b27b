"""Small int8 .tflite models written operator by operator, and TensorFlow Lite Micro to say what they compute."""

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro import runtime as tflm
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

TYPES = {np.int8: schema.TensorType.INT8, np.int32: schema.TensorType.INT32}


@dataclass
class Builder:
    """Collects tensors and operators of one graph."""

    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def tensor(self, shape, scale=None, zero=0, data=None, dtype=np.int8) -> int:
        """Add a tensor; scale may be a list, one an output channel."""
        t = schema.TensorT()
        t.shape, t.type, t.name = list(shape), TYPES[dtype], f"t{len(self.tensors)}".encode()
        if scale is not None:
            t.quantization = schema.QuantizationParametersT()
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            t.quantization.scale = scales.tolist()
            t.quantization.zeroPoint = [zero] * len(scales)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.ascontiguousarray(data, dtype).reshape(-1).view(np.uint8).tolist()
            t.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(t)
        return len(self.tensors) - 1

    def operator(self, name: str, inputs, outputs, options=None) -> None:
        """Add an operator; `options` is an object of the schema's options class."""
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = self.codes.index(code), list(inputs), list(outputs)
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self.operators.append(op)

    def build(self, inputs, outputs) -> bytes:
        """Return the file."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options(kind: str, **fields: Any) -> Any:
    """Make an options object, e.g. ``options("AddOptions", fusedActivationFunction=1)``."""
    made = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def run_tflm(content: bytes, inputs: list[np.ndarray], outputs: int) -> list[np.ndarray]:
    """Evaluate one by one, whatever shapes the model has for them: arrays (n, size) in, arrays (n, size) out."""
    interpreter = tflm.Interpreter.from_bytes(content, arena_size=1 << 18)
    rows = []
    for row in zip(*inputs, strict=True):
        for index, values in enumerate(row):
            interpreter.set_input(values.reshape(interpreter.get_input_details(index)["shape"]), index)
        interpreter.invoke()
        rows.append([interpreter.get_output(i).reshape(-1).copy() for i in range(outputs)])
    return [np.stack([row[i] for row in rows]) for i in range(outputs)]
