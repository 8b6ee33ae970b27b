"""Environments and configurations small enough to train in a test."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from nmbrl.train.config import TrainingConfig

# Networks this small are slower on several threads.
torch.set_num_threads(1)

TINY: dict[str, Any] = {
    "env": "Pendulum-v1",
    "terminates": False,
    "frames": 120,
    "random_frames": 40,
    "environments": 2,
    "longest_episode": 10,
    "warmup_updates": 2,
    "updates_per_decision": 0.5,
    "calibration_episodes": 3,
    "checkpoint_seconds": 0,
    "evaluation": {"interval": 20, "episodes": 1, "process": False},
    "learner": {
        "hidden_size": 8,
        "width": 8,
        "batch_size": 4,
        "sequence_length": 5,
        "starts": 8,
        "horizon": 3,
    },
}


def tiny(**changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(TINY | changes)


class Corridor(gymnasium.Env):
    """Dict observations and discrete actions: walk right to end the episode; every step costs one."""

    observation_space = spaces.Dict({"where": spaces.Box(-10, 10, (2,)), "wall": spaces.Discrete(2)})
    action_space = spaces.Discrete(3)

    def __init__(self, broken: tuple[int, ...] = (), render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.broken = broken

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.where, self.steps = float(self.np_random.uniform(-1, 0)), 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        self.where += 0.25 * (action - 1)
        self.steps += 1
        return self._observe(), -1.0, self.where > 2.5, self.steps >= 30, {}

    def _observe(self) -> dict:
        where = np.nan if self.steps in self.broken else self.where
        return {"where": np.array([where, -where], np.float32), "wall": np.int64(self.where < -1)}


@pytest.fixture(scope="session", autouse=True)
def corridors() -> Iterator[None]:
    for name, broken in (("Corridor-v0", ()), ("BrokenCorridor-v0", (4, 5, 9))):
        gymnasium.register(name, entry_point=Corridor, kwargs={"broken": broken})
    yield
    for name in ("Corridor-v0", "BrokenCorridor-v0"):
        gymnasium.registry.pop(name)
