"""SOFTMAX from int8 to int8, resolved to a table of exponentials.

Source: tflite-micro, tensorflow/lite/kernels/internal/reference/softmax.h.
"""

import numpy as np

from nmbrl.convert.c.elementwise import radius
from nmbrl.convert.c.fixed_point import exp_on_negative, multiply, quantise_multiplier
from nmbrl.convert.c.model import OperatorInfo, TensorInfo, require

# Differences to the largest element are in Q5.26.
DIFFERENCE_BITS = 5
LONGEST = 2048


def exponential_table(operator: OperatorInfo, source: TensorInfo, output: TensorInfo) -> tuple[int, ...]:
    """Return exp(-d * scale * beta), Q0.31, for distances d = 0 .. 255 from the largest element; 0 where it is cut off.

    Raises:
        ModelError: if scales or beta are not what the operator allows.
    """
    fixed = output.scale == np.float32(1 / 256) and output.zero_point == -128
    require(fixed, operator, "needs output scale 1/256 and zero point -128")
    # The accumulator has 12 integer bits.
    require(source.size <= LONGEST, operator, f"has {source.size} elements, more than {LONGEST}")
    beta = float(operator.option(0, "float32", 0.0))
    real = min(beta * float(source.scale) * 2.0 ** (31 - DIFFERENCE_BITS), 2.0**31 - 1)
    require(real > 1, operator, f"has beta {beta} times a scale of {float(source.scale):.6g}, too small")
    factor = quantise_multiplier(real)
    distance = np.arange(256, dtype=np.int64)
    seen = distance <= radius(factor.shift, DIFFERENCE_BITS)
    scaled = multiply(-np.where(seen, distance, 0), factor)
    values = np.where(seen, exp_on_negative(scaled, DIFFERENCE_BITS), 0)
    return tuple(int(value) for value in values)
