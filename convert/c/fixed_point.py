"""Integer arithmetic exactly as TensorFlow Lite Micro computes it, vectorised over int64 arrays.

Sources (tflite-micro, tensorflow/lite/): kernels/internal/quantization_util.cc and common.cc; gemmlowp
fixedpoint/fixedpoint.h for exp, logistic, tanh and the reciprocal.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
INT32 = np.iinfo(np.int32)
# Every int8, in the order of the 256-entry tables.
INT8 = np.arange(-128, 128, dtype=np.int64)


@dataclass(frozen=True)
class Multiplier:
    """A real factor ``value * 2^(shift - 31)``."""

    value: int
    shift: int

    @property
    def left(self) -> int:
        """Bits to shift left before multiplying."""
        return max(self.shift, 0)

    @property
    def right(self) -> int:
        """Bits to shift right, rounding, after multiplying."""
        return max(-self.shift, 0)


def quantise_multiplier(real: float) -> Multiplier:
    """Return the multiplier nearest to a real factor (QuantizeMultiplier)."""
    if real == 0:
        return Multiplier(0, 0)
    mantissa, shift = math.frexp(real)
    value = math.floor(mantissa * 2.0**31 + 0.5)
    if value == 1 << 31:
        value, shift = value // 2, shift + 1
    if shift < -31:
        return Multiplier(0, 0)
    return Multiplier(value, shift)


def wrap(x: Int) -> Int:
    """Reduce to int32 as two's complement does."""
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def doubling_high(a: Int, b: Int | int) -> Int:
    """SaturatingRoundingDoublingHighMul: ``a * b / 2^31``, to nearest, ties towards plus infinity, saturating."""
    return np.minimum((a * np.int64(b) + (1 << 30)) >> 31, INT32.max)


def shift_right(x: Int, bits: int) -> Int:
    """RoundingDivideByPOT: ``x / 2^bits`` to nearest, ties away from zero."""
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))


def multiply(x: Int, factor: Multiplier) -> Int:
    """MultiplyByQuantizedMultiplier, the int32 overload with double rounding."""
    return shift_right(doubling_high(wrap(x << factor.left), factor.value), factor.right)


def clamp8(x: Int, low: int = -128, high: int = 127) -> Int:
    """Saturate to int8 or to a narrower range."""
    return np.clip(x, low, high)


def _saturating_left(x: Int, bits: int) -> Int:
    return np.clip(x << bits, INT32.min, INT32.max)


def _half_sum(a: Int, b: Int) -> Int:
    """RoundingHalfSum: (a + b) / 2, ties away from zero (gemmlowp)."""
    total = a + b
    return np.trunc((total + np.where(total >= 0, 1, -1)) / 2).astype(np.int64)


def _exp_between_minus_quarter_and_zero(a: Int) -> Int:
    """exp_on_interval_between_negative_one_quarter_and_0_excl, Q0.31: Taylor at -1/8 to fourth order."""
    constant, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = doubling_high(x, x)
    x3 = doubling_high(x2, x)
    x4 = doubling_high(x2, x2)
    x4_over_4 = shift_right(x4, 2)
    series = shift_right(doubling_high(x4_over_4 + x3, third) + x2, 1)
    return np.minimum(constant + doubling_high(np.full_like(x, constant), x + series), INT32.max)


# exp(-2^k) in Q0.31 for k = -2 .. 4, as in gemmlowp.
_BARREL = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))


def exp_on_negative(a: Int, integer_bits: int) -> Int:
    """exp_on_negative_values: e^a in Q0.31 for a <= 0 in Q(integer_bits).(31 - integer_bits)."""
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    modulo = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_zero(_saturating_left(modulo, integer_bits))
    remainder = modulo - a
    for exponent, factor in _BARREL:
        if integer_bits > exponent:
            bit = 1 << (fraction + exponent)
            result = np.where(remainder & bit, doubling_high(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (36 - integer_bits)), 0, result)
    return np.where(a == 0, INT32.max, result)


def one_over_one_plus(a: Int) -> Int:
    """one_over_one_plus_x_for_x_in_0_1: 1 / (1 + a), Q0.31, by Newton-Raphson from 48/17 - 32/17 d."""
    half_denominator = _half_sum(a, np.full_like(a, INT32.max))
    x = wrap(1515870810 + doubling_high(half_denominator, -1010580540))
    for _ in range(3):
        product = doubling_high(half_denominator, x)
        x = wrap(x + _saturating_left(doubling_high(x, (1 << 29) - product), 2))
    return _saturating_left(x, 1)


def logistic(a: Int) -> Int:
    """Logistic function of Q4.27, in Q0.31."""
    positive = one_over_one_plus(exp_on_negative(-np.abs(a), 4))
    result = np.where(a > 0, positive, INT32.max - positive)
    return np.where(a == 0, 1 << 30, result)


def _one_minus_over_one_plus(a: Int) -> Int:
    """one_minus_x_over_one_plus_x_for_x_in_0_1: (1 - a) / (1 + a), Q0.31."""
    half_denominator = _half_sum(a, np.full_like(a, INT32.max))
    x = wrap(1515870810 + doubling_high(half_denominator, -1010580540))
    for _ in range(3):
        product = doubling_high(half_denominator, x)
        x = wrap(x + _saturating_left(doubling_high(x, (1 << 29) - product), 2))
    return _saturating_left(x - (1 << 29), 2)


def tanh(a: Int) -> Int:
    """Hyperbolic tangent of Q4.27, in Q0.31."""
    # gemmlowp takes the argument of exp one integer bit up, which doubles it.
    positive = _one_minus_over_one_plus(exp_on_negative(-np.abs(a), 5))
    result = np.where(a > 0, positive, -positive)
    return np.where(a == 0, 0, result)
