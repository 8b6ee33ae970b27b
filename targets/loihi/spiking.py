"""Leaky integrate-and-fire neurons with a synaptic current, as Loihi 1 and 2 have them and Lava computes them.

With ``tz(x, n) = sign(x) * (|x| >> n)``, toward zero, a step is (lava-nc ``lava/proc/lif/models.py``)::

    u <- tz(u * (4096 - (du + 1)), 12) + (arrived << 6), once wrapped into -2^23 + 1 to 2^23
    v <- clip(tz(v * (4096 - dv), 12) + u + ((bias_mant + given) << bias_exp), -(2^23 - 1), 2^23 - 1)
    spike where v > vth << 6;  v <- 0 there

``du = 4095`` leaves a current without memory, ``dv = 0`` a potential without leak. A neuron whose threshold is out of
reach never sends: its u or v is what the host reads.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nmbrl.targets.loihi.limits import (
    BIAS_BITS,
    BIAS_EXPONENTS,
    DECAYS,
    STATE_BITS,
    SYNAPTIC_BITS,
    THRESHOLD_BITS,
    Integers,
    representable,
)
from nmbrl.targets.loihi.population import Check, Population, State, require

DECAY_SHIFT = 12
# Synaptic input and thresholds are aligned with the highest bits of u and v.
ALIGNMENT = 6
HALF_RANGE = 1 << (STATE_BITS - 1)


@dataclass(frozen=True, eq=False)
class LIF(Population):
    """Lava's LIF; binary spikes.

    Attributes:
        du: decay of the current, of 4096, less 1 (0 to 4095).
        dv: decay of the potential, of 4096 (0 to 4095).
        bias_mant: mantissa of the bias (13 bits, signed); what the host gives is added to it.
        bias_exp: its exponent (0 to 7).
        vth: threshold (17 bits).
    """

    kind: ClassVar[str] = "lif"
    variables: ClassVar[tuple[str, ...]] = ("u", "v", "given")
    readout: ClassVar[str] = "v"
    parameters: ClassVar[tuple[str, ...]] = ("du", "dv", "bias_mant", "bias_exp", "vth")

    du: Integers = field(kw_only=True)
    dv: Integers = field(kw_only=True)
    bias_mant: Integers = field(kw_only=True)
    bias_exp: Integers = field(kw_only=True)
    vth: Integers = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range("du", DECAYS[0], DECAYS[-1])
        self.require_range("dv", DECAYS[0], DECAYS[-1])
        self.require_range("bias_mant", *representable(BIAS_BITS))
        self.require_range("bias_exp", BIAS_EXPONENTS[0], BIAS_EXPONENTS[-1])
        self.require_range("vth", 0, (1 << THRESHOLD_BITS) - 1)

    @property
    def message_bits(self) -> int:
        """A spike carries nothing but itself."""
        return 1

    @property
    def limit(self) -> int:
        """What every neuron's mantissa has room for besides its own bias."""
        return representable(BIAS_BITS)[1] - int(np.abs(self.bias_mant).max())

    @property
    def widths(self) -> dict[str, int]:
        """Widths; see `Population.widths`. Lava and the chip clip v, which counts as too wide as well."""
        return {
            "synaptic input": SYNAPTIC_BITS,
            "bias_mant": BIAS_BITS,
            "u": STATE_BITS,
            "u and bias": STATE_BITS,
            "v": STATE_BITS,
        }

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        u, v = state["u"], state["v"]
        mantissa = self.bias_mant + state["given"]
        check("synaptic input", arrived[0])
        check("bias_mant", mantissa)
        current = _decay(u, self.du + 1) + (arrived[0] << ALIGNMENT)
        check("u", current)
        u[:] = np.where(current > HALF_RANGE, current - 2 * HALF_RANGE, current)
        u[:] = np.where(current <= -HALF_RANGE, current + 2 * HALF_RANGE, u)
        driven = u + (mantissa << self.bias_exp)
        check("u and bias", driven)
        potential = _decay(v, self.dv) + driven
        check("v", potential)
        v[:] = np.clip(potential, 1 - HALF_RANGE, HALF_RANGE - 1)
        spikes = self._fire(v)
        v[spikes != 0] = 0
        return spikes

    def _fire(self, v: Integers) -> Integers:
        """Return the spikes (batch, size)."""
        return (v > self.vth << ALIGNMENT).astype(np.int32)


@dataclass(frozen=True, eq=False)
class LIFReset(LIF):
    """Lava's LIFReset: u and v become 0 before the n-th step, n from 1, where ``n % interval == offset % interval``.

    With an interval of the steps of a decision and an offset of 1, every decision begins at rest.
    """

    kind: ClassVar[str] = "lif_reset"

    reset_interval: int = field(kw_only=True)
    reset_offset: int = field(kw_only=True, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.reset_interval >= 1, f"{self.name}: reset_interval {self.reset_interval}")

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step; see `Population.step`."""
        if (time + 1 - self.reset_offset) % self.reset_interval == 0:
            state["u"][:], state["v"][:] = 0, 0
        return super().step(state, arrived, time, check)


@dataclass(frozen=True, eq=False)
class TernaryLIF(LIF):
    """Lava's TernaryLIF: also sends -1 where ``v < vth_lo << 6``."""

    kind: ClassVar[str] = "ternary_lif"
    parameters: ClassVar[tuple[str, ...]] = (*LIF.parameters, "vth_lo")

    vth_lo: Integers = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_range("vth_lo", 1 - (1 << THRESHOLD_BITS), 0)

    @property
    def message_bits(self) -> int:
        """A sign, and whether there is a spike."""
        return 2

    def _fire(self, v: Integers) -> Integers:
        return super()._fire(v) - (v < self.vth_lo << ALIGNMENT)


def _decay(x: Integers, decay: Integers) -> Integers:
    """Return ``tz(x * (4096 - decay), 12)``."""
    product = x.astype(np.int64) * ((1 << DECAY_SHIFT) - decay)
    return (np.sign(product) * (np.abs(product) >> DECAY_SHIFT)).astype(np.int32)
