"""Learning inside the world model: imagined trajectories, exploration around the policy, lambda-returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nmbrl.train.models.trainable import TrainableModel


@dataclass(frozen=True)
class Rollout:
    """An imagined batch of trajectories; time is the leading axis.

    Attributes:
        states: flat states (horizon + 1, batch, state_size), the first being the start.
        actions: (horizon, batch, action_size), as given to the world model.
        spread: log standard deviation of box actions (horizon, batch, action_size); of no meaning for discrete ones.
        rewards: (horizon, batch), in the environment's units.
        continues: probability that the episode goes on (horizon, batch).
    """

    states: Tensor
    actions: Tensor
    spread: Tensor
    rewards: Tensor
    continues: Tensor


# (start (batch, state_size), noise (horizon, batch, action_size)).
Imagination = Callable[[Tensor, Tensor], Rollout]


class Explorer(nn.Module):
    """The spread of actions around the policy's mean, learned beside the policy and never deployed.

    Box: ``a = clip(tanh(policy) + std * noise)`` with ``std = smallest + (1 - smallest) * sigmoid(linear(features))``,
    the clipping passed through by gradients. Discrete: a one-hot sample of the logits (Gumbel-max).

    Args:
        features: size of the policy's last hidden layer.
        action_size: as in the task.
        discrete: whether actions are discrete.
        smallest_std: floor of the standard deviation.
    """

    def __init__(self, features: int, action_size: int, discrete: bool, smallest_std: float) -> None:
        super().__init__()
        self.discrete = discrete
        self.smallest_std = smallest_std
        self.spread = nn.Linear(features, action_size)
        nn.init.normal_(self.spread.weight, std=0.01 / features**0.5)
        nn.init.zeros_(self.spread.bias)

    def std(self, features: Tensor) -> Tensor:
        """Return the standard deviation (..., action_size) from the policy's last hidden layer."""
        return self.smallest_std + (1 - self.smallest_std) * torch.sigmoid(self.spread(features))

    def act(self, output: Tensor, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draw actions.

        Args:
            output: what the policy gives (..., action_size), before tanh.
            features: its last hidden layer (..., features).
            noise: standard normal (box) or uniform in (0, 1) (discrete), (..., action_size).

        Returns:
            Actions and the logarithm of their standard deviation, (..., action_size) each.
        """
        if self.discrete:
            choice = (output - (-noise.log()).log()).argmax(-1)
            return nn.functional.one_hot(choice, output.shape[-1]).to(output.dtype), torch.zeros_like(output)
        std = self.std(features)
        action = torch.tanh(output) + std * noise
        return action + (action.clamp(-1, 1) - action).detach(), std.log()

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw the noise that `act` needs."""
        if self.discrete:
            return torch.rand(shape, generator=generator).clamp_(1e-6, 1 - 1e-6)
        return torch.randn(shape, generator=generator)


def roll_out(model: TrainableModel, explorer: Explorer, start: Tensor, noise: Tensor) -> Rollout:
    """Imagine with a sampled policy, differentiable with respect to everything.

    Args:
        model: world model and policy.
        explorer: draws the actions.
        start: flat states (batch, state_size).
        noise: as `Explorer.noise` draws it (horizon, batch, action_size).
    """
    state, states, steps = start, [start], []
    for step_noise in noise:
        features = model.policy.features(state)
        action, spread = explorer.act(model.policy.output(features), features, step_noise)
        state, reward, continues = model.dream(state, action)
        states.append(state)
        steps.append((action, spread, reward, continues))
    return Rollout(torch.stack(states), *(torch.stack(parts) for parts in zip(*steps, strict=True)))


def lambda_returns(rewards: Tensor, discounts: Tensor, values: Tensor, trace: float) -> Tensor:
    """Return the lambda-returns ``R_t = r_t + d_t ((1 - trace) v_{t+1} + trace R_{t+1})``, with ``R_H = v_H``.

    Args:
        rewards: (horizon, batch).
        discounts: discount times probability of continuing (horizon, batch).
        values: of every state (horizon + 1, batch).
        trace: lambda, in [0, 1].

    Returns:
        (horizon, batch). Source: Sutton & Barto 2018, section 12.1; Hafner et al. 2020, equation 6.
    """
    current, returns = values[-1], []
    base = rewards + (1 - trace) * discounts * values[1:]
    factors = trace * discounts
    for step in range(len(rewards) - 1, -1, -1):
        current = base[step] + factors[step] * current
        returns.append(current)
    return torch.stack(returns[::-1])
