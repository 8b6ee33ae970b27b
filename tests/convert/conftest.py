"""What the tests of generated C share: compiling a lone .tflite model and calling it."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmbrl.convert.c.bundle import runtime_sources
from nmbrl.convert.c.foreign import print_model
from nmbrl.targets.compiler import FLAGS, LIBRARY_FLAGS, compile_library

Run = Callable[[list[np.ndarray], list[int]], list[np.ndarray]]
# What a lone model needs: kernels, no planner and no boundary.
KERNELS = ("add", "dense", "map", "multiply", "softmax")


def headers() -> dict[str, str]:
    """The headers of the runtime."""
    return {name: text for name, text in runtime_sources().items() if name.endswith(".h")}


def compile_model(content: bytes, directory: Path) -> Run:
    """Generate and compile a model; the function takes arrays (n, size) and the sizes of the outputs."""
    header, source = print_model(content, "model")
    texts = {"model.h": header, "model.c": source, **headers()}
    flags = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    library = ctypes.CDLL(str(compile_library(texts, directory, flags)))

    def run(inputs: list[np.ndarray], sizes: list[int]) -> list[np.ndarray]:
        outputs = [np.zeros((len(inputs[0]), size), np.int8) for size in sizes]
        for i in range(len(inputs[0])):
            rows = [array[i : i + 1] for array in (*inputs, *outputs)]
            library.model(*(ctypes.c_void_p(row.ctypes.data) for row in rows), ctypes.c_size_t(1))
        return outputs

    return run


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    """The kernels, which every model then finds."""
    texts = {
        name: text
        for name, text in runtime_sources().items()
        if name.endswith(".c") and name.split("_")[0].split(".")[0] in KERNELS
    } | headers()
    library = compile_library(texts, tmp_path_factory.mktemp("kernels"), (*FLAGS, *LIBRARY_FLAGS, "-Werror"))
    return ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


@pytest.fixture
def compiled(kernels, tmp_path) -> Callable[[bytes], Run]:
    """Return a function that compiles a model's bytes."""
    return lambda content: compile_model(content, tmp_path)
