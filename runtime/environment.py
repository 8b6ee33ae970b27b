"""A Gymnasium environment as the closed loop sees it: flat float32 observations, scaled actions, action repeat."""

import os
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Task

# Longest random prefix of a varied start, in physics steps (frames).
PREFIX_FRAMES = 100


class Environment:
    """One environment with actions in [-1, 1] (Box) or one-hot (Discrete), held for `action_repeat` physics steps.

    Args:
        env: Gymnasium id; DeepMind Control tasks are ``dm_control/<domain>-<task>-v0``.
        action_repeat: physics steps that one decision lasts.
        render: whether `render` will be called (RGB frames).
        wrap: puts something around the Gymnasium environment, or changes it, before it is used.
        **options: passed on to `gymnasium.make`.

    Raises:
        NmbrlError: if the id is unknown, a package is missing, or the spaces are not supported.
    """

    def __init__(
        self,
        env: str,
        action_repeat: int = 1,
        render: bool = False,
        wrap: Callable[[gymnasium.Env], gymnasium.Env] | None = None,
        **options: Any,
    ) -> None:
        self._env = _make(env, render, options)
        if wrap is not None:
            self._env = wrap(self._env)
        space = self._env.action_space
        if isinstance(space, spaces.Box):
            self._low, self._high = space.low.ravel(), space.high.ravel()
            if not np.all(np.isfinite(self._low) & np.isfinite(self._high)):
                raise NmbrlError(f"{env}: the action space has no finite bounds: {space}")
            action_size = int(self._low.size)
        elif isinstance(space, spaces.Discrete):
            action_size = int(space.n)
        else:
            raise NmbrlError(f"{env}: actions must be Box or Discrete, not {space}")
        observation = self._env.observation_space
        if not isinstance(observation, (spaces.Box, spaces.Dict)):
            raise NmbrlError(f"{env}: observations must be Box or Dict, not {observation}")
        self.task = Task(
            env=env,
            action_repeat=action_repeat,
            observation_size=int(spaces.flatdim(observation)),
            action_kind="box" if isinstance(space, spaces.Box) else "discrete",
            action_size=action_size,
        )
        self.frames = 0

    def reset(self, seed: int | None = None, varied: bool = False) -> Array:
        """Start an episode; return the observation (observation_size,).

        Args:
            seed: seed of the episode; None continues the environment's own random stream.
            varied: take up to `PREFIX_FRAMES` frames of uniformly random decisions first (drawn from `seed`), so that
                episodes differ where the native start hardly varies; the reward of that prefix is not scored.
        """
        observation, _ = self._env.reset(seed=seed)
        self.frames = 0
        if varied:
            random = np.random.default_rng(seed)
            for _ in range(random.integers(PREFIX_FRAMES // self.task.action_repeat + 1)):
                observation, _, terminated, truncated = self._repeat(self.random_action(random))
                if terminated or truncated:
                    observation, _ = self._env.reset()
                    self.frames = 0
        return self._flatten(observation)

    def step(self, action: Array) -> tuple[Array, float, bool, bool]:
        """Hold `action` (action_size,) for `action_repeat` frames, fewer if the episode ends.

        Returns:
            Observation (observation_size,), summed reward, terminated, truncated.
        """
        observation, reward, terminated, truncated = self._repeat(action)
        return self._flatten(observation), reward, terminated, truncated

    def random_action(self, random: np.random.Generator) -> Array:
        """Draw an action (action_size,) uniformly."""
        if self.task.action_kind == "discrete":
            return np.eye(self.task.action_size, dtype=np.float32)[random.integers(self.task.action_size)]
        return random.uniform(-1, 1, self.task.action_size).astype(np.float32)

    @property
    def plant(self) -> Any:
        """The Gymnasium environment below all wrappers."""
        return self._env.unwrapped

    def render(self) -> np.ndarray:
        """Return the current picture (height, width, 3), uint8."""
        return np.asarray(self._env.render())

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the flattened observation's dimensions: the entries of a Dict by their keys."""
        space = self._env.observation_space
        if not isinstance(space, spaces.Dict):
            return tuple(f"o[{index}]" for index in range(self.task.observation_size))
        sizes = {name: int(spaces.flatdim(part)) for name, part in space.spaces.items()}
        return tuple(name if size == 1 else f"{name}[{index}]" for name, size in sizes.items() for index in range(size))

    @property
    def seconds_per_decision(self) -> float:
        """Simulated time that one decision lasts, as far as the environment says (0.02 s a frame if it does not)."""
        plant: Any = self._env.unwrapped
        frame = getattr(plant, "dt", None) or 1 / plant.metadata.get("render_fps", 50)
        return float(frame) * self.task.action_repeat

    def close(self) -> None:
        """Release the environment."""
        self._env.close()

    def _repeat(self, action: Array) -> tuple[Any, float, bool, bool]:
        total = 0.0
        for _ in range(self.task.action_repeat):
            observation, reward, terminated, truncated, _ = self._env.step(self._native(action))
            total += float(reward)
            self.frames += 1
            if terminated or truncated:
                break
        return observation, total, terminated, truncated

    def _native(self, action: Array) -> Any:
        space = self._env.action_space
        if isinstance(space, spaces.Discrete):
            return int(space.start) + int(np.argmax(action))
        scaled = self._low + (np.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (self._high - self._low)
        return scaled.reshape(space.shape).astype(space.dtype)

    def _flatten(self, observation: Any) -> Array:
        flat = spaces.flatten(self._env.observation_space, observation)
        return np.asarray(flat, np.float32).ravel()


def _choose_renderer() -> None:
    """Without a display, have MuJoCo draw through EGL or OSMesa, whichever is installed."""
    if "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY"):
        installed = [name for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")) if find_library(library)]
        os.environ["MUJOCO_GL"] = installed[0] if installed else "off"


def _make(env: str, render: bool, options: dict[str, Any]) -> gymnasium.Env:
    _choose_renderer()
    if env.startswith("dm_control/"):
        try:
            import shimmy  # noqa: F401 - registers dm_control/* with Gymnasium
        except ModuleNotFoundError as error:
            raise NmbrlError(f"{env} needs {error.name}: pip install 'nmbrl[dm-control]'") from error
    try:
        return gymnasium.make(env, render_mode="rgb_array" if render else None, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise NmbrlError(f"{env} needs a package that is not installed: {error}") from error
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise NmbrlError(f"cannot make environment {env!r}: {str(error).splitlines()[0]}") from error


def check_task(expected: Task, environment: Environment) -> None:
    """Refuse an environment whose spaces differ from what a model was trained on.

    Raises:
        NmbrlError: naming each field that differs.
    """
    actual = environment.task
    differing: Sequence[str] = [
        f"{field} is {getattr(actual, field)}, the model's is {getattr(expected, field)}"
        for field in ("observation_size", "action_kind", "action_size")
        if getattr(actual, field) != getattr(expected, field)
    ]
    if differing:
        raise NmbrlError(f"{actual.env} does not fit the model: {'; '.join(differing)}")
