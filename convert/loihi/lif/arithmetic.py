"""Loihi's fixed-point LIF arithmetic as differentiable operations: whole numbers forward, straight-through backward.

The rules are those of `nmbrl.targets.loihi.network`; all numbers are whole, and exact in float32 as long as they are
below `EXACT`: the shares of u and v that a step leaves are of a few bits, so the products have room.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmbrl.targets.loihi.network import weight_range

# Fractional bits of decays, and those that synaptic input and thresholds are shifted by.
DECAY_BITS, STATE_EXP = 12, 6
# Potentials and currents times 7 have to fit the 24 bits of a float32's fraction.
EXACT = (1 << 24) // 7
# Of the surrogate derivative.
SLOPE = 5.0


@dataclass(frozen=True)
class Neuron:
    """Constants of a population, as Lava's LIF has them.

    Attributes:
        du: decay of the synaptic current u; u keeps ``(4095 - du) / 4096`` of itself a step.
        dv: decay of the membrane potential v; v keeps ``(4096 - dv) / 4096``.
        vth: threshold; a neuron spikes where v exceeds ``vth << 6``.
    """

    du: int
    dv: int
    vth: int

    @property
    def keep_u(self) -> float:
        """Share of u that a step keeps; exact in binary."""
        return (4095 - self.du) / (1 << DECAY_BITS)

    @property
    def keep_v(self) -> float:
        """Share of v that a step keeps; exact in binary."""
        return (4096 - self.dv) / (1 << DECAY_BITS)

    @property
    def threshold(self) -> float:
        """What v must exceed."""
        return float(self.vth << STATE_EXP)


def straight_through(whole: Tensor, real: Tensor) -> Tensor:
    """Return `whole` with the gradient of `real`; adding a difference of 0 keeps it exact."""
    return whole.detach() + (real - real.detach())


def round_through(real: Tensor) -> Tensor:
    """Round to the nearest whole number."""
    return straight_through(real.round(), real)


def weights_through(real: Tensor, weight_bits: int) -> Tensor:
    """Round to what a mixed-sign synapse of `weight_bits` holds; beyond its range they saturate, without gradient."""
    low, high, step = weight_range("mixed", weight_bits)
    inside = real.clamp(low, high)
    return straight_through((real / step).round().mul(step).clamp(low, high), inside)


def spike_derivative(v: Tensor, threshold: float) -> Tensor:
    """Return what stands for the derivative of a spike by v, in place of v: snnTorch's ``fast_sigmoid``.

    With ``x = v / threshold - 1`` it is ``1 / (1 + SLOPE |x|)^2`` by x: neurons far from their threshold do not learn.
    """
    return v.sub_(threshold).abs_().mul_(SLOPE / threshold).add_(1).pow_(-2).div_(threshold)


class _Run(torch.autograd.Function):
    """(bias, u, v, weights) -> spike counts, u, v; few operations in place, as most of the time is spent in them."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, u: Tensor, v: Tensor, weights: Tensor, neuron: Neuron, steps: int) -> Any:
        u, v, arrived = u.clone(), v.clone(), torch.empty_like(v)
        transposed = weights.t()
        spikes, potentials = torch.empty(steps, *v.shape), torch.empty(steps, *v.shape)
        for spiking, potential in zip(spikes.unbind(), potentials.unbind(), strict=True):
            potential.copy_(v)
            # Numbers are whole: what exceeds the threshold does so by 1 at least.
            torch.sub(v, neuron.threshold, out=spiking).clamp_(0, 1)
            torch.mm(spiking, transposed, out=arrived)
            u.mul_(neuron.keep_u).trunc_().add_(arrived, alpha=1 << STATE_EXP)
            v.addcmul_(v, spiking, value=-1).mul_(neuron.keep_v).trunc_().add_(u).add_(bias)
        ctx.neuron = neuron
        ctx.save_for_backward(weights, spikes, potentials)
        return spikes.sum(0), u, v

    @staticmethod
    def backward(ctx: Any, from_counts: Tensor, into_u: Tensor, into_v: Tensor) -> Any:
        neuron: Neuron = ctx.neuron
        weights, spikes, potentials = ctx.saved_tensors
        slopes = spike_derivative(potentials.clone(), neuron.threshold)
        arrived = torch.empty_like(spikes)
        into_u, into_v, into_bias = into_u.clone(), into_v.clone(), torch.zeros_like(into_v)
        into_spikes = torch.empty_like(into_v)
        for t in reversed(range(len(spikes))):
            into_bias.add_(into_v)
            into_u.add_(into_v)
            torch.mul(into_u, 1 << STATE_EXP, out=arrived[t])
            into_u.mul_(neuron.keep_u)
            torch.addmm(from_counts, arrived[t], weights, out=into_spikes)
            # A spike resets v; through the reset itself no gradient flows, as usual.
            into_v.addcmul_(into_v, spikes[t], value=-1).mul_(neuron.keep_v).addcmul_(into_spikes, slopes[t])
        into_weights = arrived.flatten(0, 1).t() @ spikes.flatten(0, 1)
        return into_bias, into_u, into_v, into_weights, None, None


def run_neurons(
    bias: Tensor, u: Tensor, v: Tensor, weights: Tensor, neuron: Neuron, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a recurrent population of LIF neurons.

    A step begins with the spikes of the last: where v exceeds the threshold, a spike arrives and v is reset. Then::

        u <- tz(u * keep_u) + ((weights @ spikes) << 6);  v <- tz(v * keep_v) + u + bias

    so that v before its reset and u are all that a population carries from one decision to the next. The chip's wrap of
    u and clip of v are left out: no number may come near them (`nmbrl.convert.loihi.lif.growth`).

    Args:
        bias: (batch, size), whole, float32 like all that follow.
        u: synaptic currents (batch, size), whole.
        v: potentials before their reset, likewise.
        weights: (size, size), whole, from the second index to the first.
        neuron: its constants.
        steps: how many.

    Returns:
        Number of spikes that arrived in these steps, new u and v.
    """
    return _Run.apply(bias, u, v, weights, neuron, steps)
