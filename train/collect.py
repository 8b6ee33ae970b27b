"""Collecting experience: rounds in which every environment plays one episode, in lock step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nmbrl.runtime.environment import Environment
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array
from nmbrl.train.config import TrainingConfig
from nmbrl.train.replay import Replay, Stretch

if TYPE_CHECKING:
    from nmbrl.train.learner import Learner

# What numbers are drawn for; each purpose has random streams of its own, so that none depends on another's use.
STARTS, NOISE, BATCHES, PLANS, QUIET = range(5)


def stream(seed: int, purpose: int, *counts: int) -> np.random.Generator:
    """Return the generator of a purpose's n-th use; nothing about it need be saved."""
    return np.random.default_rng([seed, purpose, *counts])


@dataclass
class Lane:
    """One environment and its episode.

    Attributes:
        stretch: where its decisions go; None after a decision that was dropped.
        observation: the last one that was finite.
        total: return so far.
        decisions: so far.
    """

    environment: Environment
    observation: Array
    stretch: Stretch | None
    total: float = 0.0
    decisions: int = 0
    running: bool = True


@dataclass(frozen=True)
class Round:
    """What a round brought.

    Attributes:
        returns: of every episode.
        frames: physics steps in all.
        dropped: decisions left out because an observation or reward was not finite.
    """

    returns: list[float]
    frames: int
    dropped: int


class Collector:
    """Plays rounds.

    Args:
        config: of the training.
        environments: one a lane.
        replay: takes what happens.
    """

    def __init__(self, config: TrainingConfig, environments: Sequence[Environment], replay: Replay) -> None:
        self.config = config
        self.environments = environments
        self.replay = replay

    def play(self, index: int, learner: "Learner | None", after: Callable[[int, list[float]], None]) -> Round:
        """Play one episode in each environment.

        Args:
            index: of the round; with the seed it fixes starts and noise.
            learner: whose newest policy decides; None for random actions.
            after: called after each step with the decisions that it brought and the returns so far.

        Raises:
            NmbrlError: if an action is not finite, or an episode ends that cannot by the configuration.
        """
        lanes = [self._start(environment, index, lane) for lane, environment in enumerate(self.environments)]
        choose = self._by_policy(learner, index) if learner else self._at_random(index)
        longest = self.config.longest_episode
        if learner is None:
            longest = self.config.longest_random_episode or longest
        dropped = 0
        while any(lane.running for lane in lanes):
            actions = choose(np.stack([lane.observation for lane in lanes]))
            if not np.isfinite(actions).all():
                raise NmbrlError("training diverged: the policy's action is not a finite number")
            running = [(lane, action) for lane, action in zip(lanes, actions, strict=True) if lane.running]
            dropped += sum(self._step(lane, action, longest) for lane, action in running)
            after(len(running), [lane.total for lane in lanes])
        for lane in lanes:
            if lane.stretch is not None:
                self.replay.close(lane.stretch)
        return Round([lane.total for lane in lanes], sum(lane.environment.frames for lane in lanes), dropped)

    def _start(self, environment: Environment, index: int, lane: int) -> Lane:
        seed = int(stream(self.config.seed, STARTS, index, lane).integers(2**31))
        observation = environment.reset(seed)
        if not np.isfinite(observation).all():
            raise NmbrlError(f"{environment.task.env}: the first observation of an episode is not finite")
        return Lane(environment, observation, self.replay.begin(observation, first=True))

    def _step(self, lane: Lane, action: Array, longest: int) -> bool:
        """Make a lane's decision, the last one if it is the `longest`; return whether it had to be dropped."""
        observation, reward, terminated, truncated = lane.environment.step(action)
        if terminated and not self.config.terminates:
            raise NmbrlError(f"{lane.environment.task.env} ended an episode in a terminal state: --set terminates=true")
        lane.decisions += 1
        lane.running = not (terminated or truncated or lane.decisions == longest)
        finite = bool(np.isfinite(observation).all() and np.isfinite(reward))
        if finite:
            lane.total += reward
            if lane.stretch is None:
                lane.stretch = self.replay.begin(observation, first=False)
            else:
                lane.stretch.append(action, reward, terminated, observation)
            lane.observation = observation
        elif lane.stretch is not None:
            self.replay.close(lane.stretch)
            lane.stretch = None
        return not finite

    def _by_policy(self, learner: "Learner", index: int) -> Callable[[Array], Array]:
        """Decisions of the planner, with the exploration that the policy would have added to its own."""
        lanes = len(self.environments)
        executor = learner.executor()
        generator = torch.Generator().manual_seed(int(stream(self.config.seed, NOISE, index).integers(2**62)))
        planner = None
        if self.config.planner != "policy":
            planner = make_planner(self.config.planner, executor, adapt=False, **self.config.planner_options)
            planner.reset(stream(self.config.seed, PLANS, index).integers(2**62, size=lanes).tolist())
        quiet = bool(stream(self.config.seed, QUIET, index).random() < self.config.learner.quiet_share)
        state = executor.reset(lanes)
        action = np.zeros((lanes, self.replay.action_size), np.float32)

        def choose(observations: Array) -> Array:
            nonlocal state, action
            state = executor.observe(state, action, observations)
            action = learner.explore(state, generator, quiet)
            if planner is not None:
                policy = executor.project_action(executor.act(state))
                action = executor.project_action(planner.decide(state) + action - policy)
            return action

        return choose

    def _at_random(self, index: int) -> Callable[[Array], Array]:
        """Random actions that dwell: an AR(1) process for box actions, repeated choices for discrete ones."""
        random = stream(self.config.seed, NOISE, index)
        task = self.environments[0].task
        shape = (len(self.environments), task.action_size)
        if task.action_kind == "discrete":
            choices = np.eye(task.action_size, dtype=np.float32)
            action = choices[random.integers(task.action_size, size=shape[0])]

            def dwell(_: Array) -> Array:
                nonlocal action
                fresh = choices[random.integers(task.action_size, size=shape[0])]
                action = np.where(random.random((shape[0], 1)) < self.config.random_correlation, action, fresh)
                return action

            return dwell
        level = random.standard_normal(shape)
        kept = self.config.random_correlation

        def drift(_: Array) -> Array:
            nonlocal level
            level = kept * level + np.sqrt(1 - kept**2) * random.standard_normal(shape)
            return np.clip(level, -1, 1).astype(np.float32)

        return drift
