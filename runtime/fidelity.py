"""How far a target departs from float on the same recorded episodes, and how far imagination departs from reality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmbrl.runtime.closed_loop import Episode
from nmbrl.targets.interface import Array, Executor

# Decisions that open-loop predictions are quoted at.
HORIZONS = (1, 5, 15, 50)
# Open-loop predictions begin after every this many observed decisions.
ANCHOR_STRIDE = 5


def beliefs(executor: Executor, episodes: Sequence[Episode]) -> list[Array]:
    """Return the beliefs (decisions, state_size) along each recorded episode, fed with what was seen and done then."""
    lengths = np.array([len(episode.actions) for episode in episodes])
    found: list[list[Array]] = [[] for _ in episodes]
    state = executor.reset(len(episodes))
    action = np.zeros((len(episodes), executor.interface.task.action_size), np.float32)
    lanes = np.arange(len(episodes))
    for decision in range(lengths.max()):
        going = lengths[lanes] > decision
        lanes, state, action = lanes[going], state[going], action[going]
        observation = np.stack([episodes[lane].observations[decision] for lane in lanes])
        state = executor.observe(state, action, observation)
        for lane, belief in zip(lanes, state, strict=True):
            found[lane].append(belief)
        action = np.stack([episodes[lane].actions[decision] for lane in lanes])
    return [np.stack(states) for states in found]


def policy_actions(executor: Executor, states: Sequence[Array]) -> Array:
    """Return the policy's valid actions (decisions, action_size) at beliefs, one episode after the other."""
    return executor.project_action(executor.act(np.concatenate(states)))


@dataclass(frozen=True)
class ActionError:
    """Difference between two policies on the same recorded episodes.

    Attributes:
        mean: mean absolute difference of box actions (which lie in [-1, 1]); for discrete ones, share of decisions
            that differ.
        largest: largest absolute difference.
        decisions: how many decisions were compared.
    """

    mean: float
    largest: float
    decisions: int


def action_error(actions: Array, reference: Array, discrete: bool) -> ActionError:
    """Compare actions (decisions, action_size), boxed or one-hot, with those of a reference on the same episodes."""
    difference = np.abs(actions - reference)
    if discrete:
        difference = difference.max(axis=1)
    return ActionError(float(difference.mean()), float(difference.max()), len(actions))


@dataclass(frozen=True)
class OpenLoopError:
    """Error of imagination against the real environment, after 1 to H decisions with the actions that were taken.

    Attributes:
        observation: root mean square error of each observation dimension, in units of its standard deviation in the
            model's normalisation, (H, observation_size).
        reward: root mean square error of the reward of that decision, in the environment's units, (H,).
        still: as `observation`, had one predicted that nothing changes, (H, observation_size).
        samples: predictions that each horizon's error is over, (H,).
    """

    observation: Array
    reward: Array
    still: Array
    samples: np.ndarray

    @property
    def overall(self) -> Array:
        """Root mean square of `observation` over all dimensions (H,)."""
        return _over_dimensions(self.observation)

    @property
    def overall_still(self) -> Array:
        """Root mean square of `still` over all dimensions (H,)."""
        return _over_dimensions(self.still)


def open_loop_error(
    executor: Executor, episodes: Sequence[Episode], states: Sequence[Array], horizon: int = max(HORIZONS)
) -> OpenLoopError:
    """Measure how imagination departs from recorded episodes.

    From every `ANCHOR_STRIDE`-th belief the model imagines `horizon` decisions with the actions that were really taken.

    Args:
        executor: what runs the model.
        episodes: recorded, of any policy, of at least one decision each.
        states: `beliefs` along them.
        horizon: decisions to imagine; where an episode ends earlier, so does the prediction.
    """
    anchors = [(episode, start) for episode in episodes for start in range(0, len(episode.actions), ANCHOR_STRIDE)]
    std = np.asarray(executor.interface.normalisation.std, np.float32)
    state = np.concatenate([along[::ANCHOR_STRIDE] for along in states])
    first = np.stack([episode.observations[start] for episode, start in anchors])
    squares: list[tuple[Array, float, Array, int]] = []
    for ahead in range(horizon):
        going = np.array([start + ahead < len(episode.actions) for episode, start in anchors])
        if not going.any():
            break
        anchors = [anchor for anchor, goes in zip(anchors, going, strict=True) if goes]
        state, first = state[going], first[going]
        action = np.stack([episode.actions[start + ahead] for episode, start in anchors])
        observed = np.stack([episode.observations[start + ahead + 1] for episode, start in anchors])
        rewarded = np.array([episode.rewards[start + ahead] for episode, start in anchors])
        state, reward, _ = executor.imagine(state, action)
        squares.append(
            (
                np.mean(((executor.decode(state) - observed) / std) ** 2, axis=0),
                float(np.mean((reward - rewarded) ** 2)),
                np.mean(((first - observed) / std) ** 2, axis=0),
                len(anchors),
            )
        )
    observation, reward_squares, still, samples = zip(*squares, strict=True)
    return OpenLoopError(
        np.sqrt(np.stack(observation)), np.sqrt(np.array(reward_squares)), np.sqrt(np.stack(still)), np.array(samples)
    )


def _over_dimensions(errors: Array) -> Array:
    return np.sqrt(np.mean(errors**2, axis=1))
