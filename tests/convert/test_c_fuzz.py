"""Damaged .tflite files: each is converted or refused with one line; nothing else ever comes out of the reader."""

import numpy as np
import pytest

from nmbrl.convert.c.errors import ModelError
from nmbrl.convert.c.foreign import convert_model, print_model
from nmbrl.targets.errors import NmbrlError

from .c_models import Builder, options

MUTATIONS = 10_000


def gated_model() -> bytes:
    """A small model with most operators."""
    random = np.random.default_rng(0)
    b = Builder()
    x, h = b.tensor((1, 6), 0.05, 3), b.tensor((1, 8), 1 / 128, 0)
    w = b.tensor((16, 6), 10 ** random.uniform(-3, -2, 16), 0, random.integers(-127, 128, (16, 6), np.int8))
    bias = b.tensor((16,), 0.001, 0, random.integers(-1000, 1000, 16), np.int32)
    y, gates = b.tensor((1, 16), 0.04, -5), b.tensor((1, 16), 1 / 256, -128)
    axis = b.tensor((), data=[1], dtype=np.int32)
    halves = [b.tensor((1, 8), 1 / 256, -128) for _ in range(2)]
    product, total = b.tensor((1, 8), 1 / 128, 0), b.tensor((1, 8), 1 / 64, 1)
    joined, soft = b.tensor((1, 16), 1 / 64, 1), b.tensor((1, 16), 1 / 256, -128)
    b.operator("FULLY_CONNECTED", [x, w, bias], [y], options("FullyConnectedOptions"))
    b.operator("LOGISTIC", [y], [gates])
    b.operator("SPLIT", [axis, gates], halves, options("SplitOptions", numSplits=2))
    b.operator("MUL", [halves[0], h], [product], options("MulOptions"))
    b.operator("ADD", [product, h], [total], options("AddOptions"))
    b.operator("CONCATENATION", [total, total], [joined], options("ConcatenationOptions", axis=1))
    b.operator("SOFTMAX", [joined], [soft], options("SoftmaxOptions", beta=1.0))
    return b.build([x, h], [total, soft])


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Flip, overwrite, cut or repeat a few bytes."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(changed)))
        match int(random.integers(5)):
            case 0:
                changed[at] ^= 1 << int(random.integers(8))
            case 1:
                changed[at] = int(random.integers(256))
            case 2:
                word = random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(content)])
                changed[at : at + 4] = int(word).to_bytes(4, "little")
            case 3:
                del changed[at : at + int(random.integers(1, 40))]
            case 4:
                changed[at:at] = changed[: int(random.integers(1, 40))]
        if not changed:
            changed = bytearray(b"\0")
    return bytes(changed)


def test_ten_thousand_mutated_files_are_converted_or_refused():
    content, random = gated_model(), np.random.default_rng(1)
    print_model(content, "model")
    refused = 0
    reasons = set()
    for _ in range(MUTATIONS):
        try:
            print_model(mutate(content, random), "model")
        except ModelError as error:
            refused += 1
            assert str(error)
            assert "\n" not in str(error)
            reasons.add(str(error)[:30])
    assert MUTATIONS * 0.3 < refused < MUTATIONS
    assert len(reasons) > 50


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 100, b"\x1c\0\0\0TFL3" + b"\xff" * 64, b"x" * 1000])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(ModelError):
        print_model(content, "model")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(NmbrlError, match=r"cannot read .*none\.tflite"):
        convert_model(tmp_path / "none.tflite", tmp_path)


def test_every_prefix_of_a_file_is_refused():
    content = gated_model()
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(ModelError):
            print_model(content[:length], "model")
