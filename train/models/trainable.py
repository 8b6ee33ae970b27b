"""What the learner asks of a world model, whatever its architecture."""

import functools
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Normalisation, Task
from nmbrl.targets.plugins import unknown_options
from nmbrl.train.deployed import DeployedModel
from nmbrl.train.imagination import Explorer, Imagination, roll_out
from nmbrl.train.models.mlp import Mlp, ScaledLinear

if TYPE_CHECKING:
    from nmbrl.train.config import LearnerConfig


@dataclass(frozen=True)
class Scales:
    """Constants that keep what the networks see and give near one; measured on the replay.

    Attributes:
        normalisation: of the observations.
        delta: standard deviation of the change of the normalised observation in one decision (observation_size,).
        reward: size of the largest reward of one decision.
        low: least normalised observation that imagination may reach (observation_size,).
        high: greatest.
        reward_low: least reward of one decision that imagination may promise, in the environment's units.
        reward_high: greatest.
    """

    normalisation: Normalisation
    delta: tuple[float, ...]
    reward: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    reward_low: float
    reward_high: float

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the constants as float64 tensors by name; `from_tensors` takes them back."""
        numbers = {name: value for name, value in vars(self).items() if name != "normalisation"}
        numbers |= {"mean": self.normalisation.mean, "std": self.normalisation.std}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the constants that `to_tensors` wrote."""
        numbers: dict[str, Any] = {name: tuple(t.tolist()) if t.ndim else t.item() for name, t in tensors.items()}
        normalisation = Normalisation(mean=numbers.pop("mean"), std=numbers.pop("std"))
        return cls(normalisation=normalisation, **numbers)


@dataclass(frozen=True)
class ModelLoss:
    """A world model's loss on a batch.

    Attributes:
        parts: scalars to minimise, by name (``observation``, ``reward``, ...); the learner weighs and adds them.
        states: flat states (samples, state_size) inferred on the way, detached: where imagination may start.
        metrics: what to log, by name.
    """

    parts: dict[str, Tensor]
    states: Tensor
    metrics: dict[str, Tensor]


class TrainableModel(DeployedModel):
    """A deployed model that can be trained. It is made by `build`, from a task and settings alone.

    Attributes:
        policy: flat state (batch, state_size) -> mean action before tanh, or logits.
        critic: flat state (batch, state_size) -> value (batch, 1) in the environment's units.
        generator: source of whatever `loss` draws; the learner's, so that it is saved with it.
    """

    policy: Mlp
    critic: Mlp
    generator: torch.Generator

    @classmethod
    def build(cls, config: "LearnerConfig", task: Task, terminates: bool) -> Self:
        """Make an untrained model; the constructor takes the sizes, and ``config.options`` as keywords.

        Raises:
            NmbrlError: if one of those options is unknown.
        """
        unknown = unknown_options(cls, 5, config.options)
        if unknown:
            raise NmbrlError(f"learner.options.{unknown[0]} is no setting of the world model {config.architecture}")
        return cls(task, terminates, config.discount, config.hidden_size, config.width, **config.options)

    def act(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments -> mean action, or logits: the policy reads the whole state."""
        output = self.policy(torch.cat(inputs, -1))
        return (torch.tanh(output) if self.interface.task.action_kind == "box" else output,)

    def value(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """State segments -> discounted sum of rewards: so does the value."""
        return (self.critic(torch.cat(inputs, -1)),)

    @abstractmethod
    def loss(self, observations: Tensor, actions: Tensor, rewards: Tensor, continues: Tensor) -> ModelLoss:
        """World-model loss on sequences.

        Args:
            observations: normalised, (batch, length + 1, observation_size).
            actions: (batch, length, action_size); the t-th follows the t-th observation.
            rewards: (batch, length), in the environment's units.
            continues: (batch, length), 0 where the episode ended; what follows within the sequence is ignored.
        """

    def set_scales(self, scales: Scales) -> None:
        """Take over new constants: the critic gives the discounted sum of rewards; architectures add theirs."""
        self.critic.output.scale = torch.tensor([scales.reward]) / (1 - self.interface.discount)
        self.interface = self.interface.model_copy(update={"normalisation": scales.normalisation})

    def imagination(self, explorer: Explorer) -> Imagination:
        """Return what imagines; see `roll_out`, which architectures may do faster."""
        return functools.partial(roll_out, self, explorer)

    def dream(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Imagine one decision: flat next state (batch, state_size), reward (batch,), continue probability (batch,)."""
        outputs = self.imagine(*state.split([segment.size for segment in self.interface.state], -1), action)
        segments = len(self.interface.state)
        reward = outputs[segments].squeeze(-1)
        continues = outputs[segments + 1].squeeze(-1) if self.interface.terminates else torch.ones_like(reward)
        return torch.cat(outputs[:segments], -1), reward, continues

    def fold(self) -> None:
        """Fold every scale into the weights, as deployment needs it."""
        for module in self.modules():
            if isinstance(module, ScaledLinear):
                module.fold()

    def world_parameters(self) -> list[nn.Parameter]:
        """Everything that is neither the policy's nor the value's."""
        other = {id(p) for part in (self.policy, self.critic) for p in part.parameters()}
        return [p for p in self.parameters() if id(p) not in other]
