"""A recurrent state-space model (Hafner et al. 2019, 2023): a GRU beside a latent that is random while training."""

from typing import Self

import torch
from torch import Tensor, nn

from nmbrl.targets.interface import Interface, Normalisation, Segment, Task
from nmbrl.train.config import LearnerConfig, RssmConfig
from nmbrl.train.models.mlp import Mlp, macs
from nmbrl.train.models.trainable import ModelLoss, Scales, TrainableModel

# Range of a Gaussian latent's standard deviation: smallest + sigmoid(...), so between this and 1 more.
SMALLEST_STD = 0.05
# Share of uniform probability mixed into categorical latents, which keeps their KL finite (Hafner et al. 2023).
UNIFORM = 0.01


class Rssm(TrainableModel):
    """Deterministic state h and latent z; policy, value and heads read both.

    ``h' = GRU(SiLU(E [z, a]), h)``; prior ``p(z' | h')``, posterior ``q(z' | h', o)``; decoder, reward and probability
    of continuing from ``[h', z']``. The latent is Gaussian, or groups of one-hot classes. Deployed and in imagination
    it is the mean of its distribution (the mode of a categorical one); the world model is fitted with samples.

    Args:
        task: the environment.
        terminates: whether its episodes can end early.
        discount: discount factor of one decision.
        hidden_size: size of h.
        width: size of every hidden layer.
        config: what belongs to this architecture alone.
    """

    def __init__(
        self, task: Task, terminates: bool, discount: float, hidden_size: int, width: int, config: RssmConfig
    ) -> None:
        super().__init__()
        observations, actions = task.observation_size, task.action_size
        self.config = config
        self.hidden_size = hidden_size
        self.classes = config.classes
        latent = config.latents * max(1, config.classes)
        statistics = latent if config.classes else 2 * latent
        self.embedding = nn.Linear(latent + actions, width)
        self.gru_input = nn.Linear(width, 3 * hidden_size)
        self.gru_hidden = nn.Linear(hidden_size, 3 * hidden_size)
        self.encoder = nn.Linear(observations, width)
        self.prior = Mlp(hidden_size, (width,), statistics)
        self.posterior = Mlp(hidden_size + width, (width,), statistics)
        state_size = hidden_size + latent
        self.decoder = Mlp(state_size, (width,), observations)
        self.head = Mlp(state_size, (width,), 1 + terminates)
        self.policy = Mlp(state_size, (width, width), actions, initial_gain=0.01)
        self.critic = Mlp(state_size, (width, width), 1, initial_gain=0.01)
        self.reward_bounds = (-float("inf"), float("inf"))
        self.interface = Interface(
            architecture="rssm",
            task=task,
            normalisation=Normalisation(mean=(0.0,) * observations, std=(1.0,) * observations),
            state=(Segment(name="h", size=hidden_size), Segment(name="z", size=latent)),
            terminates=terminates,
            discount=discount,
            parameters=sum(p.numel() for p in self.parameters()),
        )
        recurrent = macs(self.embedding) + macs(self.gru_input) + macs(self.gru_hidden)
        self.macs = {
            "observe": recurrent + macs(self.encoder) + macs(self.posterior),
            "imagine": recurrent + macs(self.prior) + macs(self.head),
            "act": macs(self.policy),
            "value": macs(self.critic),
            "decode": macs(self.decoder),
        }

    @classmethod
    def build(cls, config: LearnerConfig, task: Task, terminates: bool) -> Self:
        """Make an untrained model; see `TrainableModel.build`."""
        return cls(task, terminates, config.discount, config.hidden_size, config.width, config.rssm)

    def observe(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """h, z, a, o -> h', z' (mean or mode of the posterior)."""
        h, z, a, o = inputs
        h = self._recur(h, z, a)
        return h, self._latent(self._infer(h, o))

    def imagine(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """h, z, a -> h', z' (mean or mode of the prior), r and, where episodes can end, c."""
        h, z, a = inputs
        h = self._recur(h, z, a)
        z = self._latent(self.prior(h))
        outputs = self.head(torch.cat([h, z], -1))
        parts = (h, z, outputs[..., :1])
        return (*parts, torch.sigmoid(outputs[..., 1:])) if self.interface.terminates else parts

    def decode(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """h, z -> normalised observation."""
        return (self.decoder(torch.cat(inputs, -1)),)

    def set_scales(self, scales: Scales) -> None:
        """Take over new constants; the head gives the reward."""
        super().set_scales(scales)
        reward = torch.tensor([scales.reward])
        self.head.output.scale = torch.cat([reward, torch.ones(1)]) if self.interface.terminates else reward
        # Where data is scarce the policy would otherwise find rewards that exist in the model alone.
        self.reward_bounds = scales.reward_low, scales.reward_high

    def loss(self, observations: Tensor, actions: Tensor, rewards: Tensor, continues: Tensor) -> ModelLoss:
        """Reconstruction, reward, continuation and balanced KL; see `TrainableModel.loss`."""
        scale = self.head.output.scale
        assert scale is not None
        hidden, prior, posterior, samples = self._filter(observations, actions)
        states = torch.cat([hidden, samples], -1)
        # The first observation counts; so does the decision that ends an episode; what follows it does not.
        valid = torch.cat([torch.ones_like(continues[:, :1]), continues[:, :-1]], 1).cumprod(1)
        seen = torch.cat([valid[:, :1], valid], 1)

        def mean(values: Tensor, weights: Tensor) -> Tensor:
            return (values * weights[..., None]).sum((0, 1)) / weights.sum()

        head = self.head(states[:, 1:])
        # The prior learns fast and the posterior slowly towards the other (Hafner et al. 2023, equation 5).
        dynamics = self._divergence(posterior.detach(), prior)[..., None]
        representation = self._divergence(posterior, prior.detach())[..., None]
        balanced = dynamics.clamp_min(self.config.free_nats) + 0.1 * representation.clamp_min(self.config.free_nats)
        losses = {
            "observation": mean((self.decoder(states) - observations).square(), seen).mean(),
            "reward": mean(((head[..., :1] - rewards[..., None]) / scale[0]).square(), valid)[0],
            "divergence": self.config.kl_weight * mean(balanced, seen)[0],
        }
        if self.interface.terminates:
            log_likelihood = nn.functional.binary_cross_entropy_with_logits(
                head[..., 1], continues, weight=valid, reduction="sum"
            )
            losses["continue"] = log_likelihood / valid.sum()
        with torch.no_grad():
            predicted = self.decoder(torch.cat([hidden, self._latent(prior)], -1))[:, 1:]
            dimension_error = mean((predicted - observations[:, 1:]).square(), valid)
            start = torch.cat([hidden, self._latent(posterior)], -1).flatten(0, 1)
            if self.interface.terminates:
                start = start[torch.cat([torch.ones_like(valid[:, :1]), valid * continues], 1).flatten() > 0]
            metrics = {"model/kl": mean(dynamics, seen)[0], "model/dimension_error": dimension_error}
        return ModelLoss(losses, start, metrics)

    def dream(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Imagine one decision with a reward within the bounds of what was seen; see `TrainableModel.dream`.

        Gradients pass through the mode of a categorical latent to its probabilities.
        """
        h, z = state.split([segment.size for segment in self.interface.state], -1)
        h = self._recur(h, z, action)
        statistics = self.prior(h)
        z = self._latent(statistics)
        if self.classes:
            z = z + (_probabilities(statistics, self.classes) - _probabilities(statistics, self.classes).detach())
        state = torch.cat([h, z], -1)
        outputs = self.head(state)
        reward = outputs[..., 0].clamp(*self.reward_bounds)
        return state, reward, torch.sigmoid(outputs[..., 1]) if self.interface.terminates else torch.ones_like(reward)

    def _filter(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return h', prior and posterior statistics and sampled latents (batch, length + 1, size) of sequences.

        Every sequence starts as an episode does: the first observation follows a zero action in a zero state.
        """
        h, z = (observations.new_zeros(len(observations), segment.size) for segment in self.interface.state)
        encoded = nn.functional.silu(self.encoder(observations))
        hidden, posteriors, samples = [], [], []
        for step in range(observations.shape[1]):
            h = self._recur(h, z, actions[:, step - 1] if step else torch.zeros_like(actions[:, 0]))
            posteriors.append(self.posterior(torch.cat([h, encoded[:, step]], -1)))
            z = self._sample(posteriors[-1])
            hidden.append(h)
            samples.append(z)
        h = torch.stack(hidden, 1)
        return h, self.prior(h), torch.stack(posteriors, 1), torch.stack(samples, 1)

    def _recur(self, h: Tensor, z: Tensor, a: Tensor) -> Tensor:
        size = self.hidden_size
        from_input = self.gru_input(nn.functional.silu(self.embedding(torch.cat([z, a], -1))))
        from_hidden = self.gru_hidden(h)
        gates = torch.sigmoid(from_input[..., : 2 * size] + from_hidden[..., : 2 * size])
        reset, update = gates[..., :size], gates[..., size:]
        candidate = torch.tanh(from_input[..., 2 * size :] + reset * from_hidden[..., 2 * size :])
        return candidate + update * (h - candidate)

    def _infer(self, h: Tensor, o: Tensor) -> Tensor:
        return self.posterior(torch.cat([h, nn.functional.silu(self.encoder(o))], -1))

    def _latent(self, statistics: Tensor) -> Tensor:
        """Mean of a Gaussian latent, mode of a categorical one."""
        if not self.classes:
            return statistics[..., : statistics.shape[-1] // 2]
        groups = statistics.unflatten(-1, (-1, self.classes))
        return nn.functional.one_hot(groups.argmax(-1), self.classes).to(statistics.dtype).flatten(-2)

    def _sample(self, statistics: Tensor) -> Tensor:
        """Sample with gradients: reparametrised, or straight through the probabilities of a categorical latent."""
        if not self.classes:
            mean, std = _gaussian(statistics)
            return mean + std * torch.randn(mean.shape, generator=self.generator)
        probabilities = _probabilities(statistics, self.classes)
        groups = probabilities.unflatten(-1, (-1, self.classes))
        choice = torch.multinomial(groups.detach().flatten(0, -2), 1, generator=self.generator)
        sample = nn.functional.one_hot(choice[:, 0], self.classes).to(groups.dtype).view_as(groups).flatten(-2)
        return sample + (probabilities - probabilities.detach())

    def _divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """KL(posterior || prior) in nats, summed over the latents, (...)."""
        if self.classes:
            p, q = (_probabilities(s, self.classes) for s in (posterior, prior))
            return (p * (p.log() - q.log())).sum(-1)
        (mean, std), (prior_mean, prior_std) = _gaussian(posterior), _gaussian(prior)
        ratio = (std / prior_std).square()
        return 0.5 * (ratio + ((mean - prior_mean) / prior_std).square() - 1 - ratio.log()).sum(-1)


def _gaussian(statistics: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation."""
    mean, raw = statistics.chunk(2, -1)
    return mean, SMALLEST_STD + torch.sigmoid(raw)


def _probabilities(statistics: Tensor, classes: int) -> Tensor:
    """Probabilities of every class, group after group, with a little of the uniform distribution mixed in."""
    groups = statistics.unflatten(-1, (-1, classes)).softmax(-1)
    return ((1 - UNIFORM) * groups + UNIFORM / classes).flatten(-2)
