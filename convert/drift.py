"""How far a target's imagination departs from the float model's, open loop, along recorded trajectories."""

from dataclasses import dataclass

import numpy as np

from nmbrl.convert.calibration import recorded_trajectories
from nmbrl.targets.interface import Array, Executor

# Decisions ahead that are quoted.
HORIZONS = (1, 5, 15, 50)
# Rollouts begin after every this many observed decisions.
STRIDE = 5


@dataclass(frozen=True)
class Drift:
    """Root mean square differences from the float model.

    Attributes:
        observation: of imagined observations after 1 to H decisions, over all dimensions, in standard deviations of the
            model's normalisation, (H,).
        reward: of the reward of that decision, in the environment's units, (H,).
        action: of the policy's output at the float model's beliefs.
        value: of the value at the float model's beliefs, in the environment's units.
    """

    observation: Array
    reward: Array
    action: float
    value: float

    def at(self, horizons: tuple[int, ...] = HORIZONS) -> dict[str, float]:
        """Return what is quoted, by name, with six significant digits; horizons beyond H are left out."""
        quoted = {
            f"observation_{ahead}": self.observation[ahead - 1] for ahead in horizons if ahead <= len(self.reward)
        }
        quoted |= {f"reward_{ahead}": self.reward[ahead - 1] for ahead in horizons if ahead <= len(self.reward)}
        return {name: float(f"{value:.6g}") for name, value in (quoted | vars(self)).items() if np.ndim(value) == 0}


class DriftMeter:
    """Compares executors with the float model on the same trajectories.

    An executor observes what was recorded, and from every `STRIDE`-th of its own beliefs imagines with the actions that
    were recorded. The float model does the same from its own.

    Args:
        reference: the float model.
        calibration: trajectories as `nmbrl.convert.calibration.compute_samples` takes them.
        horizon: decisions to imagine; at most half of what was recorded.

    Raises:
        NmbrlError: if the trajectories do not fit the model.
    """

    def __init__(self, reference: Executor, calibration: dict[str, np.ndarray], horizon: int = max(HORIZONS)) -> None:
        self._observations, self._actions = recorded_trajectories(reference, calibration)
        self._horizon = min(horizon, (self._actions.shape[1] + 1) // 2)
        self._std = np.asarray(reference.interface.normalisation.std, np.float32)
        self._beliefs = self._follow(reference)
        self._imagined = self._imagine(reference, self._beliefs)
        flat = self._beliefs.reshape(-1, self._beliefs.shape[-1])
        self._judged = reference.act(flat), reference.value(flat)

    def measure(self, executor: Executor) -> Drift:
        """Return how far an executor of the same interface departs."""
        observation, reward = self._imagine(executor, self._follow(executor))
        expected, expected_reward = self._imagined
        flat = self._beliefs.reshape(-1, self._beliefs.shape[-1])
        action, value = self._judged
        return Drift(
            observation=_rms((observation - expected) / self._std, (1, 2)),
            reward=_rms(reward - expected_reward, 1),
            action=float(_rms(executor.act(flat) - action)),
            value=float(_rms(executor.value(flat) - value)),
        )

    def _follow(self, executor: Executor) -> Array:
        """Beliefs (episodes, T + 1, state_size) along the recorded trajectories."""
        state = executor.reset(len(self._actions))
        action = np.zeros_like(self._actions[:, 0])
        states = []
        for step in range(self._observations.shape[1]):
            state = executor.observe(state, action, self._observations[:, step])
            states.append(state)
            action = self._actions[:, min(step, self._actions.shape[1] - 1)]
        return np.stack(states, 1)

    def _imagine(self, executor: Executor, beliefs: Array) -> tuple[Array, Array]:
        """Observations (H, rollouts, observation_size) and rewards (H, rollouts) imagined from beliefs."""
        starts = range(0, self._actions.shape[1] - self._horizon + 1, STRIDE)
        state = np.concatenate([beliefs[:, start] for start in starts])
        observations, rewards = [], []
        for ahead in range(self._horizon):
            actions = np.concatenate([self._actions[:, start + ahead] for start in starts])
            state, reward, _ = executor.imagine(state, actions)
            observations.append(executor.decode(state))
            rewards.append(reward)
        return np.stack(observations), np.stack(rewards)


def _rms(differences: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    return np.sqrt(np.mean(np.square(differences, dtype=np.float64), axis=axis))
