"""The default world model: a deterministic GRU that predicts the change of the observation and the reward."""

import math

import torch
from torch import Tensor, nn

from nmbrl.targets.interface import Interface, Normalisation, Segment, Task
from nmbrl.train.imagination import Explorer, Imagination
from nmbrl.train.models.gru_rollout import FastImagination
from nmbrl.train.models.mlp import Mlp, macs
from nmbrl.train.models.trainable import ModelLoss, Scales, TrainableModel


class Gru(TrainableModel):
    """Normalised observation x and recurrent state h; both are what the policy and the value read.

    ``e = SiLU(E [x, a])``, ``h' = GRU(e, h)`` (equations of `torch.nn.GRU`), ``[delta, r, c] = head([h', e])``,
    ``x' = x + delta``. Observing gives the same h', and x' is the observation itself.

    Args:
        task: the environment.
        terminates: whether its episodes can end early.
        discount: discount factor of one decision.
        hidden_size: size of h.
        width: size of every hidden layer.
    """

    def __init__(
        self,
        task: Task,
        terminates: bool,
        discount: float,
        hidden_size: int = 64,
        width: int = 64,
    ) -> None:
        super().__init__()
        observations, actions = task.observation_size, task.action_size
        self.hidden_size = hidden_size
        self.embedding = nn.Linear(observations + actions, width)
        self.gru_input = nn.Linear(width, 3 * hidden_size)
        self.gru_hidden = nn.Linear(hidden_size, 3 * hidden_size)
        self.head = Mlp(hidden_size + width, (width,), observations + 1 + terminates)
        state_size = observations + hidden_size
        self.policy = Mlp(state_size, (width, width), actions, initial_gain=0.01)
        self.critic = Mlp(state_size, (width, width), 1, initial_gain=0.01)
        self.bounds: tuple[Tensor, Tensor] | None = None
        self.reward_bounds = -math.inf, math.inf
        self.interface = Interface(
            architecture="gru",
            task=task,
            normalisation=Normalisation(mean=(0.0,) * observations, std=(1.0,) * observations),
            state=(Segment(name="x", size=observations), Segment(name="h", size=hidden_size)),
            aliases={"observe": {"x": "o"}, "decode": {"o": "x"}},
            terminates=terminates,
            discount=discount,
            parameters=sum(p.numel() for p in self.parameters()),
        )
        recurrent = macs(self.embedding) + macs(self.gru_input) + macs(self.gru_hidden)
        self.macs = {
            "observe": recurrent,
            "imagine": recurrent + macs(self.head),
            "act": macs(self.policy),
            "value": macs(self.critic),
        }

    def observe(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """x, h, a, o -> h'; x' is o."""
        x, h, a, _ = inputs
        return (self._recur(self._embed(x, a), h),)

    def imagine(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """x, h, a -> x', h', r and, where episodes can end, c."""
        x, h, a = inputs
        embedded = self._embed(x, a)
        h = self._recur(embedded, h)
        prediction = self.head(torch.cat([h, embedded], -1))
        size = x.shape[-1]
        outputs = (x + prediction[..., :size], h, prediction[..., size : size + 1])
        return (*outputs, torch.sigmoid(prediction[..., size + 1 :])) if self.interface.terminates else outputs

    def _embed(self, x: Tensor, a: Tensor) -> Tensor:
        return nn.functional.silu(self.embedding(torch.cat([x, a], -1)))

    def _recur(self, embedded: Tensor, h: Tensor) -> Tensor:
        size = self.hidden_size
        from_input, from_hidden = self.gru_input(embedded), self.gru_hidden(h)
        gates = torch.sigmoid(from_input[..., : 2 * size] + from_hidden[..., : 2 * size])
        reset, update = gates[..., :size], gates[..., size:]
        candidate = torch.tanh(from_input[..., 2 * size :] + reset * from_hidden[..., 2 * size :])
        return candidate + update * (h - candidate)

    def set_scales(self, scales: Scales) -> None:
        """Take over new constants; the head gives delta and reward."""
        super().set_scales(scales)
        parts = [torch.tensor(scales.delta), torch.tensor([scales.reward])]
        if self.interface.terminates:
            parts.append(torch.ones(1))
        self.head.output.scale = torch.cat(parts)
        # Where data is scarce the policy would otherwise find rewards and places that exist in the model alone.
        self.bounds = torch.tensor(scales.low), torch.tensor(scales.high)
        self.reward_bounds = scales.reward_low, scales.reward_high

    def dream(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Imagine one decision within the bounds of what was seen; see `TrainableModel.dream`."""
        state, reward, continues = super().dream(state, action)
        if self.bounds is not None:
            size = len(self.bounds[0])
            state = torch.cat([state[..., :size].clamp(*self.bounds), state[..., size:]], -1)
        return state, reward.clamp(*self.reward_bounds), continues

    def loss(self, observations: Tensor, actions: Tensor, rewards: Tensor, continues: Tensor) -> ModelLoss:
        """Teacher-forced error of one-step predictions; see `TrainableModel.loss`."""
        size, scale = observations.shape[-1], self.head.output.scale
        assert scale is not None
        # Every sequence starts as an episode does: the first observation follows a zero action in a zero state.
        first_x, first_a = torch.zeros_like(observations[:, :1]), torch.zeros_like(actions[:, :1])
        embedded = self._embed(torch.cat([first_x, observations[:, :-1]], 1), torch.cat([first_a, actions], 1))
        hidden = self._recur_sequence(embedded)
        prediction = self.head(torch.cat([hidden[:, 1:], embedded[:, 1:]], -1))
        target = torch.cat([observations[:, 1:] - observations[:, :-1], rewards[..., None]], -1)
        error = ((prediction[..., : size + 1] - target) / scale[: size + 1]).square()
        # The decision that ends an episode still counts, what follows in the sequence does not.
        valid = torch.cat([torch.ones_like(continues[:, :1]), continues[:, :-1]], 1).cumprod(1)
        mean_error = (error * valid[..., None]).sum((0, 1)) / valid.sum()
        losses = {"observation": mean_error[:size].mean(), "reward": mean_error[size]}
        if self.interface.terminates:
            log_likelihood = nn.functional.binary_cross_entropy_with_logits(
                prediction[..., size + 1], continues, weight=valid, reduction="sum"
            )
            losses["continue"] = log_likelihood / valid.sum()
        states = torch.cat([observations, hidden], -1).detach().flatten(0, 1)
        if self.interface.terminates:
            states = states[torch.cat([torch.ones_like(valid[:, :1]), valid * continues], 1).flatten() > 0]
        return ModelLoss(losses, states, {"model/dimension_error": mean_error[:size].detach()})

    def imagination(self, explorer: Explorer) -> Imagination:
        """Return what imagines with this model; see `TrainableModel.imagination`."""
        return super().imagination(explorer) if explorer.discrete else FastImagination(self, explorer)

    def _recur_sequence(self, embedded: Tensor) -> Tensor:
        """Return h' of every step (batch, length, hidden_size) from h = 0, by PyTorch's own loop."""
        weights = [self.gru_input.weight, self.gru_hidden.weight, self.gru_input.bias, self.gru_hidden.bias]
        start = embedded.new_zeros(1, len(embedded), self.hidden_size)
        return torch.gru(embedded, start, weights, True, 1, 0.0, self.training, False, True)[0]
