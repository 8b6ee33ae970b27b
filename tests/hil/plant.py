"""A plant with the small model's spaces: a damped mass that wanders, 30 steps an episode."""

from typing import ClassVar

import gymnasium
import numpy as np

from nmbrl.targets.interface import Task

BOX, DISCRETE = "nmbrl_tests/HilBox-v0", "nmbrl_tests/HilDiscrete-v0"


class Mass(gymnasium.Env):
    """Position, velocity and the last push; it is rewarded for staying where it is."""

    metadata: ClassVar = {"render_modes": []}

    def __init__(self, discrete=False, render_mode=None):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.action_space = gymnasium.spaces.Discrete(2) if discrete else box
        self.discrete = discrete

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 3)
        self.steps = 0
        self.pushes = []
        return self.state.copy(), {}

    def step(self, action):
        push = 2.0 * action - 1.0 if self.discrete else float(np.sum(action))
        self.pushes.append(push)
        position, velocity, _ = self.state
        velocity = 0.9 * velocity + 0.1 * push - 0.05 * position
        self.state = np.array([position + 0.2 * velocity, velocity, 0.1 * push])
        self.steps += 1
        return self.state.copy(), -float(self.state @ self.state), False, self.steps >= 30, {}


gymnasium.register(BOX, Mass, order_enforce=False, disable_env_checker=True)
gymnasium.register(DISCRETE, Mass, order_enforce=False, disable_env_checker=True, kwargs={"discrete": True})


def plant_for(task: Task) -> str:
    """The id of the plant with the task's kind of action."""
    return BOX if task.action_kind == "box" else DISCRETE
