"""The spiking student: three LIF populations that stand for a world model, a policy and a value.

Its forward pass computes the integers that the Loihi networks of `nmbrl.convert.loihi.lif.networks` compute.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nmbrl.convert.loihi.lif.arithmetic import round_through
from nmbrl.convert.loihi.lif.population import HOST_LIMIT, NEURON, Population, Rounded, Shape
from nmbrl.targets.interface import Interface, Segment
from nmbrl.train.deployed import DeployedModel


@dataclass(frozen=True)
class Sizes:
    """How large a student is.

    Attributes:
        world: neurons of the world model.
        policy: neurons of the policy.
        value: neurons of the value.
        context: numbers that the world model hands to policy and value, beside the observation.
        steps: time steps of a decision.
        weight_bits: of all synapses, the sign included.
    """

    world: int = 192
    policy: int = 128
    value: int = 96
    context: int = 4
    steps: int = 6
    weight_bits: int = 8


@dataclass(frozen=True)
class Prediction:
    """What the world population gives.

    Attributes:
        x: next observation (batch, size).
        context: (batch, context).
        reward: (batch, 1).
        continues: probability that the episode goes on (batch, 1), not yet
            clipped, or (batch, 0) where it always does.
        u: synaptic currents (batch, world).
        v: potentials (batch, world).
    """

    x: Tensor
    context: Tensor
    reward: Tensor
    continues: Tensor
    u: Tensor
    v: Tensor


class Student(DeployedModel):
    """Observation x, context m, and the potentials that populations carry from one decision to the next.

    The world population sees x and the action; its readouts give the change of x, the reward, whether the episode goes
    on, and m, which stands for what the teacher's hidden state tells beyond x. The policy population sees x and m
    and carries its potentials through real decisions (arXiv 2601.21778: errors of one are made good in the next);
    imagination leaves them as they are. The value population starts at rest.

    Functions take and give host numbers, float32, that are exact.

    Args:
        teacher: interface of the model that it stands for.
        sizes: how large it is.
        generator: draws the weights.
    """

    def __init__(self, teacher: Interface, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes = sizes
        observation, action = teacher.task.observation_size, teacher.task.action_size
        self.predictions = [observation, sizes.context, 1, int(teacher.terminates)]

        def population(size: int, inputs: int, outputs: int) -> Population:
            return Population(Shape(size, inputs, outputs, sizes.steps, sizes.weight_bits), generator)

        self.world = population(sizes.world, observation + action, sum(self.predictions))
        self.policy = population(sizes.policy, observation + sizes.context, action)
        self.critic = population(sizes.value, observation + sizes.context, 1)
        segments = {
            "x": observation,
            "m": sizes.context,
            "world_u": sizes.world,
            "world_v": sizes.world,
            "policy_u": sizes.policy,
            "policy_v": sizes.policy,
        }
        self.interface = Interface(
            architecture="lif",
            task=teacher.task,
            normalisation=teacher.normalisation,
            state=tuple(Segment(name=name, size=size) for name, size in segments.items()),
            aliases={
                "observe": {"x": "o"},
                "imagine": {"policy_u": "policy_u", "policy_v": "policy_v"},
                "decode": {"o": "x"},
            },
            terminates=teacher.terminates,
            discount=teacher.discount,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
        )
        world, policy, value = (_macs(part) for part in (self.world, self.policy, self.critic))
        self.macs = {"observe": world + policy, "imagine": world, "act": policy, "value": value}

    def rounded(self) -> "RoundedStudent":
        """Return the student in whole numbers, as its parameters are now."""
        return RoundedStudent(self)

    def observe(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """x, m, u and v of world and policy, a, o -> m', u' and v' of both; x' is o."""
        x, m, world_u, world_v, policy_u, policy_v, a, _ = inputs
        rounded = self.rounded()
        predicted = rounded.predict(x, a, world_u, world_v)
        _, policy_u, policy_v = rounded.decide(x, m, policy_u, policy_v)
        outputs = (predicted.context, predicted.u, carried(predicted.v), policy_u, carried(policy_v))
        return tuple(part.float() for part in outputs)

    def imagine(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """x, m, u and v of world and policy, a -> x', m', the world's u' and v', r and, where episodes end, c."""
        x, _, world_u, world_v, _, _, a = inputs
        predicted = self.rounded().predict(x, a, world_u, world_v)
        outputs = [predicted.x, predicted.context, predicted.u, carried(predicted.v), predicted.reward]
        if self.interface.terminates:
            outputs.append(predicted.continues.clamp(0, 1))
        return tuple(part.float() for part in outputs)

    def act(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State -> mean action, or logits."""
        x, m, _, _, u, v = inputs
        return (self.rounded().decide(x, m, u, v)[0].float(),)

    def value(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State -> discounted sum of rewards."""
        x, m, *_ = inputs
        return (self.rounded().judge(x, m).float(),)


class RoundedStudent:
    """A student in whole numbers; its populations are rounded when they are first used.

    Args:
        student: whose parameters the gradients go to.
    """

    def __init__(self, student: Student) -> None:
        self._student = student

    @cached_property
    def world(self) -> Rounded:
        """World population."""
        return self._student.world.rounded()

    @cached_property
    def policy(self) -> Rounded:
        """Policy population."""
        return self._student.policy.rounded()

    @cached_property
    def critic(self) -> Rounded:
        """Value population."""
        return self._student.critic.rounded()

    def predict(self, x: Tensor, action: Tensor, u: Tensor, v: Tensor) -> Prediction:
        """Run the world population on observation, action (batch, size) and its state."""
        counts, u, v = self.world.run(torch.cat([x, action], -1), u, v)
        change, context, reward, continues = self.world.read(counts).split(self._student.predictions, -1)
        return Prediction(self._start(x) + change, context, reward, continues, u, v)

    def decide(self, x: Tensor, context: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the policy population: action (batch, size), u, v."""
        counts, u, v = self.policy.run(torch.cat([x, context], -1), u, v)
        return self.policy.read(counts), u, v

    def judge(self, x: Tensor, context: Tensor) -> Tensor:
        """Run the value population: value (batch, 1)."""
        counts, _, _ = self.critic.run(torch.cat([x, context], -1), *self.critic.rest(len(x)))
        return self.critic.read(counts)

    def _start(self, x: Tensor) -> Tensor:
        """Return x in the steps of the readouts, whose potentials it is before a decision changes them."""
        scale = 2.0 ** self.world.exponents[: x.shape[-1]].double()
        return round_through(x.double().clamp(-HOST_LIMIT, HOST_LIMIT) * scale) / scale


def carried(v: Tensor) -> Tensor:
    """Return potentials as the host keeps them: just over threshold where a neuron spikes, whose reset comes next."""
    return v.clamp_max(NEURON.threshold + 1)


def _macs(part: Population) -> int:
    shape = part.shape
    return shape.size * (shape.inputs + shape.steps * (shape.size + shape.outputs))
