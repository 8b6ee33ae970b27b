"""The int8 boundary, as TFLite's QUANTIZE and DEQUANTIZE define it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nmbrl.targets.bundle import Tensor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.tflite import dequantise, quantise

ALL = np.arange(-128, 128, dtype=np.int8)[None]
SCALES = st.floats(2.0**-20, 2.0**10, width=32)


def make_tensor(scale: float | None = 0.5, zero_point: int | None = 3) -> Tensor:
    return Tensor(name="h", size=4, dtype="int8", scale=scale, zero_point=zero_point)


@given(SCALES, st.integers(-128, 127))
def test_integers_survive_the_way_through_floats(scale, zero_point):
    tensor = make_tensor(scale, zero_point)
    np.testing.assert_array_equal(quantise(dequantise(ALL, tensor), tensor), ALL)


@given(
    SCALES, st.integers(-128, 127), arrays.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**16), 2.0**16, width=32))
)
def test_quantising_twice_changes_nothing(scale, zero_point, values):
    tensor = make_tensor(scale, zero_point)
    once = dequantise(quantise(values, tensor), tensor)
    np.testing.assert_array_equal(dequantise(quantise(once, tensor), tensor), once)


def test_halves_round_away_from_zero_and_the_rest_saturates():
    values = np.float32([[0.25, -0.25, 0.2, -0.2], [0.75, -0.75, 1e9, -1e9]])
    assert quantise(values, make_tensor()).tolist() == [[4, 2, 3, 3], [5, 1, 127, -128]]


def test_dequantises_in_double():
    scale = float(np.float32(0.1))
    assert dequantise(np.int8([[127, -128]]), make_tensor(scale, 0)).tolist() == [
        [float(np.float32(scale * 127)), float(np.float32(scale * -128))]
    ]


def test_a_tensor_without_scale_is_an_error():
    with pytest.raises(NmbrlError, match="h has no scale"):
        quantise(np.zeros((1, 4), np.float32), make_tensor(None, None))
