"""Any int8 .tflite model that the C runtime can compute, as one C function."""

import re
from pathlib import Path

from nmbrl.convert.c.functions import Printer, scratch_definition
from nmbrl.convert.c.lower import lower
from nmbrl.convert.c.model import Graph, TensorInfo, read_graph
from nmbrl.convert.c.sources import kernel_sources
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_text


def convert_model(path: Path, out: Path) -> Path:
    """Write ``<name>.h`` and ``<name>.c`` for a .tflite file, and the kernels that they need.

    Args:
        path: the .tflite file.
        out: directory to write to.

    Returns:
        The source file.

    Raises:
        NmbrlError: if the file cannot be read, is malformed, or holds an operator that the C runtime does not have.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise NmbrlError(f"cannot read {path}: {error.strerror or error}") from error
    name = re.sub(r"\W", "_", Path(path).stem)
    if not name[:1].isalpha() or f"{name}.c" in kernel_sources():
        name = f"model_{name}"
    header, source = print_model(content, name)
    for file, text in {**kernel_sources(), f"{name}.h": header, f"{name}.c": source}.items():
        write_text(Path(out) / file, text)
    return Path(out) / f"{name}.c"


def print_model(content: bytes, name: str) -> tuple[str, str]:
    """Return header and source of a .tflite model as ``void <name>(inputs, outputs, n)``.

    Raises:
        ModelError: if it is malformed, or holds an operator that the C runtime does not have.
    """
    graph = read_graph(content)
    inputs = [f"input_{i}" for i in range(len(graph.inputs))]
    outputs = [f"output_{i}" for i in range(len(graph.outputs))]
    lowered = lower(graph, name, inputs, outputs)
    printer = Printer()
    definition = printer.function(lowered)
    parameters = [f"const int8_t *{n}" for n in inputs] + [f"int8_t *{n}" for n in outputs]
    prototype = f"void {name}({', '.join(parameters)}, size_t n)"
    sizes = [slot.size for slot in (*lowered.inputs, *lowered.outputs)]
    arguments = [f"{n}, {size}" for n, size in zip([*inputs, *outputs], sizes, strict=True)]
    guard = f"{name.upper()}_H"
    header = [
        f"/* {name}, from an int8 .tflite model. Rows lie one after another; n is at most {graph.rows}. */",
        f"#ifndef {guard}", f"#define {guard}", "", "#include <stddef.h>", "#include <stdint.h>", "",
        *_describe(graph, inputs, outputs), f"{prototype};", "", "#endif",
    ]  # fmt: skip
    source = [
        f'#include "{name}.h"', "", '#include "nmbrl_kernels.h"', "", f"#define NMBRL_MAX_BATCH {graph.rows}", "",
        *printer.constants.lines(), "", *printer.layers(), "", scratch_definition(printer), "",
        *definition, "", f"{prototype} {{", f"    {name}_rows({', '.join(arguments)}, n);", "}",
    ]  # fmt: skip
    return "\n".join(header) + "\n", "\n".join(source) + "\n"


def _describe(graph: Graph, inputs: list[str], outputs: list[str]) -> list[str]:
    def line(name: str, tensor: TensorInfo) -> str:
        return f" * {name}: {tensor.size} int8, scale {float(tensor.scale):.9g}, zero point {tensor.zero_point}"

    positions = zip([*inputs, *outputs], [*graph.inputs, *graph.outputs], strict=True)
    return ["/*", *(line(name, graph.tensors[position]) for name, position in positions), " */"]
