"""Plants whose best behaviour is known in closed form, and their exact models as executors."""

from functools import cache
from typing import ClassVar

import gymnasium
import numpy as np

from nmbrl.targets.interface import Executor, Interface, Normalisation, Segment, Task

POINT_MASS = "nmbrl_tests/PointMass-v0"
DISCOUNT = 0.95
# A mass on a line: position and velocity after a step of 0.1 s, force in [-1, 1] N on 0.2 kg.
A = np.array([[1.0, 0.1], [0.0, 1.0]])
B = np.array([[0.0], [0.5]])
Q = np.diag([1.0, 0.1])
R = np.array([[0.1]])


@cache
def riccati() -> tuple[np.ndarray, np.ndarray]:
    """Gain K and cost-to-go P of the discounted linear-quadratic regulator: best action -K s, value -s'Ps."""
    p = Q
    for _ in range(500):
        k = np.linalg.solve(R + DISCOUNT * B.T @ p @ B, DISCOUNT * B.T @ p @ A)
        p = Q + DISCOUNT * A.T @ p @ (A - B @ k)
    return k, p


class PointMass(gymnasium.Env):
    """The linear-quadratic plant, 40 steps an episode, from a random start; `ends_outside` makes |x| > 2 terminal."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None, ends_outside=False):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)
        self.render_mode = render_mode
        self.ends_outside = ends_outside

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-0.5, 0.5, 2)
        self.steps = 0
        return self.state.copy(), {}

    def step(self, action):
        reward = -(self.state @ Q @ self.state + action @ R @ action)
        self.state = A @ self.state + B @ np.asarray(action, float)
        self.steps += 1
        return self.state.copy(), reward, bool(self.ends_outside and abs(self.state[0]) > 2), self.steps >= 40, {}

    def render(self):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, int(np.clip(32 + 16 * self.state[0], 0, 63))] = 255
        return picture


gymnasium.register(POINT_MASS, PointMass, order_enforce=False, disable_env_checker=True)


class PointMassModel(Executor):
    """The exact model of `PointMass`, its exact value, and a policy that is `skill` times the best gain.

    Sums are written out elementwise, so that a lane's result has the same bits whatever the batch.
    """

    def __init__(self, skill=1.0, value=True, task_env=POINT_MASS, action_repeat=1):
        task = Task(env=task_env, action_repeat=action_repeat, observation_size=2, action_kind="box", action_size=1)
        interface = Interface(
            architecture="exact",
            task=task,
            normalisation=Normalisation(mean=(0.0, 0.0), std=(1.0, 1.0), clip=100.0),
            state=(Segment(name="x", size=2),),
            aliases={"observe": {"x": "o"}, "decode": {"o": "x"}},
            terminates=False,
            discount=DISCOUNT,
            parameters=1,
        )
        super().__init__("exact", interface, {"imagine": 8, "act": 2, "value": 6})
        gain, self._cost_to_go = riccati()
        self._gain = np.float32(skill) * gain[0].astype(np.float32)
        self._value = value

    def call(self, function, inputs):
        x, v = inputs["x"][:, 0], inputs["x"][:, 1]
        if function == "act":
            return {"a": -(self._gain[0] * x + self._gain[1] * v)[:, None]}
        if function == "value":
            p = self._cost_to_go.astype(np.float32) * self._value
            return {"v": -(p[0, 0] * x * x + 2 * p[0, 1] * x * v + p[1, 1] * v * v)[:, None]}
        assert function == "imagine"
        a = inputs["a"][:, 0]
        reward = -(x * x + np.float32(0.1) * v * v + np.float32(0.1) * a * a)
        state = np.stack([x + np.float32(0.1) * v, v + np.float32(0.5) * a], axis=1)
        return {"x": state, "r": reward[:, None]}


class ChainModel(Executor):
    """Three discrete actions on a nonlinear map with a continue probability, for checks by enumeration."""

    def __init__(self):
        task = Task(env="none", action_repeat=1, observation_size=1, action_kind="discrete", action_size=3)
        interface = Interface(
            architecture="exact",
            task=task,
            normalisation=Normalisation(mean=(0.0,), std=(1.0,)),
            state=(Segment(name="x", size=1),),
            aliases={"observe": {"x": "o"}, "decode": {"o": "x"}},
            terminates=True,
            discount=0.9,
            parameters=1,
        )
        super().__init__("exact", interface, {})

    def call(self, function, inputs):
        x = inputs["x"]
        if function == "act":
            return {"a": np.concatenate([x, np.zeros_like(x), -x], axis=1)}
        if function == "value":
            return {"v": np.cos(3 * x)}
        push = inputs["a"] @ np.array([[-0.7], [0.1], [0.6]], np.float32)
        moved = (np.sin(2 * x) + push).astype(np.float32)
        return {"x": moved, "r": np.sin(5 * moved), "c": 1 / (1 + np.exp(3 * moved - 2))}
