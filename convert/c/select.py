"""SLICE, STRIDED_SLICE, SPLIT and CONCATENATION along the last axis of one row, resolved to bounds."""

from collections.abc import Sequence

import numpy as np

from nmbrl.convert.c.model import OperatorInfo, TensorInfo, require

Bounds = list[tuple[int, int]]


def slice_bounds(operator: OperatorInfo, tensors: Sequence[TensorInfo]) -> tuple[int, Bounds]:
    """Return the tensor that is cut, and first and last-but-one element of every output.

    Raises:
        ModelError: if it cuts along another axis than the last, or is not constant.
    """
    rule = {"SLICE": _slice, "STRIDED_SLICE": _strided_slice, "SPLIT": _split}[operator.name]
    return rule(operator, tensors)


def _constants(operator: OperatorInfo, tensors: Sequence[TensorInfo], positions: Sequence[int]) -> list[np.ndarray]:
    require(len(operator.inputs) > max(positions), operator, "lacks operands")
    found = [tensors[operator.inputs[i]] if operator.inputs[i] >= 0 else None for i in positions]
    constant = all(t is not None and t.data is not None and t.dtype == "int32" for t in found)
    require(constant, operator, "needs constant bounds")
    return [t.data.reshape(-1) for t in found if t is not None and t.data is not None]


def _last_axis(operator: OperatorInfo, shape: tuple[int, ...], axis: int) -> None:
    require(shape and -len(shape) <= axis < len(shape), operator, f"has axis {axis} of {len(shape)}")
    row = int(np.prod(shape)) == shape[-1] and axis % len(shape) == len(shape) - 1
    require(row, operator, f"cuts shape {list(shape)} along axis {axis}; the C runtime cuts one row along the last")


def _slice(operator: OperatorInfo, tensors: Sequence[TensorInfo]) -> tuple[int, Bounds]:
    begin, size = _constants(operator, tensors, (1, 2))
    source = operator.inputs[0]
    shape = tensors[source].shape
    require(len(begin) == len(size) == len(shape) > 0, operator, "has bounds for another shape")
    _last_axis(operator, shape, -1)
    start = int(begin[-1])
    stop = shape[-1] if size[-1] == -1 else start + int(size[-1])
    inside = 0 <= start < stop <= shape[-1] and not begin[:-1].any() and ((size[:-1] == -1) | (size[:-1] >= 1)).all()
    require(inside, operator, f"cuts {start} to {stop} of {shape[-1]}")
    require(len(operator.outputs) == 1, operator, "has more than one output")
    return source, [(start, stop)]


def _strided_slice(operator: OperatorInfo, tensors: Sequence[TensorInfo]) -> tuple[int, Bounds]:
    begin, end, stride = _constants(operator, tensors, (1, 2, 3))
    source = operator.inputs[0]
    shape = tensors[source].shape
    require(len(begin) == len(end) == len(stride) == len(shape) > 0, operator, "has bounds for another shape")
    _last_axis(operator, shape, -1)
    plain = not any(operator.option(number, "int32") for number in (2, 3, 4)) and (stride == 1).all()
    require(plain, operator, "has strides, an ellipsis, or new or shrunken axes")
    last, size = 1 << (len(shape) - 1), shape[-1]
    start = 0 if operator.option(0, "int32") & last else int(begin[-1])
    stop = size if operator.option(1, "int32") & last else int(end[-1])
    start, stop = (bound + size if bound < 0 else bound for bound in (start, stop))
    stop = min(stop, size)
    require(0 <= start < stop and len(operator.outputs) == 1, operator, f"cuts {start} to {stop} of {size}")
    leading = all(
        (operator.option(0, "int32") >> i & 1 or begin[i] == 0)
        and (operator.option(1, "int32") >> i & 1 or end[i] >= 1)
        for i in range(len(shape) - 1)
    )
    require(leading, operator, "cuts a leading axis")
    return source, [(start, stop)]


def _split(operator: OperatorInfo, tensors: Sequence[TensorInfo]) -> tuple[int, Bounds]:
    (axis,) = _constants(operator, tensors, (0,))
    require(len(operator.inputs) == 2 and operator.inputs[1] >= 0 and axis.size == 1, operator, "lacks operands")
    source = operator.inputs[1]
    shape = tensors[source].shape
    _last_axis(operator, shape, int(axis[0]))
    count = len(operator.outputs)
    require(shape[-1] % count == 0, operator, f"splits {shape[-1]} into {count}")
    size = shape[-1] // count
    return source, [(i * size, (i + 1) * size) for i in range(count)]


def concatenation_axis(operator: OperatorInfo, tensors: Sequence[TensorInfo], output: TensorInfo) -> None:
    """Check that rows of one scale are joined along the last axis.

    Raises:
        ModelError: if not.
    """
    _last_axis(operator, output.shape, operator.option(0, "int32"))
    require(operator.option(1, "int8") == 0, operator, "fuses an activation")
    rows = all(t.is_row and len(t.shape) == len(output.shape) for t in tensors)
    require(rows and sum(t.size for t in tensors) == output.size, operator, "joins shapes that do not fit")
    same = all((t.scale, t.zero_point) == (output.scale, output.zero_point) for t in tensors)
    require(same, operator, "needs one scale and zero point for its inputs and output")
