"""One core function as a float .tflite model, through litert-torch; its tensors are named as the interface's."""

import re

import litert_torch
import torch
from ai_edge_litert.tools import flatbuffer_utils

from nmbrl.convert.quiet import quiet
from nmbrl.convert.tflite_rewrite import rewrite
from nmbrl.targets.errors import NmbrlError
from nmbrl.train.deployed import DeployedModel


def lower(model: DeployedModel, function: str) -> bytes:
    """Return a core function as a float32 .tflite model for one sample.

    Inputs are called as in `Interface.input_sizes` (unused ones are left out), outputs ``<name>:out``.

    Raises:
        NmbrlError: if it uses an operation that TFLite does not have.
    """
    interface = model.interface
    inputs = tuple(torch.zeros(1, size) for size in interface.input_sizes(function).values())
    try:
        with quiet():
            module = rewrite(model.core(function).eval(), inputs)
            content = bytes(litert_torch.convert(module, inputs).model_content())
    except Exception as error:  # the converter raises whatever its passes raise
        raise NmbrlError(f"{function} cannot be lowered to TFLite: {_reason(error)}") from error
    names = list(interface.input_sizes(function)), list(interface.output_sizes(function))
    return _name_tensors(content, *names)


def _name_tensors(content: bytes, inputs: list[str], outputs: list[str]) -> bytes:
    """Name the tensors at the boundary, and drop inputs that nothing reads."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    read = {index for operator in graph.operators for index in operator.inputs}
    for entries, names, suffix in ((signature.inputs, inputs, ""), (signature.outputs, outputs, ":out")):
        for entry in entries:
            number = int(re.sub(rb"\D", b"", entry.name))
            entry.name = names[number].encode()
            graph.tensors[entry.tensorIndex].name = f"{names[number]}{suffix}".encode()
    graph.inputs = [index for index in graph.inputs if index in read]
    signature.inputs = [entry for entry in signature.inputs if entry.tensorIndex in read]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _reason(error: BaseException) -> str:
    """The line that names the operation, without the converter's stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "error:" in line or "aten" in line]
    return (named or lines or [type(error).__name__])[0]
