"""Putting a plant into the pose that an observation tells of, so that a prediction can be drawn.

An observation is no state: a pole's angle is seen as its cosine and sine. The state that would be observed so is found
by Levenberg-Marquardt steps from a state nearby. Three kinds of plants can be posed: DeepMind Control's,
Gymnasium's MuJoCo environments, and those of Gymnasium's classic control that keep their state in ``state``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from nmbrl.runtime.environment import Environment
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array

STEP = 1e-5
ITERATIONS = 12


class Plant(ABC):
    """A plant whose state can be read, set and observed as flat vectors."""

    @abstractmethod
    def get(self) -> np.ndarray:
        """Return the state."""

    @abstractmethod
    def set(self, state: np.ndarray) -> None:
        """Take on a state."""

    @abstractmethod
    def observe(self) -> np.ndarray:
        """Return what is observed of the state."""


class DmControlPlant(Plant):
    """A task of DeepMind Control."""

    def __init__(self, plant: Any) -> None:
        self._physics, self._task = plant.physics, plant.task if hasattr(plant, "task") else plant._env.task
        self._space: spaces.Dict = plant.observation_space

    def get(self) -> np.ndarray:
        """See `Plant`."""
        return self._physics.get_state().copy()

    def set(self, state: np.ndarray) -> None:
        """See `Plant`."""
        self._physics.set_state(state)
        self._physics.forward()

    def observe(self) -> np.ndarray:
        """See `Plant`."""
        seen = {name: np.asarray(value) for name, value in self._task.get_observation(self._physics).items()}
        return np.concatenate([np.ravel(seen[name]) for name in self._space.spaces]).astype(float)


class MujocoPlant(Plant):
    """One of Gymnasium's MuJoCo environments."""

    def __init__(self, plant: Any) -> None:
        self._plant = plant

    def get(self) -> np.ndarray:
        """See `Plant`."""
        return np.concatenate([self._plant.data.qpos, self._plant.data.qvel])

    def set(self, state: np.ndarray) -> None:
        """See `Plant`."""
        positions = self._plant.model.nq
        self._plant.set_state(state[:positions], state[positions:])

    def observe(self) -> np.ndarray:
        """See `Plant`."""
        return np.ravel(self._plant._get_obs()).astype(float)


class ClassicPlant(Plant):
    """One of Gymnasium's classic-control environments, or any that keeps all of its state in ``state``."""

    def __init__(self, plant: Any) -> None:
        self._plant = plant

    def get(self) -> np.ndarray:
        """See `Plant`."""
        return np.array(self._plant.state, float)

    def set(self, state: np.ndarray) -> None:
        """See `Plant`."""
        self._plant.state = np.array(state)

    def observe(self) -> np.ndarray:
        """See `Plant`."""
        look = getattr(self._plant, "_get_obs", None) or getattr(self._plant, "_get_ob", None)
        return np.ravel(look() if look is not None else self._plant.state).astype(float)


def find_plant(environment: Environment) -> Plant:
    """Return the plant of an environment that was reset.

    Raises:
        NmbrlError: if it is of no kind that can be posed.
    """
    plant = environment.plant
    kinds: tuple[tuple[str, Callable[[Any], Plant]], ...] = (
        ("physics", DmControlPlant),
        ("set_state", MujocoPlant),
        ("state", ClassicPlant),
    )
    for attribute, kind in kinds:
        if hasattr(plant, attribute):
            found = kind(plant)
            if found.observe().size == environment.task.observation_size:
                return found
    raise NmbrlError(f"{environment.task.env} cannot be put into a predicted pose")


def pose(plant: Plant, observation: Array, start: np.ndarray) -> np.ndarray:
    """Put a plant into the state, near `start`, that is observed most nearly so; return that state."""
    goal = np.asarray(observation, float)
    state, damping = np.array(start, float), 1e-3
    plant.set(state)
    residual = plant.observe() - goal
    for _ in range(ITERATIONS):
        jacobian = np.stack([_slope(plant, state, axis, residual + goal) for axis in range(len(state))], axis=1)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * np.eye(len(state)), jacobian.T @ residual)
        plant.set(state - step)
        tried = plant.observe() - goal
        if tried @ tried < residual @ residual:
            state, residual, damping = state - step, tried, damping / 3
            if np.abs(step).max() < STEP:
                break
        else:
            damping *= 10
    plant.set(state)
    return state


def _slope(plant: Plant, state: np.ndarray, axis: int, seen: np.ndarray) -> np.ndarray:
    moved = state.copy()
    moved[axis] += STEP
    plant.set(moved)
    return (plant.observe() - seen) / STEP
