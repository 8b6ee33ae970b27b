"""What a lowered model is: kernel calls over storage. One class a kernel of `runtime/c`."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nmbrl.convert.c.fixed_point import INT8, Multiplier

# What an int8 becomes, for -128 .. 127 in that order.
Table = tuple[int, ...]
IDENTITY: Table = tuple(int(q) for q in INT8)


@dataclass(eq=False)
class Slot:
    """A row of int8: an input or output of the function, constant data, scratch memory, or a part of another slot.

    Attributes:
        name: how the sources call it.
        size: elements.
        kind: ``input``, ``output``, ``constant`` or ``scratch``; that of `parent` where it has one.
        parent: the slot that this one is a part of.
        offset: first element within `parent`.
        data: content of a constant.
    """

    name: str
    size: int
    kind: str = "scratch"
    parent: "Slot | None" = None
    offset: int = 0
    data: np.ndarray | None = None

    @property
    def storage(self) -> "Slot":
        """The slot that owns the memory."""
        return self if self.parent is None else self.parent.storage

    @property
    def start(self) -> int:
        """First element within `storage`."""
        return 0 if self.parent is None else self.parent.start + self.offset


@dataclass(eq=False)
class Step:
    """A kernel call.

    Attributes:
        output: what it writes.
        table: applied to every output element, or None.
        origin: the operators that it stands for, for the reader of the sources.
    """

    output: Slot
    origin: str
    table: Table | None = field(default=None, kw_only=True)
    kernel: ClassVar[str]
    fusable: ClassVar[bool] = True

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What it reads."""
        raise NotImplementedError

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one row."""
        return 0


@dataclass(eq=False)
class Dense(Step):
    """``y = clamp(zero_point + (W x + bias) * multiplier)``, the input's zero point folded into the bias."""

    input: Slot
    weights: np.ndarray
    bias: np.ndarray
    multipliers: tuple[Multiplier, ...]
    zero_point: int
    low: int
    high: int
    kernel: ClassVar[str] = "dense"

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """See `Step.inputs`."""
        return (self.input,)

    @property
    def macs(self) -> int:
        """See `Step.macs`."""
        return int(self.weights.size)


@dataclass(eq=False)
class Add(Step):
    """``y = clamp(zero_point + (A[a] + B[b]) * multiplier)`` with tables A, B of rescaled addends; SUB negates B."""

    a: Slot
    b: Slot
    a_table: Table
    b_table: Table
    multiplier: Multiplier
    zero_point: int
    low: int
    high: int
    kernel: ClassVar[str] = "add"

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """See `Step.inputs`."""
        return self.a, self.b


@dataclass(eq=False)
class Multiply(Step):
    """``y = clamp(zero_point + (a - a_zero) (b - b_zero) * multiplier)``."""

    a: Slot
    b: Slot
    a_zero: int
    b_zero: int
    multiplier: Multiplier
    zero_point: int
    low: int
    high: int
    kernel: ClassVar[str] = "multiply"

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """See `Step.inputs`."""
        return self.a, self.b


@dataclass(eq=False)
class Map(Step):
    """``y = table[x]``; without a table a copy."""

    input: Slot
    kernel: ClassVar[str] = "map"

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """See `Step.inputs`."""
        return (self.input,)


@dataclass(eq=False)
class Softmax(Step):
    """Softmax of a row: `exponentials` holds exp of the (negative) distance to the largest element, Q0.31."""

    input: Slot
    exponentials: tuple[int, ...]
    kernel: ClassVar[str] = "softmax"
    fusable: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """See `Step.inputs`."""
        return (self.input,)


@dataclass(frozen=True)
class Lowered:
    """A function as kernel calls, in order; `inputs` and `outputs` in the order of the .tflite file."""

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    steps: tuple[Step, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one row."""
        return sum(step.macs for step in self.steps)


def compose(first: Table | None, second: Table | None) -> Table | None:
    """Return the table of `second` after `first`; None stands for the identity."""
    if first is None or second is None:
        return second if first is None else first
    return tuple(second[value + 128] for value in first)
