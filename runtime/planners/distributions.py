"""Distributions over action sequences that a search samples from and fits to what scored well."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from nmbrl.runtime.planners.base import PlannerOptions
from nmbrl.targets.interface import Array, Task

Generators = Sequence[np.random.Generator]


class PlanDistribution(ABC):
    """A distribution over sequences (horizon, action_size) for each of a batch of lanes."""

    def __init__(self, task: Task, options: PlannerOptions) -> None:
        self.action_size = task.action_size
        self.options = options

    @abstractmethod
    def centre(self, plan: Array) -> None:
        """Start the search around one plan (batch, horizon, action_size)."""

    @abstractmethod
    def fit(self, plans: Array, weights: Array) -> None:
        """Fit to plans (batch, n, horizon, action_size) with weights (batch, n) that sum to 1 in each lane."""

    @abstractmethod
    def sample(self, random: Generators, count: int) -> Array:
        """Draw valid plans (batch, count, horizon, action_size), each lane from its own generator."""

    @abstractmethod
    def policy_noise(self, random: Generators, count: int) -> Array:
        """Draw what makes policy samples differ (batch, count, horizon, action_size); see `imagine_plans`."""

    @abstractmethod
    def mode(self) -> Array:
        """Return the plan in the middle (batch, horizon, action_size), valid."""

    def _draw_normal(self, random: Generators, count: int) -> Array:
        """Standard normal noise with the given correlation between successive decisions (first-order autoregressive).

        Its variance is 1 at every decision.
        """
        shape = (count, self.options.horizon, self.action_size)
        noise = np.stack([generator.standard_normal(shape, np.float32) for generator in random])
        correlation = np.float32(self.options.correlation)
        for t in range(1, self.options.horizon):
            noise[:, :, t] *= np.sqrt(1 - correlation**2)
            noise[:, :, t] += correlation * noise[:, :, t - 1]
        return noise


class GaussianPlans(PlanDistribution):
    """Box actions: independent normal distributions, clipped to [-1, 1]."""

    def centre(self, plan: Array) -> None:
        """See `PlanDistribution.centre`."""
        self.mean = plan
        self.std = np.full_like(plan, self.options.std_start)

    def fit(self, plans: Array, weights: Array) -> None:
        """See `PlanDistribution.fit`."""
        weight = weights[:, :, None, None]
        self.mean = (weight * plans).sum(axis=1)
        variance = (weight * (plans - self.mean[:, None]) ** 2).sum(axis=1)
        self.std = np.maximum(np.sqrt(variance), np.float32(self.options.std_floor))

    def sample(self, random: Generators, count: int) -> Array:
        """See `PlanDistribution.sample`."""
        noise = self._draw_normal(random, count)
        return np.clip(self.mean[:, None] + self.std[:, None] * noise, -1.0, 1.0)

    def policy_noise(self, random: Generators, count: int) -> Array:
        """See `PlanDistribution.policy_noise`."""
        return np.float32(self.options.std_start) * self._draw_normal(random, count)

    def mode(self) -> Array:
        """See `PlanDistribution.mode`."""
        return self.mean


class CategoricalPlans(PlanDistribution):
    """Discrete actions, one-hot: independent categorical distributions."""

    def centre(self, plan: Array) -> None:
        """See `PlanDistribution.centre`; half of the probability stays spread over all actions."""
        self.probability = 0.5 * plan + np.float32(0.5 / self.action_size)

    def fit(self, plans: Array, weights: Array) -> None:
        """See `PlanDistribution.fit`."""
        frequency = (weights[:, :, None, None] * plans).sum(axis=1)
        floor = np.float32(self.options.std_floor)
        self.probability = (1 - floor) * frequency + floor / self.action_size

    def sample(self, random: Generators, count: int) -> Array:
        """See `PlanDistribution.sample`."""
        return self._one_hot(np.log(self.probability)[:, None] + self.policy_noise(random, count))

    def policy_noise(self, random: Generators, count: int) -> Array:
        """Gumbel noise: the largest of logits plus it is a sample of their softmax (Maddison et al., 2014)."""
        shape = (count, self.options.horizon, self.action_size)
        uniform = np.stack([generator.random(shape, np.float32) for generator in random])
        tiny = np.finfo(np.float32).tiny
        return -np.log(np.maximum(-np.log(np.maximum(uniform, tiny)), tiny))

    def mode(self) -> Array:
        """See `PlanDistribution.mode`."""
        return self._one_hot(self.probability)

    def _one_hot(self, preference: Array) -> Array:
        return np.eye(self.action_size, dtype=np.float32)[preference.argmax(axis=-1)]


def plan_distribution(task: Task, options: PlannerOptions) -> PlanDistribution:
    """Return the distribution that suits the task's actions."""
    return (GaussianPlans if task.action_kind == "box" else CategoricalPlans)(task, options)
