"""Kinds of neurons that send graded changes of their value by the rule that does not drift.

Each keeps an accumulator a port, to which arriving synaptic currents are added, and ``sent``, the sum of all it has
sent. In a step it computes its activation ``y`` from the accumulators and sends the difference (no residue; nothing
that was not sent is forgotten)::

    s = y - (sent << state_exp);  s <- 0 where |s| < threshold;  message = s >> state_exp;  sent += message

A population of value ``sent`` stands for real numbers ``sent * scale``; the scales are the business of whoever made the
network and not needed to run it.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nmbrl.targets.loihi.limits import (
    MAX_MESSAGE_BITS,
    PRODUCT_BITS,
    STATE_BITS,
    SYNAPTIC_BITS,
    Integers,
    excess,
)
from nmbrl.targets.loihi.population import Check, Population, State, require


@dataclass(frozen=True, eq=False)
class Graded(Population):
    """What these kinds share.

    Attributes:
        threshold: changes of a neuron's activation smaller than this are not sent (in units of the activation); one
            number a neuron, or one for all of them.
        message_bits: width of a message, signed.
    """

    variables: ClassVar[tuple[str, ...]] = ("accumulator 0", "sent")
    readout: ClassVar[str] = "sent"
    parameters: ClassVar[tuple[str, ...]] = ("threshold",)
    rests: ClassVar[bool] = True

    threshold: Integers | int = 0
    message_bits: int = 16

    def __post_init__(self) -> None:
        thresholds = np.asarray(self.threshold)
        if thresholds.ndim == 0:
            object.__setattr__(self, "threshold", np.full(self.size, thresholds, np.int32))
        super().__post_init__()
        require(bool((self.thresholds >= 0).all()), f"{self.name}: a threshold is negative")
        require(2 <= self.message_bits <= MAX_MESSAGE_BITS, f"{self.name}: message_bits {self.message_bits}")

    @property
    def thresholds(self) -> Integers:
        """`threshold` of each neuron."""
        assert isinstance(self.threshold, np.ndarray)
        return self.threshold

    @property
    def shift(self) -> int:
        """``state_exp`` of the rule above."""
        return 0

    @property
    def widths(self) -> dict[str, int]:
        """Widths; see `Population.widths`."""
        bits: dict[str, int] = {}
        for port in range(self.ports):
            bits |= {f"synaptic input {port}": SYNAPTIC_BITS, f"accumulator {port}": STATE_BITS}
        return {**bits, **self._operand_widths(), "activation": STATE_BITS, "message": self.message_bits}

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        for port, current in enumerate(arrived):
            accumulator = state[f"accumulator {port}"]
            accumulator += current
            check(f"synaptic input {port}", current)
            check(f"accumulator {port}", accumulator)
        y, sent = self._activate(state, check), state["sent"]
        check("activation", y)
        change = y - (sent << self.shift)
        # The same as change >> shift, but this difference cannot overflow.
        messages = np.where(np.abs(change) < self.thresholds, 0, (y >> self.shift) - sent)
        check("message", messages)
        sent += messages
        return messages

    def _operand_widths(self) -> dict[str, int]:
        return {"accumulator and bias": STATE_BITS}

    def _activate(self, state: State, check: Check) -> Integers:
        """Return the activation y (batch, size)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Input(Graded):
    """What the host injects: y is the value given last, 0 before the first (Lava's Delta).

    Attributes:
        limit: largest magnitude that the network has room for; the host saturates what is larger.
    """

    kind: ClassVar[str] = "input"
    ports: ClassVar[int] = 0
    variables: ClassVar[tuple[str, ...]] = ("sent", "given")

    limit: int = field(kw_only=True, default=(1 << 14) - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.limit < 1 << (self.message_bits - 2), f"{self.name}: limit {self.limit}")

    def _operand_widths(self) -> dict[str, int]:
        return {}

    def _activate(self, state: State, check: Check) -> Integers:
        return state["given"]


@dataclass(frozen=True, eq=False)
class SigmaDelta(Graded):
    """``y = sigma + bias``, and no less than 0 where `relu` (Lava's SigmaDelta, without its drift)."""

    kind: ClassVar[str] = "sigma_delta"
    parameters: ClassVar[tuple[str, ...]] = ("threshold", "bias")

    bias: Integers = field(kw_only=True)
    state_exp: int = field(kw_only=True)
    relu: bool = field(kw_only=True, default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.state_exp < STATE_BITS, f"{self.name}: state_exp {self.state_exp}")

    @property
    def shift(self) -> int:
        """``state_exp`` of the rule above."""
        return self.state_exp

    def _activate(self, state: State, check: Check) -> Integers:
        y = state["accumulator 0"] + self.bias
        check("accumulator and bias", y)
        return np.maximum(y, 0) if self.relu else y


@dataclass(frozen=True, eq=False)
class Table(Graded):
    """A function by table, linear between its entries: a Loihi 2 neuron whose program looks up sigmoid, tanh, SiLU, ...

    With S = ``len(values) - 1`` segments of ``2^exponent`` units each, centred on 0::

        u = clip(sigma + bias + (S << exponent) / 2, 0, (S << exponent) - 1)
        i = u >> exponent;  f = u & (2^exponent - 1)
        y = values[i] + (((values[i + 1] - values[i]) * f + 2^(exponent - 1)) >> exponent)
    """

    kind: ClassVar[str] = "table"
    parameters: ClassVar[tuple[str, ...]] = ("threshold", "bias")

    bias: Integers = field(kw_only=True)
    values: Integers = field(kw_only=True)
    exponent: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.values.dtype == np.int32 and self.values.ndim == 1, f"{self.name}: values are no int32 vector")
        require(excess(self.values, STATE_BITS) == 0, f"{self.name}: values exceed {STATE_BITS} bits")
        segments = len(self.values) - 1
        require(segments >= 2 and segments % 2 == 0, f"{self.name}: a table of {segments} segments")
        require(self.exponent >= 1 and segments << self.exponent <= 1 << STATE_BITS, f"{self.name}: table too wide")
        widest = int(np.abs(np.diff(self.values.astype(np.int64))).max())
        require((widest + 1) << self.exponent < 1 << 31, f"{self.name}: a table as steep as that overflows")

    @property
    def arrays(self) -> tuple[str, ...]:
        """Fields that are arrays."""
        return *self.parameters, "values"

    def _activate(self, state: State, check: Check) -> Integers:
        sigma = state["accumulator 0"]
        check("accumulator and bias", sigma + self.bias)
        width = (len(self.values) - 1) << self.exponent
        u = np.clip(sigma + (self.bias + np.int32(width >> 1)), 0, width - 1)
        index = u >> self.exponent
        fraction = u & ((1 << self.exponent) - 1)
        steps = np.diff(self.values)
        return self.values[index] + ((steps[index] * fraction + (1 << (self.exponent - 1))) >> self.exponent)


@dataclass(frozen=True, eq=False)
class Product(Graded):
    """A gate (Lava's Sigma, ProdNeuron and Delta; a shift between them where operands are finer than a product takes).

    ``y = (((sigma_0 + bias_0) >> shift_0) * ((sigma_1 + bias_1) >> shift_1)) >> exponent``
    """

    kind: ClassVar[str] = "product"
    ports: ClassVar[int] = 2
    variables: ClassVar[tuple[str, ...]] = ("accumulator 0", "accumulator 1", "sent")
    parameters: ClassVar[tuple[str, ...]] = ("threshold", "bias_0", "bias_1")

    bias_0: Integers = field(kw_only=True)
    bias_1: Integers = field(kw_only=True)
    shift_0: int = field(kw_only=True, default=0)
    shift_1: int = field(kw_only=True, default=0)
    exponent: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.exponent < 32, f"{self.name}: exponent {self.exponent}")
        shifts = self.shift_0, self.shift_1
        require(all(0 <= shift < STATE_BITS for shift in shifts), f"{self.name}: operands shifted by {shifts}")

    def _operand_widths(self) -> dict[str, int]:
        biased = {f"accumulator {port} and bias": STATE_BITS for port in range(2)}
        return {**biased, "product": PRODUCT_BITS}

    def _activate(self, state: State, check: Check) -> Integers:
        first, second = (state[f"accumulator {port}"] + bias for port, bias in enumerate((self.bias_0, self.bias_1)))
        check("accumulator 0 and bias", first)
        check("accumulator 1 and bias", second)
        first, second = first >> self.shift_0, second >> self.shift_1
        check("product", first.astype(np.int64) * second)
        return (first * second) >> self.exponent
