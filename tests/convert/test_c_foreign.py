"""int8 .tflite files of others: PyTorch modules straight through Google's converter and quantizer, equal to TFLM."""

import ctypes

import litert_torch
import numpy as np
import pytest
import torch
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import quantizer, recipe
from click.testing import CliRunner
from torch import nn

from nmbrl.convert.command import main
from nmbrl.convert.quiet import quiet
from nmbrl.targets.compiler import FLAGS, LIBRARY_FLAGS, run_compiler

from .c_models import run_tflm

ROWS = 300


class Lstm(nn.Module):
    """A step of an LSTM, state in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 16)

    def forward(self, x, h, c):
        return self.cell(x, (h, c))


MODULES = {
    "gru": (lambda: nn.GRUCell(6, 16), [6, 16]),
    "lstm": (Lstm, [6, 16, 16]),
}


def quantise(module: nn.Module, shapes: list) -> bytes:
    """Convert with the converter's and quantizer's own defaults, calibrated on random inputs."""
    random = np.random.default_rng(0)
    shapes = [(1, size) for size in shapes]
    with quiet():
        converted = litert_torch.convert(module.eval(), tuple(torch.zeros(shape) for shape in shapes))
        opened = quantizer.Quantizer(bytearray(converted.model_content()), recipe.static_wi8_ai8())
        samples = [
            {f"args_{i}": random.uniform(-1, 1, shape).astype(np.float32) for i, shape in enumerate(shapes)}
            for _ in range(50)
        ]
        quantised = opened.quantize(opened.calibrate({"serving_default": samples})).quantized_model
    return bytes(quantised)


def compile_folder(folder, name):
    """Compile everything that the command wrote, as its documentation says."""
    library = folder / "model.so"
    run_compiler([*FLAGS, *LIBRARY_FLAGS, *map(str, sorted(folder.glob("*.c"))), "-o", str(library)])
    return getattr(ctypes.CDLL(str(library)), name)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_others_converted_is_equal_to_tflm(name, tmp_path):
    torch.manual_seed(1)
    make, shapes = MODULES[name]
    content = quantise(make(), shapes)
    (tmp_path / f"{name}.tflite").write_bytes(content)
    command = [str(tmp_path / f"{name}.tflite"), "--target", "c", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    function = compile_folder(tmp_path / "out", name)
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    given, made = ([tuple(graph.tensors[i].shape) for i in places] for places in (graph.inputs, graph.outputs))
    random = np.random.default_rng(2)
    inputs = [random.integers(-128, 128, (ROWS, *shape[1:]), np.int8) for shape in given]
    outputs = [np.zeros((ROWS, *shape[1:]), np.int8) for shape in made]
    for row in range(ROWS):
        pointers = [ctypes.c_void_p(array[row : row + 1].ctypes.data) for array in (*inputs, *outputs)]
        function(*pointers, ctypes.c_size_t(1))
    for actual, expected in zip(outputs, run_tflm(content, inputs, len(made)), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert max(len(np.unique(actual)) for actual in outputs) > 20


def test_what_the_runtime_does_not_have_is_named_with_its_position(tmp_path):
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Hardswish())
    (tmp_path / "m.tflite").write_bytes(quantise(module, [4]))
    result = CliRunner().invoke(main, [str(tmp_path / "m.tflite"), "--target", "c", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "operator 2 (HARD_SWISH) is not supported by the C runtime" in result.stderr
    assert not (tmp_path / "out").exists()
