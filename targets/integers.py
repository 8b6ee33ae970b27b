"""Real values to int8 and back, as TFLite's QUANTIZE and DEQUANTIZE compute it."""

import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.bundle import Tensor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array

Int8 = NDArray[np.int8]


def quantise(values: Array, tensor: Tensor) -> Int8:
    """Map real values to int8: divide in float32, round half away from zero, add the zero point, saturate."""
    scale, zero_point = _parameters(tensor)
    steps = np.clip(values / np.float32(scale), np.float32(-512), np.float32(512))
    whole = np.trunc(steps)
    rest = steps - whole
    rounded = whole + (rest >= 0.5) - (rest <= -0.5)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


def dequantise(values: Int8, tensor: Tensor) -> Array:
    """Map int8 to real values: ``float(double(scale) * (q - zero_point))``."""
    scale, zero_point = _parameters(tensor)
    return (np.float64(np.float32(scale)) * (values.astype(np.int32) - zero_point)).astype(np.float32)


def _parameters(tensor: Tensor) -> tuple[float, int]:
    if tensor.scale is None or tensor.zero_point is None:
        raise NmbrlError(f"tensor {tensor.name} has no scale and zero point; convert again")
    return tensor.scale, tensor.zero_point
