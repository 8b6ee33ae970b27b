"""A recurrent LIF population with inputs and readouts: float parameters, and the whole numbers that they stand for."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nmbrl.convert.loihi.lif.arithmetic import (
    STATE_EXP,
    Neuron,
    round_through,
    run_neurons,
    straight_through,
    weights_through,
)

# Host numbers (observations, actions, contexts) in steps of 2^-12, at most as large as observations are clipped to.
HOST_EXP, HOST_LIMIT = 12, 10.0
# A step leaves half of a current and 7/8 of a potential.
NEURON = Neuron(du=2047, dv=512, vth=128)
# A bias is (constant + what the host gives) << 4, of 13 bits and a sign together; a quarter is kept for the constant.
BIAS_EXP, CONSTANT_LIMIT, GIVEN_LIMIT = 4, 1023, 3072
# The host gives (weights @ numbers) >> 9: a weight of 256 makes a bias of four thresholds of an input of 1.
INPUT_SHIFT = 9
LARGEST_WEIGHT = 256
# A readout whose numbers vary by 1 has steps of 2^-15: twice the largest weight of one spike. Observations of +-10 fit.
SPREAD_EXP, READOUT_EXPS = 15, (8, 18)
READOUT_CONSTANT_LIMIT = 4095
OFFSET_UNIT = LARGEST_WEIGHT << STATE_EXP


@dataclass(frozen=True)
class Shape:
    """What a population is made of.

    Attributes:
        size: neurons.
        inputs: host numbers that it takes.
        outputs: host numbers that it gives.
        steps: time steps of a decision.
        weight_bits: of all its synapses, the sign included.
    """

    size: int
    inputs: int
    outputs: int
    steps: int
    weight_bits: int


@dataclass(frozen=True)
class Rounded:
    """A population in whole numbers, as it is deployed; every tensor lets gradients through to the parameters.

    Attributes:
        encoder: (size, inputs): what the host gives is ``clip((encoder @ numbers) >> INPUT_SHIFT)``, a mantissa.
        constant: mantissas of the neurons' own biases (size,).
        recurrent: weights (size, size), from the second index to the first.
        readout: weights (outputs, size) of the readouts.
        offset: mantissas of the readouts' biases (outputs,).
        exponents: steps of the readouts are ``2^-exponent`` (outputs,).
        steps: time steps of a decision.
    """

    encoder: Tensor
    constant: Tensor
    recurrent: Tensor
    readout: Tensor
    offset: Tensor
    exponents: Tensor
    steps: int

    def rest(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return u and v (batch, size) of neurons that nothing has happened to."""
        return (torch.zeros(batch, len(self.constant)),) * 2

    def run(self, numbers: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run one decision.

        Args:
            numbers: of the host (batch, inputs).
            u: synaptic currents (batch, size).
            v: potentials before their reset (batch, size).

        Returns:
            Spikes that arrived in these steps (batch, size), counted; new u and v.
        """
        given = (to_host(numbers) @ self.encoder.double().t()) * 2.0**-INPUT_SHIFT
        given = given.clamp(-GIVEN_LIMIT, GIVEN_LIMIT)
        given = straight_through(given.floor(), given).float()
        bias = (given + self.constant) * (1 << BIAS_EXP)
        return run_neurons(bias, u, v, self.recurrent, NEURON, self.steps)

    def read(self, counts: Tensor) -> Tensor:
        """Return by how much a decision changes the readouts (batch, outputs), float64, exact."""
        arrived = (counts @ self.readout.t()).double() * (1 << STATE_EXP)
        constant = self.offset.double() * (self.steps << BIAS_EXP)
        return (arrived + constant) * 2.0 ** -self.exponents.double()


class Population(nn.Module):
    """Parameters of a population, in units that make all of order 1: thresholds, and the largest weight of a readout.

    Args:
        shape: see `Shape`.
        generator: draws the weights.

    Attributes:
        exponents: of each readout (outputs,), int64; see `Rounded`.
    """

    exponents: Tensor

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape

        def normal(*size: int, std: float) -> nn.Parameter:
            return nn.Parameter(std * torch.randn(*size, generator=generator))

        size = shape.size
        self.encoder = normal(size, shape.inputs, std=0.6 / math.sqrt(shape.inputs))
        self.constant = nn.Parameter(0.5 * torch.rand(size, generator=generator) - 0.1)
        self.recurrent = normal(size, size, std=0.5 / math.sqrt(size))
        self.readout = normal(shape.outputs, size, std=0.5 / math.sqrt(size))
        self.offset = nn.Parameter(torch.zeros(shape.outputs))
        self.register_buffer("exponents", torch.full((shape.outputs,), SPREAD_EXP))

    def set_spread(self, spread: Tensor) -> None:
        """Choose exponents for readouts that change by about `spread` (outputs,) in a decision."""
        exponents = SPREAD_EXP - torch.log2(spread.double().clamp_min(1e-6)).round().long()
        self.exponents.copy_(exponents.clamp(*READOUT_EXPS))

    def set_means(self, means: Tensor) -> None:
        """Let readouts begin at `means` (outputs,), after `set_spread`, without regard to spikes."""
        whole = means * 2.0**self.exponents / (self.shape.steps * OFFSET_UNIT)
        self.offset.data.copy_(whole)

    def rounded(self) -> Rounded:
        """Return the population in whole numbers."""
        bits, mantissa = self.shape.weight_bits, NEURON.threshold / (1 << BIAS_EXP)
        encoder = self.encoder * (mantissa * 2.0 ** (INPUT_SHIFT - HOST_EXP))
        constant = (self.constant * mantissa).clamp(-CONSTANT_LIMIT, CONSTANT_LIMIT)
        offset = self.offset * (OFFSET_UNIT / (1 << BIAS_EXP))
        return Rounded(
            encoder=weights_through(encoder, bits),
            constant=round_through(constant),
            recurrent=weights_through(self.recurrent * NEURON.vth, bits),
            readout=weights_through(self.readout * LARGEST_WEIGHT, bits),
            offset=round_through(offset.clamp(-READOUT_CONSTANT_LIMIT, READOUT_CONSTANT_LIMIT)),
            exponents=self.exponents,
            steps=self.shape.steps,
        )


def to_host(numbers: Tensor) -> Tensor:
    """Return numbers (batch, size) in the host's steps of 2^-12, saturated, float64."""
    scaled = numbers.double().clamp(-HOST_LIMIT, HOST_LIMIT) * (1 << HOST_EXP)
    return round_through(scaled)
