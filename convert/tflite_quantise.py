"""Float .tflite models to full-integer ones whose named quantities share one scale and zero point."""

import functools
from typing import Literal

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import quantizer
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from nmbrl.convert.calibration import Samples
from nmbrl.convert.quantities import Range, quantity
from nmbrl.convert.quiet import quiet
from nmbrl.convert.tflite_graph import operator_name, read_graph
from nmbrl.convert.tflite_int16 import make_recipe, wide_outputs
from nmbrl.targets.bundle import Function, Tensor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Interface
from nmbrl.targets.tflite_batch import set_batch

DTYPES: dict[int, Literal["int8", "int16", "int32"]] = {
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT32: "int32",
}
# The biases of layers on int16 activations.
INTEGERS = {*DTYPES, schema.TensorType.INT64}
# Inputs beyond which a kernel gives 0 or 1: half a step of its output away from it, for int8 and int16.
SATURATION = {
    "TANH": (float(np.arctanh(1 - 1 / 256)), float(np.arctanh(1 - 1 / 65536))),
    "LOGISTIC": (float(np.log(511)), float(np.log(65535))),
}
# Ranges that give the scales and zero points on which the kernels of TANH and LOGISTIC insist.
FIXED = {
    (1 / 128, 0): (-1.0, 127 / 128),
    (1 / 256, -128): (0.0, 255 / 256),
    (1 / 32768, 0): (-32767 / 32768, 32767 / 32768),
}

Quantised = dict[str, tuple[bytes, Function]]


def quantise_functions(
    interface: Interface,
    floats: dict[str, bytes],
    samples: Samples,
    ranges: dict[str, Range],
    int16: str | None = None,
) -> Quantised:
    """Quantise every function with min-max ranges of `samples`, and those of `ranges` at the boundary.

    Args:
        interface: shapes of the functions.
        floats: float .tflite models, as `lower` gives them.
        samples: inputs of the functions.
        ranges: range of every named quantity.
        int16: which activations are int16, see `nmbrl.convert.tflite_int16`; None for int8 throughout.

    Returns:
        The integer model and the bundle's record of every function.

    Raises:
        NmbrlError: if a model keeps floats, or a quantity cannot have one scale.
    """
    return quantise_in_ranges(interface, floats, measure_ranges(interface, floats, samples, int16), ranges, int16)


def measure_ranges(
    interface: Interface, floats: dict[str, bytes], samples: Samples, int16: str | None = None
) -> dict[str, dict[str, Range]]:
    """Return the range of every activation by function and tensor name, without what only saturates."""
    return {
        function: _clip_saturating(
            content,
            _inner_ranges(function, content, samples.inputs[function]),
            wide_outputs(interface, read_graph(content), int16),
        )
        for function, content in floats.items()
    }


def quantise_in_ranges(
    interface: Interface,
    floats: dict[str, bytes],
    inner: dict[str, dict[str, Range]],
    ranges: dict[str, Range],
    int16: str | None = None,
) -> Quantised:
    """Do as `quantise_functions` does, with the ranges that `measure_ranges` gave for the activations inside.

    A kernel whose output scale is fixed (TANH, LOGISTIC) fixes it for the quantity everywhere.
    """
    quantised = _quantise_all(interface, floats, inner, ranges, int16)
    fixed = _fixed_by_kernels(interface, quantised)
    if fixed:
        quantised = _quantise_all(interface, floats, inner, {**ranges, **fixed}, int16)
    check_shared(interface, {function: record for function, (_, record) in quantised.items()})
    return quantised


def check_shared(interface: Interface, functions: dict[str, Function]) -> None:
    """Check that every named quantity has one scale and zero point in all functions, on both sides.

    Raises:
        NmbrlError: naming the quantity that has several.
    """
    for key, parameters in _parameters(interface, functions).items():
        if len(parameters) > 1:
            found = ", ".join(f"scale {scale:.6g} zero point {zero}" for scale, zero in sorted(parameters))
            raise NmbrlError(f"{key} cannot have one scale in all functions: {found}")


def _parameters(interface: Interface, functions: dict[str, Function]) -> dict[str, set[tuple[float, int]]]:
    """Scales and zero points that each quantity has."""
    found: dict[str, set[tuple[float, int]]] = {}
    for function, record in functions.items():
        for output, tensors in ((False, record.inputs), (True, record.outputs)):
            for tensor in tensors:
                assert tensor.scale is not None and tensor.zero_point is not None
                key = quantity(interface, function, tensor.name, output)
                found.setdefault(key, set()).add((tensor.scale, tensor.zero_point))
    return found


def _fixed_by_kernels(interface: Interface, quantised: Quantised) -> dict[str, Range]:
    """Ranges that give every quantity the scale that a kernel insists on."""
    fixed = {}
    for key, parameters in _parameters(interface, {f: record for f, (_, record) in quantised.items()}).items():
        insisting = parameters & FIXED.keys()
        if len(parameters) > 1 and insisting:
            fixed[key] = Range(*FIXED[max(insisting)])
    return fixed


def _inner_ranges(function: str, content: bytes, inputs: dict[str, Array]) -> dict[str, Range]:
    """Smallest and largest value of every activation of a float model over all samples, by tensor name."""
    samples = len(next(iter(inputs.values())))
    try:
        with quiet():
            interpreter = Interpreter(
                model_content=bytes(set_batch(content, samples)),
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            interpreter.allocate_tensors()
            for entry in interpreter.get_input_details():
                interpreter.set_tensor(entry["index"], inputs[entry["name"]])
            interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise NmbrlError(f"{function} cannot be calibrated: {str(error).splitlines()[0]}") from error
    ranges = {}
    for name, index in _activations(content).items():
        values = interpreter.get_tensor(index)
        ranges[name] = Range(float(values.min()), float(values.max()))
    return ranges


def _clip_saturating(content: bytes, ranges: dict[str, Range], wide: set[str]) -> dict[str, Range]:
    """Narrow the range of what only saturating kernels read to where they still tell values apart."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    readers: dict[int, set[str]] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            readers.setdefault(int(index), set()).add(operator_name(model, operator))
    clipped = dict(ranges)
    for index, names in readers.items():
        name = graph.tensors[index].name.decode()
        if len(names) == 1 and names <= SATURATION.keys() and index not in (*graph.inputs, *graph.outputs):
            limit = SATURATION[next(iter(names))][name in wide]
            low, high = np.clip((ranges[name].low, ranges[name].high), -limit, limit)
            clipped[name] = Range(float(low), float(high))
    return clipped


def _activations(content: bytes) -> dict[str, int]:
    """Names and indices of the tensors that enter a model or come out of an operator."""
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    indices = [*graph.inputs, *(index for operator in graph.operators for index in operator.outputs)]
    return {graph.tensors[index].name.decode(): int(index) for index in indices}


def _quantise_all(
    interface: Interface,
    floats: dict[str, bytes],
    inner: dict[str, dict[str, Range]],
    ranges: dict[str, Range],
    int16: str | None,
) -> Quantised:
    quantised = {}
    for function, content in floats.items():
        boundary = _boundary_ranges(interface, function, content, ranges)
        wide = wide_outputs(interface, read_graph(content), int16)
        joined = _joined(content, {**inner[function], **boundary})
        quantised[function] = _quantise(function, content, joined, wide, int16)
    return quantised


def _boundary_ranges(interface: Interface, function: str, content: bytes, ranges: dict[str, Range]) -> dict[str, Range]:
    """Ranges of a model's inputs and outputs, by tensor name."""
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    found = {}
    for output, indices in ((False, graph.inputs), (True, graph.outputs)):
        for index in indices:
            name = graph.tensors[index].name.decode()
            found[name] = ranges[quantity(interface, function, name.removesuffix(":out"), output)]
    return found


def _joined(content: bytes, ranges: dict[str, Range]) -> dict[str, Range]:
    """Give a concatenation exactly the range of its parts, so that the widest needs no requantising."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    tensors = model.subgraphs[0].tensors
    joined = dict(ranges)
    for operator in model.subgraphs[0].operators:
        if operator_name(model, operator) == "CONCATENATION":
            parts = [joined[tensors[index].name.decode()] for index in operator.inputs]
            joined[tensors[operator.outputs[0]].name.decode()] = functools.reduce(Range.union, parts)
    return joined


def _quantise(
    function: str, content: bytes, ranges: dict[str, Range], wide: set[str], int16: str | None
) -> tuple[bytes, Function]:
    """Quantise one model with the given range of every activation."""
    statistics = {
        name: {"min": np.full((1, 1), seen.low, np.float32), "max": np.full((1, 1), seen.high, np.float32)}
        for name, seen in ranges.items()
    }
    try:
        with quiet():
            quantised = quantizer.Quantizer(bytearray(content), make_recipe(wide, int16))
            result = quantised.quantize(statistics, enable_progress_report=False, enable_progress_bar=False)
    except (RuntimeError, ValueError) as error:
        raise NmbrlError(f"{function} cannot be int8 throughout: {str(error).splitlines()[0]}") from error
    assert result.quantized_model is not None
    integer = _restore_outputs(bytes(result.quantized_model), int16 is not None)
    return integer, _describe(function, integer)


def _restore_outputs(content: bytes, int16: bool) -> bytes:
    """Give a model its outputs back where the quantizer put those requantised for another reader in their place.

    It does so to an output that a concatenation with another scale reads as well. Where it requantised an output for
    the boundary, from int8 to int16, that one takes over the name.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    original = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
    for position, index in enumerate(graph.outputs):
        tensor = graph.tensors[index]
        former = original[tensor.name.removesuffix(b"_quantized")]
        if graph.tensors[former].type == (schema.TensorType.INT16 if int16 else schema.TensorType.INT8):
            graph.outputs[position] = former
        else:
            tensor.name, graph.tensors[former].name = graph.tensors[former].name, tensor.name
    for entry, index in zip(model.signatureDefs[0].outputs, graph.outputs, strict=True):
        entry.tensorIndex = index
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _describe(function: str, content: bytes) -> Function:
    """Read the bundle's record of a function back from its model.

    Raises:
        NmbrlError: if a tensor is not integer.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0 and graph.tensors[index].type not in INTEGERS:
                name = operator_name(model, operator)
                raise NmbrlError(f"{function} cannot be int8 throughout: {name} is not quantised")

    def tensors(indices: list[int]) -> tuple[Tensor, ...]:
        return tuple(_tensor(graph.tensors[index]) for index in indices)

    return Function(file=f"{function}.tflite", inputs=tensors(graph.inputs), outputs=tensors(graph.outputs))


def _tensor(tensor: schema.TensorT) -> Tensor:
    return Tensor(
        name=tensor.name.decode().removesuffix(":out"),
        size=int(tensor.shape[1]),
        dtype=DTYPES[tensor.type],
        scale=float(tensor.quantization.scale[0]),
        zero_point=int(tensor.quantization.zeroPoint[0]),
    )
