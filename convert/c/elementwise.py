"""Element-wise operators as tables, computed as TensorFlow Lite Micro computes them (sources in `fixed_point`).

Each class resolves one kind of operator; `values` gives what it makes of arrays of int8 values (as int64).
"""

import math
from dataclasses import dataclass

import numpy as np

from nmbrl.convert.c.fixed_point import (
    INT8,
    Int,
    Multiplier,
    clamp8,
    logistic,
    multiply,
    quantise_multiplier,
    shift_right,
    tanh,
)
from nmbrl.convert.c.model import ACTIVATIONS, OperatorInfo, TensorInfo, require
from nmbrl.convert.c.steps import Table

# LOGISTIC and TANH see their input in Q4.27.
INPUT_BITS = 4


def as_table(values: Int) -> Table:
    """Return 256 values as a table."""
    return tuple(int(value) for value in values)


def round_half_away(x: np.floating) -> int:
    """Round as C's ``round`` does."""
    return int(np.trunc(x)) + int(np.sign(x)) * int(abs(x - np.trunc(x)) >= 0.5)


def clamp_limits(operator: OperatorInfo, option: int, output: TensorInfo) -> tuple[int, int]:
    """Return the range that a fused activation leaves (CalculateActivationRangeQuantized)."""
    activation = ACTIVATIONS.get(operator.option(option, "int8"), "unknown")
    known = {"none": (None, None), "relu": (0.0, None), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}
    require(activation in known, operator, f"fuses activation {activation}, which the C runtime does not have")

    def steps(limit: float) -> int:
        return output.zero_point + round_half_away(np.float32(limit) / output.scale)

    low, high = known[activation]
    return max(-128, -128 if low is None else steps(low)), min(127, 127 if high is None else steps(high))


def radius(left_shift: int, integer_bits: int) -> int:
    """CalculateInputRadius: inputs of at least this magnitude saturate."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits - left_shift))


def _sigmoidal(tensor: TensorInfo, function, fraction_bits: int, zero_point: int) -> Table:
    factor = quantise_multiplier(float(tensor.scale) * 2.0 ** (31 - INPUT_BITS))
    x = INT8 - tensor.zero_point
    limit = radius(factor.shift, INPUT_BITS)
    inside = np.abs(x) < limit
    rescaled = multiply(np.where(inside, x, 0), factor)
    y = clamp8(shift_right(function(rescaled), 31 - fraction_bits) + zero_point)
    return as_table(np.where(x >= limit, 127, np.where(x <= -limit, -128, y)))


def logistic_table(operator: OperatorInfo, source: TensorInfo, output: TensorInfo) -> Table:
    """LOGISTIC."""
    fixed = output.scale == np.float32(1 / 256) and output.zero_point == -128
    require(fixed, operator, "needs output scale 1/256 and zero point -128")
    return _sigmoidal(source, logistic, 8, -128)


def tanh_table(operator: OperatorInfo, source: TensorInfo, output: TensorInfo) -> Table:
    """TANH."""
    require(output.scale == np.float32(1 / 128) and output.zero_point == 0, operator, "needs output scale 1/128")
    return _sigmoidal(source, tanh, 7, 0)


def quantize_table(operator: OperatorInfo, source: TensorInfo, output: TensorInfo) -> Table:
    """QUANTIZE from int8 to int8."""
    factor = quantise_multiplier(float(source.scale) / float(output.scale))
    return as_table(clamp8(multiply(INT8 - source.zero_point, factor) + output.zero_point))


def relu_table(operator: OperatorInfo, source: TensorInfo, output: TensorInfo) -> Table:
    """RELU."""
    factor = quantise_multiplier(float(source.scale) / float(output.scale))
    values = multiply(INT8 - source.zero_point, factor) + output.zero_point
    return as_table(clamp8(values, max(-128, output.zero_point), 127))


def relu6_table(operator: OperatorInfo, source: TensorInfo, output: TensorInfo) -> Table:
    """RELU6, which TensorFlow Lite Micro computes in the input's scale."""
    same = source.scale == output.scale and source.zero_point == output.zero_point
    require(same, operator, "needs one scale and zero point for its input and output")
    six = source.zero_point + round_half_away(np.float32(6) / source.scale)
    return as_table(clamp8(INT8, source.zero_point, min(127, six)))


UNARY = {
    "LOGISTIC": logistic_table,
    "TANH": tanh_table,
    "QUANTIZE": quantize_table,
    "RELU": relu_table,
    "RELU6": relu6_table,
}


@dataclass(frozen=True)
class Sum:
    """ADD or SUB of two tensors: factors of the addends (after 20 bits to the left) and of their sum."""

    a: Multiplier
    b: Multiplier
    factor: Multiplier
    a_zero: int
    b_zero: int
    zero_point: int
    low: int
    high: int
    sign: int

    @classmethod
    def resolve(cls, operator: OperatorInfo, a: TensorInfo, b: TensorInfo, output: TensorInfo) -> "Sum":
        """Compute the factors: ADD in double, SUB in float32, as the kernels do."""
        real = float if operator.name == "ADD" else np.float32
        scales = [real(tensor.scale) for tensor in (a, b, output)]
        twice = real(2) * max(scales[:2])
        reals = [scales[0] / twice, scales[1] / twice, twice / (real(1 << 20) * scales[2])]
        require(
            all(0 < factor < 1 for factor in reals),
            operator,
            f"has an output scale of {float(output.scale):.6g}, too small for inputs of scale "
            f"{float(a.scale):.6g} and {float(b.scale):.6g}",
        )
        first, second, total = (quantise_multiplier(float(factor)) for factor in reals)
        small = max(first.shift, second.shift, total.shift) <= 0
        require(small, operator, "has a factor that rounds to one")
        low, high = clamp_limits(operator, 0, output)
        sign = -1 if operator.name == "SUB" else 1
        return cls(first, second, total, a.zero_point, b.zero_point, output.zero_point, low, high, sign)

    def addend(self, which: int, values: Int) -> Int:
        """Return the rescaled addends, the second one with its sign."""
        zero, factor = (self.a_zero, self.a) if which == 0 else (self.b_zero, self.b)
        return (1 if which == 0 else self.sign) * multiply((values - zero) << 20, factor)

    def values(self, a: Int, b: Int) -> Int:
        """Return what the operator gives."""
        total = self.addend(0, a) + self.addend(1, b)
        return clamp8(multiply(total, self.factor) + self.zero_point, self.low, self.high)


@dataclass(frozen=True)
class Product:
    """MUL of two tensors."""

    factor: Multiplier
    a_zero: int
    b_zero: int
    zero_point: int
    low: int
    high: int

    @classmethod
    def resolve(cls, operator: OperatorInfo, a: TensorInfo, b: TensorInfo, output: TensorInfo) -> "Product":
        """Compute the factor."""
        factor = quantise_multiplier(float(a.scale) * float(b.scale) / float(output.scale))
        require(factor.shift <= 14, operator, "has an output scale too small for its inputs: products would overflow")
        return cls(factor, a.zero_point, b.zero_point, output.zero_point, *clamp_limits(operator, 0, output))

    def values(self, a: Int, b: Int) -> Int:
        """Return what the operator gives."""
        product = (a - self.a_zero) * (b - self.b_zero)
        return clamp8(multiply(product, self.factor) + self.zero_point, self.low, self.high)
