"""What the learner asks of a world model, whatever its architecture."""

import functools
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nmbrl.targets.interface import Normalisation
from nmbrl.train.deployed import DeployedModel
from nmbrl.train.imagination import Explorer, Imagination, roll_out
from nmbrl.train.models.mlp import Mlp, ScaledLinear


@dataclass(frozen=True)
class Scales:
    """Constants that keep what the networks see and give near one; measured on the replay.

    Attributes:
        normalisation: of the observations.
        delta: standard deviation of the change of the normalised observation in one decision (observation_size,).
        reward: size of the largest reward of one decision.
    """

    normalisation: Normalisation
    delta: tuple[float, ...]
    reward: float


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
    """A deployed model that can be trained.

    Attributes:
        policy: flat state (batch, state_size) -> mean action before tanh, or logits.
        critic: flat state (batch, state_size) -> value (batch, 1) in the environment's units.
    """

    policy: Mlp
    critic: Mlp

    @abstractmethod
    def loss(self, observations: Tensor, actions: Tensor, rewards: Tensor, continues: Tensor) -> ModelLoss:
        """World-model loss on sequences.

        Args:
            observations: normalised, (batch, length + 1, observation_size).
            actions: (batch, length, action_size); the t-th follows the t-th observation.
            rewards: (batch, length), in the environment's units.
            continues: (batch, length), 0 where the episode ended; what follows within the sequence is ignored.
        """

    @abstractmethod
    def set_scales(self, scales: Scales) -> None:
        """Take over new constants for what the networks see and give."""

    def imagination(self, explorer: Explorer) -> Imagination:
        """Return what imagines from (start, noise); architectures may do it faster than the generic way."""
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
