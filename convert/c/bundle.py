"""Lowering to C99: the int8 TFLite functions of a run, generated and bundled with the kernels and planners."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nmbrl.convert.c.boundary import Sources, print_sources
from nmbrl.convert.c.footprint import footprint
from nmbrl.convert.c.foreign import convert_model
from nmbrl.convert.c.memory import memory_map
from nmbrl.convert.c.sources import runtime_sources
from nmbrl.convert.c.verify import ROWS, count_differences
from nmbrl.convert.quiet import quiet
from nmbrl.targets.bundle import Bundle, Function, read_bundle, write_bundle
from nmbrl.targets.c import CExecutor
from nmbrl.targets.errors import NmbrlError

if TYPE_CHECKING:
    from nmbrl.train.run import Run

__all__ = ["convert", "convert_bundle", "convert_model"]

Progress = Callable[[str], None]
# What a report calls the comparison with the oracle.
CHECK = f"{ROWS} random inputs a function, against TensorFlow Lite Micro"


def convert(run: "Run", out: Path, progress: Progress = lambda message: None) -> Bundle:
    """Write a run's model as a C bundle, by way of int8 TFLite.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        out: directory of the bundle.
        progress: called with the name of every step before it starts.

    Raises:
        NmbrlError: if a function cannot be lowered, or the C code differs from TFLM in any bit.
    """
    with quiet():
        from nmbrl.convert import tflite  # brings PyTorch and its converters, which a .tflite bundle does not need

    with tempfile.TemporaryDirectory() as directory:
        tflite.convert(run, Path(directory) / "tflite", progress)
        return convert_bundle(Path(directory) / "tflite", out, progress)


def convert_bundle(path: Path, out: Path, progress: Progress = lambda message: None) -> Bundle:
    """Write an int8 TFLite bundle as a C bundle; see `convert`."""
    source = read_bundle(path)
    if source.target != "tflite":
        raise NmbrlError(f"{path} is a bundle for {source.target}; C code is made from a run or a tflite bundle")
    models = {name: (path / function.file).read_bytes() for name, function in source.functions.items()}
    progress("generate")
    sources = print_sources(source.interface, models, source.functions)
    macs = {name: lowered.macs for name, lowered in sources.lowered.items()}
    records = {
        name: Function(file="model.c", inputs=function.inputs, outputs=function.outputs)
        for name, function in source.functions.items()
    }
    texts = {"model.h": sources.header, "model.c": sources.source, **runtime_sources()}
    progress("build")
    executor = CExecutor(source.interface, macs, records, texts)
    progress("verify")
    differences = count_differences(executor, models, source.functions)
    if any(differences.values()):
        raise NmbrlError(f"the C code differs from TFLM: {differences}; this is a bug of nmbrl")
    compared = sum(ROWS * tensor.size for function in records.values() for tensor in function.outputs)
    return write_bundle(
        out,
        {**{name: text.encode() for name, text in texts.items()}, "memory.txt": _memory(sources).encode()},
        target="c",
        interface=source.interface,
        functions=records,
        provenance=source.provenance,
        measured={
            **source.measured,
            "macs": macs,
            "memory": footprint(sources, executor),
            "tflm_differences": differences,
            "checks": {CHECK: {"compared": compared, "differing": sum(differences.values())}},
        },
    )


def _memory(sources: Sources) -> str:
    """The memory map of all functions, for the reader."""
    lines = []
    for name, lowered in sources.lowered.items():
        lines += memory_map(lowered, sources.printer.plans[name])
    return "\n".join(lines) + "\n"
