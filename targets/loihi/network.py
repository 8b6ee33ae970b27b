"""A Loihi network as plain data: populations of neurons, and the synapses between them.

Every population keeps one accumulator for each of its ports, to which arriving synaptic currents are added, and
``sent``, the sum of all it has sent. In a step it computes its activation ``y`` from the accumulators and sends the
difference by the rule that does not drift (no residue; nothing that was not sent is forgotten)::

    s = y - (sent << state_exp);  s <- 0 where |s| < threshold;  message = s >> state_exp;  sent += message

All numbers are integers, ``>>`` is the arithmetic shift (floor). A population of value ``sent`` stands for real numbers
``sent * scale``; the scales are the business of whoever made the network and not needed to run it.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.limits import (
    DELAYS,
    MAX_MESSAGE_BITS,
    STATE_BITS,
    WEIGHT_BITS,
    WEIGHT_EXPONENTS,
    Integers,
    excess,
)

SignMode = Literal["mixed", "excitatory", "inhibitory"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise NmbrlError(f"Loihi network: {message}")


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind; subclasses are the kinds.

    Attributes:
        name: unique in its network.
        size: number of neurons.
        threshold: changes of the activation smaller than this are not sent (in units of the activation).
        message_bits: width of a message, signed.
    """

    kind: ClassVar[str]
    ports: ClassVar[int]
    arrays: ClassVar[tuple[str, ...]] = ()

    name: str
    size: int
    threshold: int = 0
    message_bits: int = 16

    def __post_init__(self) -> None:
        _require(bool(self.name) and "/" not in self.name, f"{self.name!r} is no name for a population")
        _require(self.size > 0, f"{self.name} has {self.size} neurons")
        _require(self.threshold >= 0, f"{self.name}: threshold {self.threshold} is negative")
        _require(2 <= self.message_bits <= MAX_MESSAGE_BITS, f"{self.name}: message_bits {self.message_bits}")
        for name in self.arrays:
            array = getattr(self, name)
            _require(array.dtype == np.int32 and array.ndim == 1, f"{self.name}: {name} is not a vector of int32")
            _require(excess(array, STATE_BITS) == 0, f"{self.name}: {name} exceeds {STATE_BITS} bits")
            _require(name == "values" or array.shape == (self.size,), f"{self.name}: {name} is not {self.size} long")

    @property
    def shift(self) -> int:
        """``state_exp`` of the rule above."""
        return 0

    def activate(self, accumulators: list[Integers]) -> Integers:
        """Return the activation y (batch, size) for accumulators (batch, size), one a port."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Input(Population):
    """What the host injects: y is the value given last, 0 before the first (Lava's Delta)."""

    kind: ClassVar[str] = "input"
    ports: ClassVar[int] = 0


@dataclass(frozen=True, eq=False)
class SigmaDelta(Population):
    """``y = sigma + bias``, and no less than 0 where `relu` (Lava's SigmaDelta)."""

    kind: ClassVar[str] = "sigma_delta"
    ports: ClassVar[int] = 1
    arrays: ClassVar[tuple[str, ...]] = ("bias",)

    bias: Integers = field(kw_only=True)
    state_exp: int = field(kw_only=True)
    relu: bool = field(kw_only=True, default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.state_exp < STATE_BITS, f"{self.name}: state_exp {self.state_exp}")

    @property
    def shift(self) -> int:
        """``state_exp`` of the rule above."""
        return self.state_exp

    def activate(self, accumulators: list[Integers]) -> Integers:
        """Return the activation; see `Population.activate`."""
        y = accumulators[0] + self.bias
        return np.maximum(y, 0) if self.relu else y


@dataclass(frozen=True, eq=False)
class Table(Population):
    """A function by table, linear between its entries: a Loihi 2 neuron whose program looks up sigmoid, tanh, SiLU, ...

    With S = ``len(values) - 1`` segments of ``2^exponent`` units each, centred on 0::

        u = clip(sigma + bias + (S << exponent) / 2, 0, (S << exponent) - 1)
        i = u >> exponent;  f = u & (2^exponent - 1)
        y = values[i] + (((values[i + 1] - values[i]) * f + 2^(exponent - 1)) >> exponent)
    """

    kind: ClassVar[str] = "table"
    ports: ClassVar[int] = 1
    arrays: ClassVar[tuple[str, ...]] = ("bias", "values")

    bias: Integers = field(kw_only=True)
    values: Integers = field(kw_only=True)
    exponent: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        segments = len(self.values) - 1
        _require(segments >= 2 and segments % 2 == 0, f"{self.name}: a table of {segments} segments")
        _require(self.exponent >= 1 and segments << self.exponent <= 1 << STATE_BITS, f"{self.name}: table too wide")
        widest = int(np.abs(np.diff(self.values.astype(np.int64))).max())
        _require((widest + 1) << self.exponent < 1 << 31, f"{self.name}: a table as steep as that overflows")

    def activate(self, accumulators: list[Integers]) -> Integers:
        """Return the activation; see `Population.activate`."""
        width = (len(self.values) - 1) << self.exponent
        u = np.clip(accumulators[0] + (self.bias + np.int32(width >> 1)), 0, width - 1)
        index = u >> self.exponent
        fraction = u & ((1 << self.exponent) - 1)
        steps = np.diff(self.values)
        return self.values[index] + ((steps[index] * fraction + (1 << (self.exponent - 1))) >> self.exponent)


@dataclass(frozen=True, eq=False)
class Product(Population):
    """A gate (Lava's Sigma, ProdNeuron and Delta; a shift between them where operands are finer than a product takes).

    ``y = (((sigma_0 + bias_0) >> shift_0) * ((sigma_1 + bias_1) >> shift_1)) >> exponent``
    """

    kind: ClassVar[str] = "product"
    ports: ClassVar[int] = 2
    arrays: ClassVar[tuple[str, ...]] = ("bias_0", "bias_1")

    bias_0: Integers = field(kw_only=True)
    bias_1: Integers = field(kw_only=True)
    shift_0: int = field(kw_only=True, default=0)
    shift_1: int = field(kw_only=True, default=0)
    exponent: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.exponent < 32, f"{self.name}: exponent {self.exponent}")
        shifts = self.shift_0, self.shift_1
        _require(all(0 <= shift < STATE_BITS for shift in shifts), f"{self.name}: operands shifted by {shifts}")

    def operands(self, accumulators: list[Integers]) -> tuple[Integers, Integers]:
        """Return the two factors (batch, size)."""
        first, second = accumulators
        return (first + self.bias_0) >> self.shift_0, (second + self.bias_1) >> self.shift_1

    def activate(self, accumulators: list[Integers]) -> Integers:
        """Return the activation; see `Population.activate`."""
        first, second = self.operands(accumulators)
        return (first * second) >> self.exponent


KINDS: dict[str, type[Population]] = {kind.kind: kind for kind in (Input, SigmaDelta, Table, Product)}


@dataclass(frozen=True, eq=False)
class Synapses:
    """All-to-all connections from one population to a port of another (Lava's Dense, and DelayDense with a delay).

    What ``messages`` (source size,) deliver ``1 + delay`` steps later is ``(weights @ messages) << weight_exp``, or
    ``>> -weight_exp`` where that is negative. Weights are those in the synapse, of 8 bits and a sign: mixed ones are
    even, -256 to 254; excitatory ones 0 to 255, inhibitory ones -255 to 0; fewer bits leave the low ones 0.
    """

    source: str
    target: str
    weights: Integers
    port: int = 0
    weight_exp: int = 0
    weight_bits: int = 8
    sign_mode: SignMode = "mixed"
    delay: int = 0

    def __post_init__(self) -> None:
        name = f"{self.source} to {self.target}"
        _require(self.weights.dtype == np.int32 and self.weights.ndim == 2, f"{name}: weights are no int32 matrix")
        _require(self.weight_exp in WEIGHT_EXPONENTS, f"{name}: weight_exp {self.weight_exp} is outside -8 to 7")
        _require(self.weight_bits in WEIGHT_BITS, f"{name}: weight_bits {self.weight_bits} is outside 1 to 8")
        _require(self.delay in DELAYS, f"{name}: delay {self.delay}, at most {DELAYS[-1]}")
        _require(self.sign_mode in ("mixed", "excitatory", "inhibitory"), f"{name}: sign_mode {self.sign_mode!r}")
        low, high, step = weight_range(self.sign_mode, self.weight_bits)
        inside = (self.weights >= low) & (self.weights <= high) & (self.weights % step == 0)
        _require(
            bool(inside.all()), f"{name}: weights that a {self.weight_bits}-bit {self.sign_mode} synapse cannot hold"
        )


def weight_range(sign_mode: SignMode, weight_bits: int = 8) -> tuple[int, int, int]:
    """Return the smallest and largest weight that a synapse holds, and the step between weights."""
    step = 1 << (8 - weight_bits + (sign_mode == "mixed"))
    if sign_mode == "mixed":
        return -256, 256 - step, step
    return (0, 256 - step, step) if sign_mode == "excitatory" else (step - 256, 0, step)


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and synapses, checked to fit together.

    Attributes:
        populations: in an order in which synapses lead forward where the network has no cycle.
        synapses: any number between any two populations.
        inputs: population that takes each named input vector.
        outputs: population whose ``sent`` is each named output vector.
        steps: steps in which a change of the inputs has run through the network.
    """

    populations: tuple[Population, ...]
    synapses: tuple[Synapses, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    steps: int

    def __post_init__(self) -> None:
        byname = self.by_name
        _require(len(byname) == len(self.populations), "two populations have the same name")
        _require(self.steps > 0, f"{self.steps} steps")
        for synapses in self.synapses:
            name = f"{synapses.source} to {synapses.target}"
            _require({synapses.source, synapses.target} <= set(byname), f"{name}: no such population")
            source, target = byname[synapses.source], byname[synapses.target]
            _require(0 <= synapses.port < target.ports, f"{name}: {synapses.target} has no port {synapses.port}")
            shape = (target.size, source.size)
            _require(synapses.weights.shape == shape, f"{name}: weights are {synapses.weights.shape}, not {shape}")
        for name in self.inputs.values():
            _require(isinstance(byname.get(name), Input), f"{name} takes no input")
        for name in self.outputs.values():
            _require(name in byname, f"there is no population {name}")

    @property
    def by_name(self) -> dict[str, Population]:
        """Populations by name."""
        return {population.name: population for population in self.populations}
