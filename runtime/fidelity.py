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


@dataclass(frozen=True)
class Imagination:
    """What a model imagines along recorded episodes, with the actions that were really taken.

    Attributes:
        starts: episode and decision that each rollout begins after.
        observations: after 1 to H decisions, of the rollouts that are not over by then (H; rollouts, observation_size).
        rewards: of that decision (H; rollouts).
    """

    starts: list[tuple[Episode, int]]
    observations: list[Array]
    rewards: list[Array]

    def going(self, ahead: int) -> list[tuple[Episode, int]]:
        """The rollouts that entry `ahead` of the lists is of."""
        return [(episode, start) for episode, start in self.starts if start + ahead < len(episode.actions)]


def imagine_along(
    executor: Executor, episodes: Sequence[Episode], states: Sequence[Array], horizon: int = max(HORIZONS)
) -> Imagination:
    """Imagine `horizon` decisions from every `ANCHOR_STRIDE`-th belief, with the actions that were really taken.

    Args:
        executor: what runs the model.
        episodes: recorded, of any policy, of at least one decision each.
        states: `beliefs` along them.
        horizon: decisions to imagine; where an episode ends earlier, so does the prediction.
    """
    starts = [(episode, start) for episode in episodes for start in range(0, len(episode.actions), ANCHOR_STRIDE)]
    imagined = Imagination(starts, [], [])
    state = np.concatenate([along[::ANCHOR_STRIDE] for along in states])
    for ahead in range(horizon):
        # Of those that were going on until now.
        kept = np.array([start + ahead < len(episode.actions) for episode, start in imagined.going(max(ahead - 1, 0))])
        if not kept.any():
            break
        action = np.stack([episode.actions[start + ahead] for episode, start in imagined.going(ahead)])
        state, reward, _ = executor.imagine(state[kept], action)
        imagined.observations.append(executor.decode(state))
        imagined.rewards.append(reward)
    return imagined


def open_loop_error(
    executor: Executor, episodes: Sequence[Episode], states: Sequence[Array], horizon: int = max(HORIZONS)
) -> OpenLoopError:
    """Measure how imagination departs from recorded episodes; arguments as of `imagine_along`."""
    return imagination_error(executor, imagine_along(executor, episodes, states, horizon))


def imagination_error(executor: Executor, imagined: Imagination) -> OpenLoopError:
    """Measure how imagination departs from the recorded episodes that it went along."""
    std = np.asarray(executor.interface.normalisation.std, np.float32)
    squares: list[tuple[Array, float, Array, int]] = []
    for ahead, (predicted, reward) in enumerate(zip(imagined.observations, imagined.rewards, strict=True)):
        going = imagined.going(ahead)
        first = np.stack([episode.observations[start] for episode, start in going])
        observed = np.stack([episode.observations[start + ahead + 1] for episode, start in going])
        rewarded = np.array([episode.rewards[start + ahead] for episode, start in going])
        squares.append(
            (
                np.mean(((predicted - observed) / std) ** 2, axis=0),
                float(np.mean((reward - rewarded) ** 2)),
                np.mean(((first - observed) / std) ** 2, axis=0),
                len(going),
            )
        )
    observation, reward_squares, still, samples = zip(*squares, strict=True)
    return OpenLoopError(
        np.sqrt(np.stack(observation)), np.sqrt(np.array(reward_squares)), np.sqrt(np.stack(still)), np.array(samples)
    )


def departure(imagined: Imagination, reference: Imagination, std: Array) -> tuple[Array, Array]:
    """Return how far one imagination is from another along the same episodes, by decisions ahead (H,), (H,).

    Root mean square over rollouts and dimensions: of observations in standard deviations, of rewards as they are.
    """
    pairs = zip(imagined.observations, reference.observations, strict=True)
    observations = [float(np.sqrt(np.mean(((ours - theirs) / std) ** 2))) for ours, theirs in pairs]
    rewards = zip(imagined.rewards, reference.rewards, strict=True)
    return np.array(observations), np.array([float(np.sqrt(np.mean((a - b) ** 2))) for a, b in rewards])


def _over_dimensions(errors: Array) -> Array:
    return np.sqrt(np.mean(errors**2, axis=1))
