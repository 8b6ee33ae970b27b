"""The world model against the real environment, and a target's against float's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.fidelity import Imagination, beliefs, departure, imagination_error, imagine_along, policy_actions
from nmbrl.runtime.report.document import Prediction
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor

# Digits that a long list of numbers keeps; what they are is known to far fewer.
DIGITS = 5
# Decisions of the traced episode before its open-loop prediction begins, at most.
ANCHOR = 10


@dataclass(frozen=True)
class Followed:
    """What one executor makes of the recorded episodes: it observes them, acts, values and imagines.

    Attributes:
        states: beliefs along each episode.
        actions: the policy's, at all beliefs.
        values: at all beliefs.
        imagined: open loop.
    """

    states: list[Array]
    actions: Array
    values: Array
    imagined: Imagination

    @property
    def numbers(self) -> Array:
        """Everything that it computed, in one row."""
        parts = (*self.states, self.actions, self.values, *self.imagined.observations, *self.imagined.rewards)
        return np.concatenate([np.ravel(part) for part in parts])


def follow(executor: Executor, episodes: list[Episode]) -> Followed:
    """Feed an executor with recorded episodes.

    Raises:
        NmbrlError: if it predicts something that is not a finite number.
    """
    states = beliefs(executor, episodes)
    followed = Followed(
        states=states,
        actions=policy_actions(executor, states),
        values=executor.value(np.concatenate(states)),
        imagined=imagine_along(executor, episodes, states),
    )
    if not np.isfinite(followed.numbers).all():
        raise NmbrlError("it predicts something that is not a finite number: its weights are unusable")
    return followed


def predict(
    executor: Executor, episodes: list[Episode], followed: Followed, reference: Followed | None, traced: int
) -> Prediction:
    """Measure an executor's predictions.

    Args:
        executor: what runs the model.
        episodes: recorded.
        followed: what it made of them.
        reference: what float made of them; None without float.
        traced: the episode of which predictions are kept to be shown.
    """
    std = np.asarray(executor.interface.normalisation.std, np.float32)
    error = imagination_error(executor, followed.imagined)
    departed = departed_reward = np.zeros(0, np.float32)
    departs_after = None
    if reference is not None:
        departed, departed_reward = departure(followed.imagined, reference.imagined, std)
        beyond = np.flatnonzero(departed > imagination_error(executor, reference.imagined).overall)
        departs_after = int(beyond[0]) + 1 if len(beyond) else None
    steps = [_one_step(executor, e, states) for e, states in zip(episodes, followed.states, strict=True)]
    real = [np.stack(episode.observations[1:]) for episode in episodes]
    one_step = np.concatenate([(seen - now) / std for (seen, _), now in zip(steps, real, strict=True)])
    imagined, rewards = _from_anchor(executor, episodes[traced], followed.states[traced])
    return Prediction(
        observation=rounded(error.overall),
        dimensions=matrix(error.observation),
        reward=rounded(error.reward),
        still=rounded(error.overall_still),
        samples=tuple(error.samples.tolist()),
        one_step=rounded(np.sqrt(np.mean(one_step**2, axis=0))),
        departure=rounded(departed),
        departure_reward=rounded(departed_reward),
        departs_after=departs_after,
        imagined=matrix(imagined),
        imagined_rewards=rounded(rewards),
        followed=matrix(steps[traced][0]),
        followed_rewards=rounded(steps[traced][1]),
    )


def anchor(episode: Episode) -> int:
    """The decision of an episode after which its shown open-loop prediction sees nothing more."""
    return min(ANCHOR, len(episode.actions) // 4)


def reanchored(executor: Executor, episode: Episode, every: int) -> Array:
    """Return imagined observations (decisions, observation_size) that see the real one every so many decisions."""
    states = beliefs(executor, [episode])[0]
    state, predicted = states[:1], []
    for decision, action in enumerate(episode.actions):
        if decision % every == 0:
            state = states[decision : decision + 1]
        state, _, _ = executor.imagine(state, action[None])
        predicted.append(executor.decode(state)[0])
    return np.stack(predicted)


def rounded(values: ArrayLike) -> tuple[float, ...]:
    """Numbers with `DIGITS` significant digits."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in np.asarray(values, float))


def matrix(values: Sequence[ArrayLike] | np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Rows of numbers with `DIGITS` significant digits."""
    return tuple(rounded(row) for row in values)


def _one_step(executor: Executor, episode: Episode, states: Array) -> tuple[Array, Array]:
    state, reward, _ = executor.imagine(states, np.stack(episode.actions))
    return executor.decode(state), reward


def _from_anchor(executor: Executor, episode: Episode, states: Array) -> tuple[Array, Array]:
    first = anchor(episode)
    state, observations, rewards = states[first : first + 1], [], []
    for action in episode.actions[first:]:
        state, reward, _ = executor.imagine(state, action[None])
        observations.append(executor.decode(state)[0])
        rewards.append(reward[0])
    return np.stack(observations), np.array(rewards)
