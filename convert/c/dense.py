"""FULLY_CONNECTED, resolved."""

import numpy as np

from nmbrl.convert.c.elementwise import clamp_limits
from nmbrl.convert.c.fixed_point import Multiplier, quantise_multiplier
from nmbrl.convert.c.model import OperatorInfo, TensorInfo, require

# Rounding after a shift adds half a step of it, at most 2^30, to a 32-bit number.
LARGEST = 1 << 30
Layer = tuple[np.ndarray, np.ndarray, tuple[Multiplier, ...], int, int, int]


def resolve_dense(
    operator: OperatorInfo, source: TensorInfo, weights: TensorInfo | None, bias: TensorInfo | None, output: TensorInfo
) -> Layer:
    """Return weights (rows, columns), bias with the input's zero point folded in, factors, zero point and limits.

    Raises:
        ModelError: if the operands are not what the C runtime has.
    """
    constant = weights is not None and weights.data is not None and weights.dtype == "int8" and len(weights.shape) == 2
    require(constant, operator, "needs constant int8 weights of two dimensions")
    assert weights is not None and weights.data is not None
    rows, columns = weights.shape
    fits = source.is_row and output.is_row and (source.size, output.size) == (columns, rows)
    require(fits, operator, f"maps {list(source.shape)} to {list(output.shape)} with weights {list(weights.shape)}")
    symmetric = not any(weights.zero_points) and len(weights.scales) in (1, rows)
    require(symmetric, operator, "needs weights with zero point 0 and one scale, or one an output")
    require(operator.option(1, "int8") == 0, operator, "has shuffled weights, which the C runtime does not")
    w = weights.data.astype(np.int64)
    b = np.zeros(rows, np.int64)
    if bias is not None:
        fits = bias.data is not None and bias.dtype == "int32" and bias.size == rows
        require(fits, operator, f"needs a constant int32 bias of {rows}")
        assert bias.data is not None
        b = bias.data.reshape(-1).astype(np.int64)
    b = b - source.zero_point * w.sum(axis=1)
    largest = int((np.abs(b) + 128 * np.abs(w).sum(axis=1)).max())
    require(largest < LARGEST, operator, f"can have sums of {largest}, more than {LARGEST}")
    return (
        weights.data, b.astype(np.int32), _factors(source, weights, output), output.zero_point,
        *clamp_limits(operator, 0, output),
    )  # fmt: skip


def _factors(source: TensorInfo, weights: TensorInfo, output: TensorInfo) -> tuple[Multiplier, ...]:
    if len(weights.scales) == 1:
        product = np.float32(source.scale * weights.scale)
        return (quantise_multiplier(float(product) / float(output.scale)),) * weights.shape[0]
    return tuple(
        quantise_multiplier(float(source.scale) * float(scale) / float(output.scale)) for scale in weights.scales
    )
