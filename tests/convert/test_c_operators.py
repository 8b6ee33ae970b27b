"""Every operator of the C runtime against TensorFlow Lite Micro, on random parameters: not one bit differs."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmbrl.convert.c.errors import ModelError
from nmbrl.convert.c.foreign import print_model
from nmbrl.convert.c.lower import lower
from nmbrl.convert.c.model import read_graph
from nmbrl.convert.c.sources import kernel_sources
from nmbrl.targets.compiler import FLAGS, LIBRARY_FLAGS, compile_library

from .c_models import Builder, options, run_tflm

Run = Callable[[list[np.ndarray], list[int]], list[np.ndarray]]


def headers() -> dict[str, str]:
    """The headers of the kernels."""
    return {name: text for name, text in kernel_sources().items() if name.endswith(".h")}


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
    library = compile_library(kernel_sources(), tmp_path_factory.mktemp("kernels"), (*FLAGS, *LIBRARY_FLAGS, "-Werror"))
    return ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


@pytest.fixture
def compiled(kernels, tmp_path) -> Callable[[bytes], Run]:
    """Return a function that compiles a model's bytes."""
    return lambda content: compile_model(content, tmp_path)


EVERY = np.arange(-128, 128, dtype=np.int8)


def unary(name: str, scale: float, zero: int, out_scale: float, out_zero: int, size: int = 256, settings=None) -> bytes:
    b = Builder()
    x, y = b.tensor((1, size), scale, zero), b.tensor((1, size), out_scale, out_zero)
    b.operator(name, [x], [y], settings)
    return b.build([x], [y])


def table_of(content: bytes) -> np.ndarray:
    """The table that a model of one input is lowered to."""
    steps = lower(read_graph(content), "f", ["x"], ["y"]).steps
    assert len(steps) == 1
    assert steps[0].table is not None
    return np.array(steps[0].table)


@pytest.mark.parametrize("seed", range(60))
def test_activation_tables(seed):
    random = np.random.default_rng(seed)
    scale, zero = float(np.float32(10 ** random.uniform(-4, 0.5))), int(random.integers(-128, 128))
    other, other_zero = float(np.float32(scale * 10 ** random.uniform(-1, 1))), int(random.integers(-128, 128))
    cases = {
        "LOGISTIC": (scale, zero, 1 / 256, -128),
        "TANH": (scale, zero, 1 / 128, 0),
        "QUANTIZE": (scale, zero, other, other_zero),
        "RELU": (scale, zero, other, other_zero),
        "RELU6": (scale, zero, scale, zero),
    }
    for name, case in cases.items():
        if name == "RELU6" and zero + 6 / scale > 127:
            continue  # TFLM refuses to prepare it
        content = unary(name, *case)
        np.testing.assert_array_equal(table_of(content), run_tflm(content, [EVERY[None]], 1)[0][0], name)


def binary(name: str, scales, zeros, size: int, activation: int = 0, constant=None) -> bytes:
    b = Builder()
    a = b.tensor((1, size), scales[0], zeros[0])
    c = b.tensor((1, size) if constant is None else constant.shape, scales[1], zeros[1], constant)
    y = b.tensor((1, size), scales[2], zeros[2])
    kind = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[name]
    b.operator(name, [a, c], [y], options(kind, fusedActivationFunction=activation))
    return b.build([a] if constant is not None else [a, c], [y])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
def test_arithmetic(name, seed, compiled):
    random = np.random.default_rng(seed)
    scales = [float(np.float32(10 ** random.uniform(-3, -1))) for _ in range(3)]
    if name == "MUL":
        scales[2] = float(np.float32(scales[0] * scales[1] * 10 ** random.uniform(0.5, 3)))
    zeros = [int(zero) for zero in random.integers(-128, 128, 3)]
    size = int(random.integers(1, 90))
    content = binary(name, scales, zeros, size, activation=(0, 1, 2, 3)[seed % 4])
    inputs = [random.integers(-128, 128, (200, size), np.int8) for _ in range(2)]
    expected = run_tflm(content, inputs, 1)
    np.testing.assert_array_equal(compiled(content)(inputs, [size])[0], expected[0])


@pytest.mark.parametrize("constant", ["scalar", "row"])
@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
def test_arithmetic_with_constants(name, constant, compiled):
    random = np.random.default_rng(7)
    value = random.integers(-128, 128, (1, 1) if constant == "scalar" else (1, 24), np.int8)
    content = binary(name, [0.02, 0.03, 0.05], [3, -4, 5], 24, constant=value)
    inputs = [random.integers(-128, 128, (200, 24), np.int8)]
    np.testing.assert_array_equal(compiled(content)(inputs, [24])[0], run_tflm(content, inputs, 1)[0])


def dense(random, rows: int, columns: int, channels: bool, activation: int = 0, bias: bool = True) -> bytes:
    b = Builder()
    x = b.tensor((1, columns), 0.02, int(random.integers(-128, 128)))
    scales = 10 ** random.uniform(-3, -2, rows if channels else 1)
    w = b.tensor((rows, columns), scales, 0, random.integers(-127, 128, (rows, columns), np.int8))
    limit = 20000
    inputs = [x, w]
    if bias:
        inputs.append(b.tensor((rows,), 0.02 * scales, 0, random.integers(-limit, limit, rows), np.int32))
    y = b.tensor((1, rows), 0.03, int(random.integers(-128, 128)))
    b.operator("FULLY_CONNECTED", inputs, [y], options("FullyConnectedOptions", fusedActivationFunction=activation))
    return b.build([x], [y])


@pytest.mark.parametrize("seed", range(16))
def test_dense(seed, compiled):
    random = np.random.default_rng(seed)
    rows, columns = (int(size) for size in random.integers(1, 140, 2))
    content = dense(random, rows, columns, channels=seed % 2 == 0 and rows > 1, activation=(0, 1, 3)[seed % 3],
                    bias=seed % 5 > 0)  # fmt: skip
    inputs = [random.integers(-128, 128, (50, columns), np.int8)]
    np.testing.assert_array_equal(compiled(content)(inputs, [rows])[0], run_tflm(content, inputs, 1)[0])


@pytest.mark.parametrize("size", [2, 5, 64])
@pytest.mark.parametrize("scale", [0.5, 0.1, 0.004])
def test_softmax(size, scale, compiled):
    random = np.random.default_rng(size)
    content = unary("SOFTMAX", scale, -7, 1 / 256, -128, size, options("SoftmaxOptions", beta=1.0))
    inputs = [random.integers(-128, 128, (300, size), np.int8)]
    np.testing.assert_array_equal(compiled(content)(inputs, [size])[0], run_tflm(content, inputs, 1)[0])


def test_slices_splits_reshapes_and_concatenations(compiled):
    random = np.random.default_rng(3)
    b = Builder()
    x = b.tensor((1, 12), 0.05, 4)
    begin, size = (b.tensor((2,), data=v, dtype=np.int32) for v in ([0, 2], [1, 6]))
    stop, ones = (b.tensor((2,), data=v, dtype=np.int32) for v in ([1, 8], [1, 1]))
    axis, shape = b.tensor((), data=[1], dtype=np.int32), b.tensor((2,), data=[1, 6], dtype=np.int32)
    cut, strided = b.tensor((1, 6), 0.05, 4), b.tensor((1, 6), 0.05, 4)
    halves = [b.tensor((1, 6), 0.05, 4) for _ in range(2)]
    formed, joined = b.tensor((1, 6), 0.05, 4), b.tensor((1, 24), 0.05, 4)
    squashed, again = b.tensor((1, 24), 1 / 128, 0), b.tensor((1, 36), 1 / 128, 0)
    total = b.tensor((1, 6), 1 / 64, 3)
    small = b.tensor((1, 6), 1 / 128, 0)
    b.operator("SLICE", [x, begin, size], [cut], options("SliceOptions"))
    b.operator("STRIDED_SLICE", [x, begin, stop, ones], [strided], options("StridedSliceOptions"))
    b.operator("SPLIT", [axis, x], halves, options("SplitOptions", numSplits=2))
    b.operator("RESHAPE", [cut, shape], [formed], options("ReshapeOptions", newShape=[1, 6]))
    b.operator("CONCATENATION", [formed, strided, *halves], [joined], options("ConcatenationOptions", axis=1))
    b.operator("TANH", [joined], [squashed])
    b.operator("TANH", [halves[1]], [small])
    b.operator("CONCATENATION", [squashed, small, small], [again], options("ConcatenationOptions", axis=-1))
    b.operator("ADD", [small, cut], [total], options("AddOptions"))
    content = b.build([x], [again, total, small, x])
    inputs = [random.integers(-128, 128, (100, 12), np.int8)]
    expected = run_tflm(content, inputs, 4)
    for actual, wanted in zip(compiled(content)(inputs, [36, 6, 6, 12]), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_silu_is_one_table_fused_into_the_layer_before():
    random = np.random.default_rng(0)
    b = Builder()
    x, w = b.tensor((1, 8), 0.02, 1), b.tensor((8, 8), 0.01, 0, random.integers(-127, 128, (8, 8), np.int8))
    y, s, z = b.tensor((1, 8), 0.05, -3), b.tensor((1, 8), 1 / 256, -128), b.tensor((1, 8), 0.04, 2)
    b.operator("FULLY_CONNECTED", [x, w], [y], options("FullyConnectedOptions"))
    b.operator("LOGISTIC", [y], [s])
    b.operator("MUL", [y, s], [z], options("MulOptions"))
    content = b.build([x], [z])
    steps = lower(read_graph(content), "f", ["x"], ["z"]).steps
    assert [step.kernel for step in steps] == ["dense"]
    assert steps[0].table is not None


@pytest.mark.parametrize(
    ("name", "settings"), [("HARD_SWISH", options("HardSwishOptions")), ("EXP", options("ExpOptions"))]
)
def test_an_unsupported_operator_is_named_with_its_position(name, settings):
    b = Builder()
    x, y, z = (b.tensor((1, 4), 0.05, 0) for _ in range(3))
    b.operator("RELU", [x], [y])
    b.operator(name, [y], [z], settings)
    with pytest.raises(ModelError, match=rf"operator 1 \({name}\) is not supported"):
        print_model(b.build([x], [z]), "model")


def test_sources_are_reproducible_and_use_only_three_headers():
    content = dense(np.random.default_rng(0), 9, 7, True)
    header, source = print_model(content, "model")
    assert (header, source) == print_model(content, "model")
    included = {line for line in (header + source).splitlines() if line.startswith("#include <")}
    assert included <= {"#include <stdint.h>", "#include <stddef.h>", "#include <string.h>"}
