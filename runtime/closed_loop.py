"""The closed loop: observe, decide, act, over many episodes side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nmbrl.runtime.environment import Environment
from nmbrl.runtime.planners import Planner
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array


@dataclass
class Episode:
    """One episode as it went.

    Attributes:
        seed: of the environment's start and of the planner's random numbers.
        varied: whether it began with a random prefix (`Environment.reset`); the prefix is not in here.
        observations: raw, (decisions + 1, observation_size).
        actions: (decisions, action_size), boxed or one-hot.
        rewards: (decisions,), in the environment's units.
        terminated: whether it ended in a terminal state, rather than by its time limit.
        frames: physics steps that it took.
    """

    seed: int
    varied: bool
    observations: list[Array] = field(default_factory=list)
    actions: list[Array] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    frames: int = 0

    @property
    def total(self) -> float:
        """The return: the undiscounted sum of rewards."""
        return float(sum(self.rewards))

    def actions_as_lists(self) -> list[list[float]]:
        """The actions as plain numbers, from which the episode can be played again."""
        return [[float(value) for value in action] for action in self.actions]


# Called after every decision with the episodes that began together and the number of those still running.
Progress = Callable[[Sequence[Episode], int], None]


def run_episodes(
    planner: Planner,
    environments: Sequence[Environment],
    seeds: Sequence[int],
    varied: Sequence[bool],
    progress: Progress | None = None,
) -> list[Episode]:
    """Run one episode in each environment, in lock step; those that have ended drop out of the batch.

    Args:
        planner: decides; the model that it runs also keeps the beliefs.
        environments: one a lane.
        seeds: one a lane.
        varied: one a lane, whether it starts with a random prefix.
        progress: see `Progress`.

    Raises:
        NmbrlError: if the model's action is not a number.
    """
    executor = planner.executor
    episodes = [Episode(seed, start) for seed, start in zip(seeds, varied, strict=True)]
    lanes = list(zip(environments, episodes, strict=True))
    first_frames = []
    for environment, episode in lanes:
        episode.observations.append(environment.reset(episode.seed, varied=episode.varied))
        first_frames.append(environment.frames)
    planner.reset(seeds)
    state = executor.reset(len(lanes))
    action = np.zeros((len(lanes), executor.interface.task.action_size), np.float32)
    while lanes:
        state = executor.observe(state, action, np.stack([episode.observations[-1] for _, episode in lanes]))
        action = _decide(planner, state, len(lanes[0][1].actions))
        running = np.array(
            [_step(environment, episode, a) for (environment, episode), a in zip(lanes, action, strict=True)]
        )
        if not running.all():
            lanes = [lane for lane, runs in zip(lanes, running, strict=True) if runs]
            state, action = state[running], action[running]
            planner.keep(running)
            executor.keep(running)
        if progress is not None:
            progress(episodes, len(lanes))
    for environment, episode, first in zip(environments, episodes, first_frames, strict=True):
        episode.frames = environment.frames - first
    return episodes


def time_decisions(planner: Planner, environment: Environment, seed: int, decisions: int = 50) -> Array:
    """Measure what one decision takes here: belief update and search for a single lane, by the wall clock.

    The environment's own time is not in it. The first five decisions are left out: they fill caches and compile.

    Args:
        planner: decides, one lane at a time.
        environment: gives the observations; a new episode begins when one ends.
        seed: of the first episode.
        decisions: how many to measure.

    Returns:
        Milliseconds (decisions,).
    """
    executor = planner.executor
    warm_up = 5
    milliseconds = []
    running = False
    for count in range(warm_up + decisions):
        if not running:
            episode = Episode(seed + count, False, [environment.reset(seed + count)])
            planner.reset([episode.seed])
            state = executor.reset(1)
            action = np.zeros((1, executor.interface.task.action_size), np.float32)
        start = time.perf_counter()
        state = executor.observe(state, action, episode.observations[-1][None])
        action = _decide(planner, state, len(episode.actions))
        milliseconds.append(1e3 * (time.perf_counter() - start))
        running = _step(environment, episode, action[0])
    return np.array(milliseconds[warm_up:])


def _decide(planner: Planner, state: Array, count: int) -> Array:
    action = planner.decide(state)
    if not np.isfinite(action).all():
        raise NmbrlError(f"the model's action is not a finite number at decision {count}: its weights are unusable")
    return action


def _step(environment: Environment, episode: Episode, action: Array) -> bool:
    """Take one decision's step, write it down, and return whether the episode goes on."""
    observation, reward, terminated, truncated = environment.step(action)
    episode.observations.append(observation)
    episode.actions.append(action)
    episode.rewards.append(reward)
    episode.terminated = terminated
    return not (terminated or truncated)
