"""Lowering to int8 TFLite for TensorFlow Lite Micro: one full-integer model a function, one scale a quantity."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tflite_micro import runtime as tflm

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.provenance import make_provenance
from nmbrl.convert.quantities import shared_ranges
from nmbrl.convert.quiet import captured
from nmbrl.convert.tflite_lower import lower
from nmbrl.convert.tflite_quantise import quantise_functions
from nmbrl.convert.verify import measure_errors
from nmbrl.targets.bundle import Bundle, Function, write_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.tflite import TfliteExecutor
from nmbrl.train.deployed import TorchExecutor

if TYPE_CHECKING:
    from nmbrl.train.run import Run

PACKAGES = ("torch", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "tflite-micro")


def convert(run: "Run", out: Path, progress: Callable[[str], None] = lambda message: None) -> Bundle:
    """Write a run's model as an int8 TFLite bundle.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        out: directory of the bundle.
        progress: called with the name of every step before it starts.

    Raises:
        NmbrlError: if a function cannot be lowered or quantised, or TFLM does not run it.
    """
    interface = run.model.interface
    progress("calibrate")
    reference = TorchExecutor(run.model)
    samples = compute_samples(run.model, run.calibration, run.seed)
    floats = {}
    for function in interface.functions:
        progress(f"{function}: lower")
        floats[function] = lower(run.model, function)
    progress("quantise")
    quantised = quantise_functions(interface, floats, samples, shared_ranges(reference, samples))
    models = {function: content for function, (content, _) in quantised.items()}
    records = {function: record for function, (_, record) in quantised.items()}
    progress("verify")
    macs = dict(run.model.macs)
    arenas = {function: arena_bytes(content, records[function]) for function, content in models.items()}
    try:
        errors = measure_errors(TfliteExecutor(interface, macs, records, models), reference, samples)
    except RuntimeError as error:
        raise NmbrlError(f"TFLM cannot run the models on a batch: {error}") from error
    return write_bundle(
        out,
        {records[function].file: content for function, content in models.items()},
        target="tflite",
        interface=interface,
        functions=records,
        provenance=make_provenance(run, PACKAGES, {}),
        measured={
            "macs": macs,
            "bytes": {function: len(content) for function, content in models.items()},
            "arena_bytes": arenas,
            "errors": errors,
        },
    )


def arena_bytes(content: bytes, record: Function) -> int:
    """Return the bytes of tensor arena that TFLM allocates for a model, as its recording allocator counts them.

    Raises:
        NmbrlError: if TFLM cannot run the model.
    """
    with captured() as text:
        try:
            interpreter = tflm.Interpreter.from_bytes(content)
            for index, tensor in enumerate(record.inputs):
                interpreter.set_input(np.zeros((1, tensor.size), np.int8), index)
            interpreter.invoke()
            interpreter.print_allocations()
        except RuntimeError as error:
            raise NmbrlError(f"TFLM cannot run {record.file}: {error}") from error
    found = re.search(r"Arena allocation total (\d+) bytes", text[0])
    if found is None:
        raise NmbrlError(f"TFLM did not say how much arena {record.file} needs")
    return int(found.group(1))
