"""Stable-Baselines3 on the same environments: same action repeat, same starts, same evaluation as our own training."""

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from nmbrl.runtime.environment import Environment
from nmbrl.targets.interface import Array

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"sac": SAC, "ppo": PPO}

# Seeds of evaluation episodes lie far from those of any training.
FIRST_EVALUATION_SEED = 1_000_000
SEED_STRIDE = 1000


class PeerEnvironment(gymnasium.Env):
    """`Environment` with the Gymnasium interface, for libraries that expect one.

    Args:
        env: Gymnasium id with box actions.
        action_repeat: physics steps that one decision lasts.
    """

    def __init__(self, env: str, action_repeat: int) -> None:
        self._environment = Environment(env, action_repeat)
        task = self._environment.task
        self.observation_space = spaces.Box(-np.inf, np.inf, (task.observation_size,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (task.action_size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode; see `gymnasium.Env.reset`."""
        super().reset(seed=seed)
        return self._environment.reset(seed), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take one decision; see `gymnasium.Env.step`."""
        return *self._environment.step(action), {}

    def close(self) -> None:
        """Release the environment."""
        self._environment.close()


def evaluate(
    act: Callable[[Array], Array], environments: list[Environment], episodes: int, varied: bool = False
) -> list[float]:
    """Return the returns of `episodes` episodes, run side by side in `environments`.

    Args:
        act: observations (batch, observation_size) to actions (batch, action_size).
        environments: one an episode, at least.
        episodes: how many.
        varied: start with a random prefix; see `Environment.reset`.
    """
    lanes = environments[:episodes]
    seeds = [FIRST_EVALUATION_SEED + SEED_STRIDE * lane for lane in range(episodes)]
    observations = [lane.reset(seed, varied) for lane, seed in zip(lanes, seeds, strict=True)]
    returns = [0.0] * episodes
    running = list(range(episodes))
    while running:
        actions = act(np.stack([observations[lane] for lane in running]))
        for lane, action in zip(list(running), actions, strict=True):
            observations[lane], reward, terminated, truncated = lanes[lane].step(action)
            returns[lane] += reward
            if terminated or truncated:
                running.remove(lane)
    return returns


class _Evaluations(BaseCallback):
    """Evaluates the deterministic policy every so many frames; the time that takes is not training time."""

    def __init__(self, env: str, action_repeat: int, every: int, episodes: int, report: Callable[[dict], None]) -> None:
        super().__init__()
        self._environments = [Environment(env, action_repeat) for _ in range(episodes)]
        self._repeat, self._every, self._report = action_repeat, every, report
        self._next = every
        self._clocks = _clocks()
        self.points: list[dict[str, Any]] = []

    def returns(self, varied: bool = False) -> list[float]:
        """Evaluate the current policy."""

        def act(observations: Array) -> Array:
            return self.model.predict(observations, deterministic=True)[0]

        returns = evaluate(act, self._environments, len(self._environments), varied)
        return [round(value, 2) for value in returns]

    def _on_step(self) -> bool:
        frames = self.num_timesteps * self._repeat
        if frames >= self._next:
            self._next += self._every
            trained = _clocks()
            wall, cpu = trained - self._clocks
            self.points.append(
                {"frames": frames, "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1), "returns": self.returns()}
            )
            self._clocks += _clocks() - trained
            self._report(self.points[-1])
        return True


def _clocks() -> np.ndarray:
    """Wall-clock and processor seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def train_peer(
    name: str,
    env: str,
    action_repeat: int,
    seed: int,
    frames: int,
    every: int,
    episodes: int,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Train one algorithm with its library's default settings, on one thread.

    Args:
        name: one of `ALGORITHMS`.
        env: Gymnasium id with box actions.
        action_repeat: physics steps that one decision lasts.
        seed: of the training.
        frames: physics steps to train for.
        every: frames between evaluations.
        episodes: episodes an evaluation.
        report: called with every evaluation as it is made.

    Returns:
        ``points`` (frames, wall-clock and processor seconds of training so far, returns) and ``final_varied`` (returns
        from varied starts, of the last policy).
    """
    torch.set_num_threads(1)
    algorithm = ALGORITHMS[name]("MlpPolicy", PeerEnvironment(env, action_repeat), seed=seed, device="cpu")
    evaluations = _Evaluations(env, action_repeat, every, episodes, report)
    algorithm.learn(frames // action_repeat, callback=evaluations)
    return {"points": evaluations.points, "final_varied": evaluations.returns(varied=True)}
