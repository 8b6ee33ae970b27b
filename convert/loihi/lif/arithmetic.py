"""Loihi's fixed-point LIF arithmetic as differentiable operations: whole numbers forward, straight-through backward.

The rules are those of `nmbrl.targets.loihi.network`; all numbers are whole and exact. Neuron states are float64, as
a 24-bit number times a 12-bit decay does not fit float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from snntorch import surrogate
from torch import Tensor

from nmbrl.targets.loihi.limits import STATE_BITS
from nmbrl.targets.loihi.network import weight_range

# Fractional bits of decays, and those that synaptic input and thresholds are shifted by.
DECAY_BITS, STATE_EXP = 12, 6
V_LIMIT = float((1 << (STATE_BITS - 1)) - 1)


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


# The derivative of a spike by ``v / threshold - 1``; narrow enough that neurons far from their threshold do not learn.
_spike: Callable[[Tensor], Tensor] = surrogate.fast_sigmoid(slope=5)


def spike_derivative(x: Tensor) -> Tensor:
    """Return snnTorch's surrogate derivative of a spike at ``x = v / threshold - 1``."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(_spike(x).sum(), x)[0]


class _Run(torch.autograd.Function):
    """(bias, u, v, recurrent weights) -> spike counts, u, v; the backward pass is written by hand for its speed."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, u: Tensor, v: Tensor, weights: Tensor, neuron: Neuron, steps: int) -> Any:
        u, v = u.clone(), v.clone()
        transposed = weights.t()
        spikes, potentials = (torch.empty(steps, *v.shape, dtype=torch.float32) for _ in range(2))
        for t in range(steps):
            potentials[t] = v
            torch.gt(v, neuron.threshold, out=spikes[t])
            arrived = spikes[t] @ transposed
            u.mul_(neuron.keep_u).trunc_().add_(arrived, alpha=1 << STATE_EXP)
            v.mul_(1 - spikes[t]).mul_(neuron.keep_v).trunc_().add_(u).add_(bias).clamp_(-V_LIMIT, V_LIMIT)
        ctx.neuron = neuron
        ctx.save_for_backward(weights, spikes, potentials)
        return spikes.sum(0), u, v

    @staticmethod
    def backward(ctx: Any, from_counts: Tensor, into_u: Tensor, into_v: Tensor) -> Any:
        neuron: Neuron = ctx.neuron
        weights, spikes, potentials = ctx.saved_tensors
        slopes = spike_derivative(potentials / neuron.threshold - 1) / neuron.threshold
        # A spike resets v; the reset itself takes no gradient, as usual.
        kept = neuron.keep_v * (1 - spikes)
        arrived = torch.empty_like(spikes)
        into_u, into_v = into_u.float().clone(), into_v.float()
        into_bias = torch.zeros_like(into_v)
        for t in reversed(range(len(spikes))):
            into_bias += into_v
            into_u += into_v
            torch.mul(into_u, 1 << STATE_EXP, out=arrived[t])
            into_u *= neuron.keep_u
            into_v = into_v * kept[t]
            into_v.addcmul_(torch.addmm(from_counts, arrived[t], weights), slopes[t])
        into_weights = arrived.flatten(0, 1).t() @ spikes.flatten(0, 1)
        return into_bias.double(), into_u.double(), into_v.double(), into_weights, None, None


def run_neurons(
    bias: Tensor, u: Tensor, v: Tensor, weights: Tensor, neuron: Neuron, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a recurrent population of LIF neurons.

    A step begins with the spikes of the last: where v exceeds the threshold, a spike arrives and v is reset. Then::

        u <- tz(u * keep_u) + ((weights @ spikes) << 6);  v <- clip(tz(v * keep_v) + u + bias)

    so that v before its reset and u are all that a population carries from one decision to the next.

    Args:
        bias: (batch, size), whole, float64.
        u: synaptic currents (batch, size), whole, float64.
        v: potentials before their reset, likewise.
        weights: (size, size), whole, float32, from the second index to the first.
        neuron: its constants.
        steps: how many.

    Returns:
        Number of spikes that arrived in these steps (float32), new u and v.
    """
    return _Run.apply(bias, u, v, weights, neuron, steps)
