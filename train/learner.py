"""The learner: a world model fitted to the replay, and a policy and value improved inside it."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Task
from nmbrl.train.config import LearnerConfig
from nmbrl.train.deployed import TorchExecutor
from nmbrl.train.imagination import Explorer, Rollout, lambda_returns
from nmbrl.train.models.architectures import build_model
from nmbrl.train.models.trainable import Scales, TrainableModel

Batch = Mapping[str, Array]
# Outputs of a box policy before tanh beyond which its derivative, 0.07 there, is as good as lost.
SATURATED = 2.0


class Learner:
    """Fits the world model to batches of replay and improves policy and value in imagination.

    Args:
        config: settings.
        task: the environment.
        seed: of the initial weights and of everything random here.
        terminates: whether episodes can end early.

    Attributes:
        live: the model being trained, scales not folded; collection uses it.
        updates: number of updates so far.
    """

    def __init__(self, config: LearnerConfig, task: Task, seed: int, terminates: bool = False) -> None:
        self.config = config
        self.task = task
        self.terminates = terminates
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.live = build_model(config, task, terminates)
            self.explorer = Explorer(
                config.width, task.action_size, task.action_kind == "discrete", config.smallest_std
            )
        self.slow_critic = copy.deepcopy(self.live.critic).requires_grad_(False)
        self._average = copy.deepcopy(self.live).requires_grad_(False)
        self.live.generator = self.generator
        self._imagine = self.live.imagination(self.explorer)
        self._deployed: TrainableModel | None = None
        self._world = self.live.world_parameters()
        self._policy = [*self.live.policy.parameters(), *self.explorer.parameters()]
        self._critic = list(self.live.critic.parameters())
        self._optimisers = {
            "model": torch.optim.Adam(self._world, lr=config.model_rate, fused=True),
            "actor": torch.optim.Adam(self._policy, lr=config.actor_rate, fused=True),
            "critic": torch.optim.Adam(self._critic, lr=config.critic_rate, fused=True),
        }
        self.scales: Scales | None = None
        self._mean, self._std = torch.zeros(task.observation_size), torch.ones(task.observation_size)
        self._return_scale = torch.zeros(())
        self._ends: Tensor | None = None
        self.updates = 0

    def executor(self) -> TorchExecutor:
        """Return an executor of the live model for collection; make a new one after `set_scales`."""
        return TorchExecutor(self.live)

    @property
    def model(self) -> TrainableModel:
        """The model to evaluate, save and convert: averaged weights, scales folded; a copy that stays as it is."""
        if self._deployed is None:
            self._deployed = copy.deepcopy(self._average)
            self._deployed.fold()
            self._deployed.eval()
        return self._deployed

    def set_scales(self, scales: Scales) -> None:
        """Take over new normalisation constants, as `nmbrl.train.scales.measure` finds them on the replay."""
        self.scales = scales
        self._mean, self._std = torch.tensor(scales.normalisation.mean), torch.tensor(scales.normalisation.std)
        for model in (self.live, self._average):
            model.set_scales(scales)
        self.slow_critic.output.scale = self.live.critic.output.scale
        self._deployed = None

    @torch.no_grad()
    def explore(self, state: Array, generator: torch.Generator, quiet: bool = False) -> Array:
        """Sample the live policy for collection.

        Args:
            state: flat states (batch, state_size) of the live model.
            generator: source of the noise.
            quiet: give the mean action of a box policy instead.

        Returns:
            Actions (batch, action_size): in [-1, 1], or one-hot.
        """
        features = self.live.policy.features(torch.from_numpy(state))
        noise = self.explorer.noise((len(state), self.task.action_size), generator)
        if quiet and not self.explorer.discrete:
            noise.zero_()
        return self.explorer.act(self.live.policy.output(features), features, noise)[0].numpy()

    def update(self, batch: Batch) -> dict[str, float]:
        """Make one update of world model, policy and value.

        Args:
            batch: ``o`` (batch, length + 1, observation_size) raw, ``a`` (batch, length, action_size), ``r`` and ``c``
                (batch, length); ``a[t]`` follows ``o[t]`` and gives ``r[t]`` and ``o[t + 1]``; ``c`` is 0 at an end.

        Returns:
            Losses and other figures to log, by name.

        Raises:
            NmbrlError: if a loss is not finite, before any weight is changed by it.
        """
        metrics: dict[str, Tensor] = {}
        self._set_rates()
        self._improve(self._fit(batch, metrics), metrics)
        self._follow()
        self.updates += 1
        self._deployed = None
        return _flat(metrics)

    def state(self) -> dict[str, Tensor]:
        """Return everything that an exact continuation needs, as a flat dictionary of tensors by name.

        Raises:
            NmbrlError: if the scales were never set.
        """
        if self.scales is None:
            raise NmbrlError("a learner that has seen no data has no state to save")
        tensors = {
            **{f"scales.{name}": tensor for name, tensor in self.scales.to_tensors().items()},
            "return_scale": self._return_scale,
            "generator": self.generator.get_state(),
            "updates": torch.tensor(self.updates),
        }
        if self._ends is not None:
            tensors["ends"] = self._ends
        for part, module in self._parts().items():
            tensors |= {f"{part}.{name}": tensor for name, tensor in module.named_parameters()}
        for name, optimiser in self._optimisers.items():
            for index, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{name}.{index}.{moment}": tensor for moment, tensor in moments.items()}
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned in a learner of the same configuration and task.

        Raises:
            NmbrlError: if the tensors do not fit this learner.
        """
        try:
            scales = Scales.from_tensors(_below(state, "scales"))
            parts = {part: _below(state, part) for part in self._parts()}
            for part, module in self._parts().items():
                module.load_state_dict(parts[part])
            for name, optimiser in self._optimisers.items():
                moments: dict[int, dict[str, Tensor]] = {}
                for key, tensor in _below(state, f"optimiser.{name}").items():
                    index, moment = key.split(".")
                    moments.setdefault(int(index), {})[moment] = tensor
                optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
            self.generator.set_state(state["generator"])
            self._return_scale, self.updates = state["return_scale"].clone(), int(state["updates"])
            self._ends = state["ends"].clone() if self.config.continued_share and self.updates else None
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise NmbrlError(f"the saved state does not fit the learner's configuration: {reason}") from error
        self.set_scales(scales)

    def _set_rates(self) -> None:
        """Let the learning rates fall as far as the updates so far say."""
        config = self.config
        fallen = (self.updates - config.decay_from) / max(config.decay_to - config.decay_from, 1)
        share = 1.0 - (1.0 - config.decay_share) * min(max(fallen, 0.0), 1.0)
        rates = {"model": config.model_rate, "actor": config.actor_rate, "critic": config.critic_rate}
        for name, optimiser in self._optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = share * rates[name]

    def _parts(self) -> dict[str, nn.Module]:
        """The modules whose parameters make up the state."""
        return {"live": self.live, "average": self._average, "slow": self.slow_critic, "explorer": self.explorer}

    def _fit(self, batch: Batch, metrics: dict[str, Tensor]) -> Tensor:
        """One step on the world-model loss; returns flat states where imagination starts (starts, state_size)."""
        observations, actions, rewards, continues = (torch.from_numpy(batch[name]) for name in ("o", "a", "r", "c"))
        clip = self.live.interface.normalisation.clip
        observations = ((observations - self._mean) / self._std).clamp(-clip, clip)
        loss = self.live.loss(observations, actions, rewards, continues)
        weights = {"reward": self.config.reward_weight}
        total = sum((weights.get(name, 1.0) * part for name, part in loss.parts.items()), torch.zeros(()))
        metrics |= {f"model/{name}": part for name, part in loss.parts.items()} | loss.metrics
        metrics["model/gradient"] = self._step("model", self._world, total, 10.0)
        chosen = torch.randint(len(loss.states), (self.config.starts,), generator=self.generator)
        start = loss.states[chosen]
        if self._ends is not None:
            count = round(self.config.continued_share * len(start))
            going = torch.randperm(len(start), generator=self.generator)[:count]
            start[going] = self._ends[going]
        return start

    def _improve(self, start: Tensor, metrics: dict[str, Tensor]) -> None:
        """Imagine from `start`, then one step on the policy and one on the value."""
        config = self.config
        noise = self.explorer.noise((config.horizon, len(start), self.task.action_size), self.generator)
        if not self.explorer.discrete:
            noise[:, : round(config.quiet_share * len(start))] = 0
        _require(self._world, False)
        with torch.set_grad_enabled(not self.explorer.discrete):
            rollout = self._imagine(start, noise)
            values = self.slow_critic(rollout.states).squeeze(-1).clamp(*self._value_bounds())
        _require(self._world, True)
        if config.continued_share:
            # A trajectory that came to an end begins again.
            goes_on = rollout.continues.detach().prod(0)[:, None] > 0.5
            self._ends = torch.where(goes_on, rollout.states[-1].detach(), start)
        discounts = config.discount * rollout.continues
        returns = lambda_returns(rollout.rewards, discounts, values, config.trace)
        # Share of each imagined step that is reached before the episode ends.
        reached = torch.cat([torch.ones_like(discounts[:1]), rollout.continues[:-1]]).cumprod(0).detach()
        unit = self.live.critic.output.scale
        assert unit is not None
        targets = (returns / unit).detach()
        low, high = torch.quantile(targets.flatten(), torch.tensor([0.05, 0.95]))
        self._return_scale += (1.0 if self.updates == 0 else 0.01) * (high - low - self._return_scale)
        divisor = self._return_scale.clamp_min(config.smallest_return_scale)
        actor_loss, entropy = self._actor_loss(rollout, returns / unit / divisor, values / unit / divisor, reached)
        metrics["actor/loss"], metrics["actor/entropy"] = actor_loss, entropy
        actor_loss = actor_loss - config.entropy * entropy
        if config.saturation and not self.explorer.discrete:
            excess = (self.live.policy(rollout.states[:-1].detach()).abs() - SATURATED).clamp_min(0)
            actor_loss = actor_loss + config.saturation * excess.square().mean()
        metrics["actor/gradient"] = self._step("actor", self._policy, actor_loss, 1.0)
        estimates = self.live.critic(rollout.states[:-1].detach()).squeeze(-1) / unit
        critic_loss = (reached * (estimates - targets).square()).mean()
        metrics["critic/loss"] = critic_loss
        metrics["critic/gradient"] = self._step("critic", self._critic, critic_loss, 10.0)
        metrics["critic/return"] = (targets * unit).mean()
        metrics["actor/return_scale"] = self._return_scale

    def _value_bounds(self) -> tuple[float, float]:
        """No policy earns less or more: the policy would otherwise look for states whose value is overestimated."""
        assert self.scales is not None
        low, high = self.scales.reward_low, self.scales.reward_high
        if self.terminates:
            low, high = min(low, 0.0), max(high, 0.0)
        return low / (1 - self.config.discount), high / (1 - self.config.discount)

    def _actor_loss(self, rollout: Rollout, returns: Tensor, values: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
        """What the policy minimises, by dynamics gradients (box) or REINFORCE (discrete), and its mean entropy."""
        if not self.explorer.discrete:
            return -(reached * returns).mean(), rollout.spread.mean()
        logits = self.live.policy(rollout.states[:-1]).log_softmax(-1)
        entropy = -(logits.exp() * logits).sum(-1)
        advantage = (returns - values[:-1]).detach()
        score = (logits * rollout.actions).sum(-1)
        return -(reached * score * advantage).mean(), (reached * entropy).mean()

    def _step(self, name: str, parameters: list[nn.Parameter], loss: Tensor, largest: float) -> Tensor:
        """Descend on `loss` with the gradient clipped to `largest`; returns the norm it had."""
        if not torch.isfinite(loss):
            raise NmbrlError(f"training diverged: the {name} loss is {loss.item()}; lower the learning rate")
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, largest, foreach=True)
        self._optimisers[name].step()
        return norm

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the slow value and the averaged weights towards the trained ones."""
        for rate, followers, leaders in (
            (self.config.slow_rate, self.slow_critic.parameters(), self._critic),
            (self.config.average_rate, self._average.parameters(), self.live.parameters()),
        ):
            tensors: tuple[list[Tensor], list[Tensor]] = ([*followers], [*leaders])
            torch._foreach_lerp_(*tensors, rate)


def _require(parameters: Iterable[nn.Parameter], gradient: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(gradient)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Copies of the tensors whose names start with `prefix` and a dot, by the rest of the name."""
    return {
        name.removeprefix(f"{prefix}."): tensor.clone()
        for name, tensor in state.items()
        if name.startswith(f"{prefix}.")
    }


def _flat(metrics: dict[str, Tensor]) -> dict[str, float]:
    """Plain numbers; a vector becomes ``name/0``, ``name/1``, ..."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if value.ndim:
            flat |= {f"{name}/{index}": item for index, item in enumerate(value.tolist())}
        else:
            flat[name] = value.item()
    return flat
