"""Lava's own Delta, Sigma, SigmaDelta and ProdNeuron, for networks that come from Lava (lava-nc ``lava/proc/sdn``).

Unlike the kinds of `nmbrl.targets.loihi.graded`, what their shifts drop is lost: their values drift. ::

    delta = act - (act of the last step) + residue;  s = delta where |delta| >= vth, else 0
    residue = delta - s;  message = s >> state_exp

With ``cum_error`` the sum of all deltas since the last that was sent is what the threshold is held against. As in Lava,
`vth` and `bias` of a population are already multiplied by ``2^(spike_exp + state_exp)``.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nmbrl.targets.loihi.limits import MAX_MESSAGE_BITS, PRODUCT_BITS, STATE_BITS, SYNAPTIC_BITS, Integers
from nmbrl.targets.loihi.population import Check, Population, State, require

MAX_EXPONENT = 7


@dataclass(frozen=True, eq=False)
class Delta(Population):
    """Sends what changes of ``act = arrived << (spike_exp + state_exp)``.

    Attributes:
        vth: changes smaller than this are not sent.
        spike_exp: bits by which what arrives is scaled up.
        state_exp: bits by which it is scaled up that messages do not carry.
        cum_error: whether small changes add up to one that is sent.
        message_bits: width of a message, signed.
    """

    kind: ClassVar[str] = "delta"
    variables: ClassVar[tuple[str, ...]] = ("act", "residue", "error")
    readout: ClassVar[str] = "act"
    parameters: ClassVar[tuple[str, ...]] = ("vth",)

    vth: Integers = field(kw_only=True)
    spike_exp: int = field(kw_only=True, default=0)
    state_exp: int = field(kw_only=True, default=0)
    cum_error: bool = field(kw_only=True, default=False)
    message_bits: int = field(kw_only=True, default=24)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range("vth", 0, 1 << STATE_BITS)
        self.require_range("spike_exp", 0, MAX_EXPONENT)
        self.require_range("state_exp", 0, MAX_EXPONENT)
        self.require_range("message_bits", 2, MAX_MESSAGE_BITS)

    @property
    def widths(self) -> dict[str, int]:
        """Widths; see `Population.widths`."""
        return {"synaptic input": SYNAPTIC_BITS, "act": STATE_BITS, "residue": STATE_BITS, "message": self.message_bits}

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        check("synaptic input", arrived[0])
        return self._encode(state, arrived[0] << (self.spike_exp + self.state_exp), check)

    def _encode(self, state: State, act: Integers, check: Check) -> Integers:
        delta = act - state["act"] + state["residue"]
        state["error"] += delta if self.cum_error else 0
        judged = state["error"] if self.cum_error else delta
        sent = np.where(np.abs(judged) >= self.vth, delta, 0)
        state["error"][sent != 0] = 0
        state["act"][:], state["residue"][:] = act, delta - sent
        messages = sent >> self.state_exp
        check("act", act)
        check("residue", state["residue"])
        check("message", messages)
        return messages


@dataclass(frozen=True, eq=False)
class Sigma(Population):
    """Sends the sum of all that has arrived, in every step.

    Attributes:
        message_bits: width of a message, signed.
    """

    kind: ClassVar[str] = "sigma"
    variables: ClassVar[tuple[str, ...]] = ("sigma",)
    readout: ClassVar[str] = "sigma"

    message_bits: int = field(kw_only=True, default=24)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range("message_bits", 2, MAX_MESSAGE_BITS)

    @property
    def widths(self) -> dict[str, int]:
        """Widths; see `Population.widths`."""
        return {"synaptic input": SYNAPTIC_BITS, "sigma": STATE_BITS, "message": self.message_bits}

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        sigma = state["sigma"]
        sigma += arrived[0]
        check("synaptic input", arrived[0])
        check("sigma", sigma)
        check("message", sigma)
        return sigma.copy()


@dataclass(frozen=True, eq=False)
class LavaSigmaDelta(Delta):
    """Sends what changes of ``act = sigma + bias``, and no less than 0 where `relu`."""

    kind: ClassVar[str] = "lava_sigma_delta"
    variables: ClassVar[tuple[str, ...]] = ("sigma", *Delta.variables)
    parameters: ClassVar[tuple[str, ...]] = (*Delta.parameters, "bias")

    bias: Integers = field(kw_only=True)
    relu: bool = field(kw_only=True, default=False)

    @property
    def widths(self) -> dict[str, int]:
        """Widths; see `Population.widths`."""
        widths = super().widths
        return {"synaptic input": widths.pop("synaptic input"), "sigma": STATE_BITS, **widths}

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        sigma = state["sigma"]
        sigma += arrived[0]
        check("synaptic input", arrived[0])
        check("sigma", sigma)
        act = sigma + self.bias
        return self._encode(state, np.maximum(act, 0) if self.relu else act, check)


@dataclass(frozen=True, eq=False)
class ProdNeuron(Population):
    """Sends ``y = (arrived_0 * arrived_1) >> exponent`` where ``|y| > vth``.

    Attributes:
        vth: threshold; below 0, all is sent.
        exponent: bits to drop of the product.
        message_bits: width of a message, signed.
    """

    kind: ClassVar[str] = "prod_neuron"
    ports: ClassVar[int] = 2
    variables: ClassVar[tuple[str, ...]] = ()
    readout: ClassVar[str] = ""
    parameters: ClassVar[tuple[str, ...]] = ("vth",)

    vth: Integers = field(kw_only=True)
    exponent: int = field(kw_only=True)
    message_bits: int = field(kw_only=True, default=24)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.exponent < 32, f"{self.name}: exponent {self.exponent}")
        self.require_range("message_bits", 2, MAX_MESSAGE_BITS)

    @property
    def widths(self) -> dict[str, int]:
        """Widths; see `Population.widths`."""
        return {
            "synaptic input 0": SYNAPTIC_BITS,
            "synaptic input 1": SYNAPTIC_BITS,
            "product": PRODUCT_BITS,
            "message": self.message_bits,
        }

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        first, second = arrived
        check("synaptic input 0", first)
        check("synaptic input 1", second)
        check("product", first.astype(np.int64) * second)
        y = (first * second) >> self.exponent
        messages = np.where(np.abs(y) > self.vth, y, 0)
        check("message", messages)
        return messages
