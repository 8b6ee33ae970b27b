"""What every planner is: something that turns a batch of belief states into actions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor, Frozen


class PlannerOptions(Frozen):
    """What a search may spend and how it moves; every planner takes what concerns it.

    Attributes:
        samples: action sequences imagined in each iteration (in all, for `Shooting`).
        horizon: decisions that a sequence lasts; `Executor.value` stands for what follows.
        iterations: times that the search distribution is fitted and sampled again.
        elites: best sequences that the distribution is fitted to.
        policy_samples: of the samples of the first iteration, those that follow the policy, the first without noise.
        temperature: of MPPI's weights, in standard deviations of the elites' scores.
        std_start: standard deviation of box actions in the first iteration, and of the noise on policy samples.
        deviation: standard deviation, in the first iteration, of what box plans add to the policy's actions as the
            model unrolls; 0: plans are the actions themselves, as they always are in a C bundle's own planner.
        std_floor: least standard deviation of box actions in later iterations; for discrete actions, least
            probability of all actions together.
        correlation: of the noise of successive decisions in a sequence, so that samples push instead of tremble.
        margin: what a plan must promise beyond the policy's own before it is followed, as a fraction of the spread
            between the policy samples' scores: the model's errors are worth at least that much.
    """

    samples: int = Field(default=64, ge=4)
    horizon: int = Field(default=8, ge=1)
    iterations: int = Field(default=3, ge=1)
    elites: int = Field(default=8, ge=1)
    policy_samples: int = Field(default=8, ge=1)
    temperature: float = Field(default=0.5, gt=0)
    std_start: float = Field(default=0.5, gt=0)
    deviation: float = Field(default=0.1, ge=0)
    std_floor: float = Field(default=0.05, ge=0)
    correlation: float = Field(default=0.5, ge=0, lt=1)
    margin: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "PlannerOptions":
        if self.elites >= self.samples:
            raise ValueError(f"{self.elites} elites of {self.samples} samples; give fewer elites or more samples")
        if self.policy_samples > self.samples - 2:
            raise ValueError(f"{self.policy_samples} policy samples leave nothing of {self.samples} samples to search")
        return self

    def check_device(self) -> None:
        """Check that a C bundle's own planner can do this.

        Raises:
            NmbrlError: if deviations from the policy were asked for.
        """
        if "deviation" in self.model_fields_set and self.deviation > 0:
            raise NmbrlError("a device searches for the actions themselves: planner option deviation must be 0 there")


class Planner(ABC):
    """Chooses actions for a batch of lanes (parallel episodes), given each lane's belief state.

    Each lane draws from a random generator of its own, so that what happens in it depends on its seed and not on the
    lanes beside it.

    Args:
        executor: what runs the model.
        options: what the search may spend.
    """

    def __init__(self, executor: Executor, options: PlannerOptions | None = None) -> None:
        self.executor = executor
        self.options = options or PlannerOptions()
        self.random: list[np.random.Generator] = []

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin one episode a seed, in as many lanes."""
        self.random = [np.random.default_rng(seed) for seed in seeds]

    def keep(self, lanes: np.ndarray) -> None:
        """Go on with some lanes only: a mask (batch,) of booleans."""
        self.random = [random for random, kept in zip(self.random, lanes, strict=True) if kept]

    @abstractmethod
    def decide(self, state: Array) -> Array:
        """Return the action (batch, action_size) to take in each state (batch, state_size): boxed or one-hot."""
