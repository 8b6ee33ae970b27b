"""int8 .tflite files of others, equal to TFLM: Google's converter and quantizer on PyTorch modules and hello_world."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import litert_torch
import numpy as np
import pytest
import tflite_micro
import torch
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import quantizer, recipe
from click.testing import CliRunner
from torch import nn

from nmbrl.convert.command import main
from nmbrl.convert.quiet import quiet
from nmbrl.targets.compiler import FLAGS, LIBRARY_FLAGS, run_compiler

from .c_models import run_tflm

TIMES = 300
# The float model of TFLM's hello_world example: 1-16-16-1, trained on a sine.
HELLO_WORLD = Path(tflite_micro.__file__).parent / "python" / "tflite_micro" / "sine_float.tflite"


class Lstm(nn.Module):
    """A step of an LSTM, state in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 16)

    def forward(self, x, h, c):
        return self.cell(x, (h, c))


def classifier() -> nn.Module:
    """One that is sure of its classes, so that all of int8 is seen."""
    last = nn.Linear(32, 10)
    nn.init.normal_(last.weight, std=3.0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), last, nn.Softmax(-1))


MODULES = {
    "gru": (lambda: nn.GRUCell(6, 16), [(1, 6), (1, 16)]),
    "lstm": (Lstm, [(1, 6), (1, 16), (1, 16)]),
    "classifier": (classifier, [(1, 64)]),
    "classifier_of_8_rows": (classifier, [(8, 8, 8)]),
}


def quantise(content: bytes, samples: dict) -> bytes:
    """Quantise a float .tflite with the quantizer's own defaults; samples: inputs of a signature, for calibration."""
    with quiet():
        opened = quantizer.Quantizer(bytearray(content), recipe.static_wi8_ai8())
        return bytes(opened.quantize(opened.calibrate(samples)).quantized_model)


def convert(module: nn.Module, shapes: list) -> bytes:
    """Convert with the converter's and quantizer's own defaults, calibrated on random inputs."""
    random = np.random.default_rng(0)
    with quiet():
        converted = litert_torch.convert(module.eval(), tuple(torch.zeros(shape) for shape in shapes))
    samples = [
        {f"args_{i}": random.uniform(-1, 1, shape).astype(np.float32) for i, shape in enumerate(shapes)}
        for _ in range(50)
    ]
    return quantise(converted.model_content(), {"serving_default": samples})


def with_rows(content: bytes, rows: int) -> bytes:
    """The same model for another number of rows."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for tensor in model.subgraphs[0].tensors:
        if model.buffers[tensor.buffer].data is None:
            tensor.shape = [rows, *tensor.shape[1:]]
            tensor.shapeSignature = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def hello_world(rows: int) -> bytes:
    """TFLM's model in integers.

    Calibrated on many rows at once: the quantizer averages the least and the greatest value of each sample, so that
    samples of a single number would leave a narrow range and a constant output.
    """
    random = np.random.default_rng(0)
    samples = [{"dense_input": random.uniform(0, 2 * np.pi, (256, 1)).astype(np.float32)} for _ in range(20)]
    return with_rows(quantise(with_rows(HELLO_WORLD.read_bytes(), 256), {None: samples}), rows)


def shapes_of(content: bytes) -> tuple[list, list]:
    """Shapes of a model's inputs and outputs."""
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    given, made = ([tuple(graph.tensors[i].shape) for i in places] for places in (graph.inputs, graph.outputs))
    return given, made


def compile_model(content: bytes, name: str, folder: Path) -> Callable:
    """Convert with the command, and compile everything that it wrote, as its documentation says."""
    (folder / f"{name}.tflite").write_bytes(content)
    command = [str(folder / f"{name}.tflite"), "--target", "c", "--out", str(folder / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    library = folder / "model.so"
    run_compiler([*FLAGS, *LIBRARY_FLAGS, *map(str, sorted((folder / "out").glob("*.c"))), "-o", str(library)])
    return getattr(ctypes.CDLL(str(library)), name)


def run_c(function: Callable, inputs: list, made: list, rows: int) -> list:
    """Evaluate one by one: arrays (n, size of all rows) in, arrays likewise out."""
    outputs = [np.zeros((len(inputs[0]), int(np.prod(shape))), np.int8) for shape in made]
    for i in range(len(inputs[0])):
        pointers = [ctypes.c_void_p(array[i : i + 1].ctypes.data) for array in (*inputs, *outputs)]
        function(*pointers, ctypes.c_size_t(rows))
    return outputs


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_others_converted_is_equal_to_tflm(name, tmp_path):
    torch.manual_seed(1)
    make, shapes = MODULES[name]
    content = convert(make(), shapes)
    given, made = shapes_of(content)
    random = np.random.default_rng(2)
    inputs = [random.integers(-128, 128, (TIMES, int(np.prod(shape))), np.int8) for shape in given]
    outputs = run_c(compile_model(content, name, tmp_path), inputs, made, shapes[0][0])
    for actual, expected in zip(outputs, run_tflm(content, inputs, len(made)), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert max(len(np.unique(actual)) for actual in outputs) > 20


@pytest.mark.parametrize("rows", [1, 64])
def test_hello_world_is_equal_to_tflm_and_a_sine(rows, tmp_path):
    content = hello_world(rows)
    inputs = [np.arange(-128, 128, dtype=np.int8).reshape(-1, rows)]
    (actual,) = run_c(compile_model(content, "hello_world", tmp_path), inputs, [(rows, 1)], rows)
    np.testing.assert_array_equal(actual, run_tflm(content, inputs, 1)[0])
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    x, y = (
        tensor.quantization.scale[0] * (integers.reshape(-1).astype(np.float64) - tensor.quantization.zeroPoint[0])
        for tensor, integers in ((graph.tensors[graph.inputs[0]], inputs[0]), (graph.tensors[graph.outputs[0]], actual))
    )
    assert x.max() > 6
    np.testing.assert_allclose(y, np.sin(x), atol=0.15)


def test_rows_that_are_mixed_are_refused(tmp_path):
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return self.layer(x.reshape(4, 8))

    (tmp_path / "m.tflite").write_bytes(convert(Mixed(), [(2, 16)]))
    result = CliRunner().invoke(main, [str(tmp_path / "m.tflite"), "--target", "c", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "(FULLY_CONNECTED) maps [4, 8] to [4, 4]" in result.stderr


def test_what_the_runtime_does_not_have_is_named_with_its_position(tmp_path):
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Hardswish())
    (tmp_path / "m.tflite").write_bytes(convert(module, [(1, 4)]))
    result = CliRunner().invoke(main, [str(tmp_path / "m.tflite"), "--target", "c", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "operator 2 (HARD_SWISH) is not supported by the C runtime" in result.stderr
    assert not (tmp_path / "out").exists()
