"""Real values to int8 or int16 and back, as TFLite's QUANTIZE and DEQUANTIZE compute it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.bundle import Tensor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array

Int8 = NDArray[np.int8]
Integers = NDArray[np.signedinteger[Any]]


def quantise(values: Array, tensor: Tensor) -> Integers:
    """Map real values to integers: divide in float32, round half away from zero, add the zero point, saturate."""
    scale, zero_point = _parameters(tensor)
    bounds = np.iinfo(tensor.dtype)
    # Far beyond both ends for any zero point, and still exact in float32.
    far = np.float32(4 * (bounds.max + 1))
    steps = np.clip(values / np.float32(scale), -far, far)
    whole = np.trunc(steps)
    rest = steps - whole
    rounded = whole + (rest >= 0.5) - (rest <= -0.5)
    return np.clip(rounded + zero_point, bounds.min, bounds.max).astype(tensor.dtype)


def dequantise(values: Integers, tensor: Tensor) -> Array:
    """Map integers to real values: ``float(double(scale) * (q - zero_point))``."""
    scale, zero_point = _parameters(tensor)
    return (np.float64(np.float32(scale)) * (values.astype(np.int32) - zero_point)).astype(np.float32)


def _parameters(tensor: Tensor) -> tuple[float, int]:
    if tensor.scale is None or tensor.zero_point is None:
        raise NmbrlError(f"tensor {tensor.name} has no scale and zero point; convert again")
    return tensor.scale, tensor.zero_point
