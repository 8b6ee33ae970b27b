"""The inputs of every core function that a conversion calibrates and verifies on, made from a slice of real replay."""

from dataclasses import dataclass

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor
from nmbrl.train.deployed import DeployedModel, TorchExecutor

# Decisions that are imagined from a recorded state, and recorded states that are imagined from.
HORIZON = 15
STARTS = 64


@dataclass(frozen=True)
class Samples:
    """What the core functions see in a closed loop and in planning.

    Attributes:
        inputs: for every function of `Interface.functions`, arrays (samples, size) by input name, float32;
            observations are normalised.
        observed: number of leading samples whose state follows a recorded observation (all of ``observe``); the rest
            were reached by imagination.
    """

    inputs: dict[str, dict[str, Array]]
    observed: int


def compute_samples(model: DeployedModel, calibration: dict[str, np.ndarray], seed: int = 0) -> Samples:
    """Run the PyTorch model over recorded trajectories, teacher-forced, and imagine from what it then believed.

    Args:
        model: the float model.
        calibration: raw observations ``o`` (episodes, T + 1, observation_size) and actions ``a`` (episodes, T,
            action_size), where ``o[:, t + 1]`` follows ``a[:, t]``.
        seed: seed of the states imagined from and of the random actions.

    Returns:
        Teacher-forced samples, then imagined ones, of which a third follows the policy, a third the recorded actions
        and a third uniformly random ones, as a planner's first candidates do.

    Raises:
        NmbrlError: if the trajectories do not fit the model or are not finite.
    """
    executor = TorchExecutor(model)
    interface = executor.interface
    observations, actions = recorded_trajectories(executor, calibration)
    previous = np.concatenate([np.zeros_like(actions[:, :1]), actions], axis=1)
    states = [executor.reset(len(observations))]
    for t in range(observations.shape[1]):
        states.append(executor.observe(states[-1], previous[:, t], observations[:, t]))
    before, after = np.stack(states[:-1], axis=1), np.stack(states[1:-1], axis=1)
    imagined = _imagine(executor, after, actions, np.random.default_rng(seed))
    state = np.concatenate([_flat(after), imagined[0]])
    action = np.concatenate([_flat(actions), imagined[1]])
    normalised = interface.normalisation.normalise(_flat(observations))
    inputs = {
        "observe": {**interface.split(_flat(before)), "a": _flat(previous), "o": normalised},
        "imagine": {**interface.split(state), "a": action},
        **{function: interface.split(state) for function in ("act", "value", "decode")},
    }
    return Samples(
        inputs={
            function: {name: np.ascontiguousarray(array, np.float32) for name, array in inputs[function].items()}
            for function in interface.functions
        },
        observed=len(_flat(after)),
    )


def _flat(array: Array) -> Array:
    """(episodes, steps, size) -> (samples, size)."""
    return array.reshape(-1, array.shape[-1])


def recorded_trajectories(executor: Executor, calibration: dict[str, np.ndarray]) -> tuple[Array, Array]:
    """Return observations (episodes, T + 1, size) and actions (episodes, T, size) as float32, checked.

    Raises:
        NmbrlError: if they do not fit the executor's task or are not finite.
    """
    task = executor.interface.task
    try:
        observations, actions = (np.asarray(calibration[name], np.float32) for name in ("o", "a"))
    except KeyError as error:
        raise NmbrlError(f"the run's calibration.npz has no array {error}; train again") from error
    episodes, steps = actions.shape[:2] if actions.ndim == 3 else (0, 0)
    expected = (episodes, steps + 1, task.observation_size), (episodes, steps, task.action_size)
    if not episodes * steps or (observations.shape, actions.shape) != expected:
        raise NmbrlError(
            f"the run's calibration.npz does not fit the model: o is {observations.shape}, a is {actions.shape}, for "
            f"observations of size {task.observation_size} and actions of size {task.action_size}"
        )
    if not (np.isfinite(observations).all() and np.isfinite(actions).all()):
        raise NmbrlError("the run's calibration.npz holds values that are not finite; train again")
    return observations, actions


def _imagine(executor: Executor, states: Array, actions: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Imagine from random recorded states; return the states and actions of every step, the starts left out."""
    episodes, steps = actions.shape[:2]
    horizon = min(HORIZON, steps)
    episode = random.integers(episodes, size=STARTS)
    start = random.integers(steps - horizon + 1, size=STARTS)
    state = np.tile(states[episode, start], (3, 1))
    visited, taken = [], []
    for t in range(horizon):
        candidates = random.uniform(-1, 1, (STARTS, actions.shape[-1])).astype(np.float32)
        action = np.concatenate([executor.act(state[:STARTS]), actions[episode, start + t], candidates])
        action = executor.project_action(action)
        visited.append(state)
        taken.append(action)
        state, _, _ = executor.imagine(state, action)
    return np.concatenate(visited), np.concatenate(taken)
