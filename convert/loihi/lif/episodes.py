"""What a student learns from: episodes of the run's replay, of its environment and of the teacher's imagination."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from nmbrl.runtime.closed_loop import Episode, run_episodes
from nmbrl.runtime.environment import check_task
from nmbrl.runtime.fidelity import beliefs
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners.base import Planner
from nmbrl.targets.interface import Array, Executor, Interface
from nmbrl.train.deployed import TorchExecutor

# Successive decisions' noise: pushes instead of trembling.
CORRELATION = 0.7


class Explorer(Planner):
    """An executor's policy with noise of another strength in every lane, from none to nothing but noise.

    Args:
        executor: whose policy.
        strengths: standard deviation of each lane's noise; with 1 and more the policy has no say.
    """

    def __init__(self, executor: Executor, strengths: Sequence[float]) -> None:
        super().__init__(executor)
        self.strengths = np.asarray(strengths)
        self.noise = np.zeros(0)

    def reset(self, seeds: Sequence[int]) -> None:
        """See `Planner.reset`."""
        super().reset(seeds)
        size = self.executor.interface.task.action_size
        self.noise = np.stack([random.standard_normal(size) for random in self.random])
        self.lane_strengths = self.strengths.copy()

    def keep(self, lanes: np.ndarray) -> None:
        """See `Planner.keep`."""
        super().keep(lanes)
        self.noise, self.lane_strengths = self.noise[lanes], self.lane_strengths[lanes]

    def decide(self, state: Array) -> Array:
        """See `Planner.decide`."""
        fresh = np.stack([random.standard_normal(self.noise.shape[1]) for random in self.random])
        self.noise = CORRELATION * self.noise + np.sqrt(1 - CORRELATION**2) * fresh
        task, strength = self.executor.interface.task, self.lane_strengths[:, None]
        action = self.executor.project_action(self.executor.act(state))
        if task.action_kind == "box":
            action = np.where(strength < 1, action, 0) + strength * self.noise
            return np.clip(action, -1, 1).astype(np.float32)
        # Of discrete actions the strength is the probability of a random one.
        drawn = np.array([random.random() for random in self.random])[:, None] < strength
        return np.where(drawn, self.executor.project_action(self.noise.astype(np.float32)), action)


def play(executor: Executor, seeds: Sequence[int], varied: Sequence[bool], strengths: Sequence[float]) -> list[Episode]:
    """Run a policy with noise in the environment that its run was trained in, one episode a lane."""
    task = executor.interface.task
    environments = []
    try:
        for _ in seeds:
            environments.append(make_environment(task.env, task.action_repeat, {}))
            check_task(task, environments[-1])
        return run_episodes(Explorer(executor, strengths), environments, seeds, varied)
    finally:
        for environment in environments:
            environment.close()


@dataclass(frozen=True)
class Corpus:
    """Episodes one after the other, a row an observation, with what the teacher says of them.

    Attributes:
        x: normalised observation (rows, size).
        action: what was done then (rows, size); 0 in an episode's last row, which has only an observation.
        reward: of that decision (rows, 1).
        continues: whether the episode went on after it (rows, 1).
        state: the teacher's belief (rows, size).
        policy: the teacher's action, or logits (rows, size).
        value: the teacher's value (rows, 1).
        left: decisions from here to the episode's end (rows, 1).
        context: what the student's world model hands to its policy (rows, size).
    """

    x: Array
    action: Array
    reward: Array
    continues: Array
    state: Array
    policy: Array
    value: Array
    left: Array
    context: Array

    def __add__(self, other: "Corpus") -> "Corpus":
        return Corpus(*(np.concatenate([getattr(part, f.name) for part in (self, other)]) for f in fields(Corpus)))

    def starts(self, length: int) -> np.ndarray:
        """Return the rows that `length` decisions follow."""
        return np.flatnonzero(self.left[:, 0] >= length)


def label(teacher: TorchExecutor, episodes: Sequence[Episode]) -> Corpus:
    """Have the teacher follow episodes and say what it would have done, and what it expects."""
    interface = teacher.interface
    decisions = [len(episode.actions) for episode in episodes]
    idle = np.zeros((1, interface.task.action_size), np.float32)
    states = np.concatenate(beliefs(teacher, [_with_last(episode, idle[0]) for episode in episodes]))
    ends = [np.append(np.ones(count - 1), not e.terminated) for e, count in zip(episodes, decisions, strict=True)]

    def rows(parts: list[np.ndarray]) -> Array:
        return np.concatenate([np.append(part, 0.0) for part in parts]).astype(np.float32)[:, None]

    return Corpus(
        x=interface.normalisation.normalise(np.concatenate([np.stack(episode.observations) for episode in episodes])),
        action=np.concatenate([np.concatenate([np.stack(episode.actions), idle]) for episode in episodes]),
        reward=rows([np.array(episode.rewards) for episode in episodes]),
        continues=rows(ends),
        state=states,
        policy=teacher.act(states),
        value=teacher.value(states)[:, None],
        left=rows([np.arange(count, 0, -1.0) for count in decisions]),
        context=np.zeros((len(states), 0), np.float32),
    )


def hidden(interface: Interface, states: Array) -> Array:
    """Return what a teacher's states (rows, state_size) hold beyond the observation."""
    seen = {name for name, source in interface.aliases.get("observe", {}).items() if source == "o"}
    return np.concatenate([part for name, part in interface.split(states).items() if name not in seen], axis=1)


def _with_last(episode: Episode, idle: Array) -> Episode:
    """Let the belief after an episode's last observation be looked at: one more decision, which is not taken."""
    return replace(episode, actions=[*episode.actions, idle])


def dream(teacher: TorchExecutor, states: Array, length: int, random: np.random.Generator) -> Corpus:
    """Imagine episodes of `length` decisions from beliefs (episodes, state_size).

    A third of them follows the policy, a third the policy with noise, a third uniformly random actions.
    """
    interface = teacher.interface
    group = np.arange(len(states))[:, None] % 3
    visited, taken, rewards, continues = [states], [], [], []
    for _ in range(length):
        raw, noise = teacher.act(visited[-1]), random.standard_normal((len(states), interface.task.action_size))
        drawn = np.where(group == 2, random.uniform(-1, 1, raw.shape), raw + (group == 1) * 0.3 * noise)
        taken.append(teacher.project_action(drawn.astype(np.float32)))
        state, reward, alive = teacher.imagine(visited[-1], taken[-1])
        visited.append(state)
        rewards.append(reward)
        continues.append(alive)

    def rows(parts: list[Array], last: bool = True) -> Array:
        stacked = np.stack(parts if last else [*parts, np.zeros_like(parts[0])], axis=1)
        return stacked.reshape(len(states) * (length + 1), -1)

    state = rows(visited)
    return Corpus(
        x=interface.normalisation.normalise(teacher.decode(state)),
        action=rows(taken, last=False),
        reward=rows(rewards, last=False),
        continues=rows(continues, last=False),
        state=state,
        policy=teacher.act(state),
        value=teacher.value(state)[:, None],
        left=np.tile(np.arange(length, -1, -1, dtype=np.float32), len(states))[:, None],
        context=np.zeros((len(state), 0), np.float32),
    )


def replayed(calibration: dict[str, Array]) -> list[Episode]:
    """Return a run's slice of replay as episodes, each up to its end."""
    found = []
    for o, a, r, c in zip(*(calibration[name] for name in ("o", "a", "r", "c")), strict=True):
        count = int(np.argmin(c)) + 1 if (c == 0).any() else len(a)
        terminated = bool(c[count - 1] == 0)
        found.append(Episode(0, False, list(o[: count + 1]), list(a[:count]), list(map(float, r[:count])), terminated))
    return found
