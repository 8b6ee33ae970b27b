"""Lowering to ONNX: one float32 model a function, with a dynamic batch."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.provenance import make_provenance
from nmbrl.convert.quiet import quiet
from nmbrl.convert.verify import measure_errors, worst
from nmbrl.targets.bundle import Bundle, Function, Tensor, write_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Interface
from nmbrl.targets.onnx import OnnxExecutor
from nmbrl.train.deployed import DeployedModel, TorchExecutor, layer_macs

if TYPE_CHECKING:
    from nmbrl.train.run import Run

OPSET = 20
# Largest difference from PyTorch, relative to the largest magnitude of an output or to 1 where that is smaller.
TOLERANCE = 1e-5
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


def convert(run: "Run", out: Path, progress: Callable[[str], None] = lambda message: None) -> Bundle:
    """Write a run's model as an ONNX bundle, checked by onnxruntime against PyTorch.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        out: directory of the bundle.
        progress: called with the name of every step before it starts.

    Raises:
        NmbrlError: if a function cannot be exported, or differs from PyTorch by more than `TOLERANCE`.
    """
    interface = run.model.interface
    models: dict[str, bytes] = {}
    for function in interface.functions:
        progress(f"{function}: export")
        models[function] = export(run.model, function)
    progress("verify")
    executor = OnnxExecutor(interface, dict(run.model.macs), models)
    samples = compute_samples(run.model, run.calibration, run.seed)
    errors = measure_errors(executor, TorchExecutor(run.model), samples)
    if worst(errors) > TOLERANCE:
        raise NmbrlError(f"the ONNX models differ from PyTorch by {worst(errors):.2g}, more than {TOLERANCE}")
    return write_bundle(
        out,
        {f"{function}.onnx": content for function, content in models.items()},
        target="onnx",
        interface=interface,
        functions={function: describe_function(interface, function) for function in models},
        provenance=make_provenance(run, PACKAGES, {"opset": OPSET}),
        measured={
            "macs": dict(run.model.macs),
            "layers": layer_macs(run.model),
            "bytes": {function: len(content) for function, content in models.items()},
            "errors": errors,
        },
    )


def export(model: DeployedModel, function: str) -> bytes:
    """Export one core function; the same weights give the same bytes.

    Raises:
        NmbrlError: if it uses an operation that ONNX does not have.
    """
    interface = model.interface
    batch = torch.export.Dim("batch")
    names, outputs = list(interface.input_sizes(function)), list(interface.output_sizes(function))
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model.core(function).eval(),
                tuple(torch.zeros(2, size) for size in interface.input_sizes(function).values()),
                input_names=names,
                output_names=[f"{name}_next" if name in names else name for name in outputs],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=(tuple({0: batch} for _ in names),),
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        raise NmbrlError(f"{function} cannot be exported to ONNX: {_reason(error)}") from error
    assert program is not None
    return _canonical(program.model_proto)


def _reason(error: BaseException) -> str:
    """The innermost cause, first line: it names the operation."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _canonical(model: onnx.ModelProto) -> bytes:
    """Drop what describes the machine and the source (paths, stack traces), check, and serialise deterministically."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for constant in model.graph.initializer:
        del constant.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def describe_function(interface: Interface, function: str) -> Function:
    """Return the bundle's record of a float32 function, in the order of the ONNX model's inputs and outputs."""

    def tensors(sizes: dict[str, int]) -> tuple[Tensor, ...]:
        return tuple(Tensor(name=name, size=size, dtype="float32") for name, size in sizes.items())

    return Function(
        file=f"{function}.onnx",
        inputs=tensors(interface.input_sizes(function)),
        outputs=tensors(interface.output_sizes(function)),
    )
