"""Normalisation constants, measured on episodes."""

from collections.abc import Sequence

import numpy as np

from nmbrl.targets.interface import Array, Normalisation
from nmbrl.train.models.trainable import Scales

# Observations that never change get this standard deviation, in their own units.
SMALLEST_STD = 1e-3
# Imagination may leave the range of what was observed by this share of it.
MARGIN = 0.1


def measure(observations: Sequence[Array], rewards: Sequence[Array], action_repeat: int) -> Scales:
    """Measure the constants on whole episodes.

    Args:
        observations: of each episode, raw (length + 1, observation_size).
        rewards: of each episode (length,).
        action_repeat: frames in a decision. The reward's size is that of one unit a frame, doubled until it covers the
            largest reward seen, so that it rarely changes.
    """
    everything = np.concatenate(observations).astype(np.float64)
    std = np.maximum(everything.std(0), SMALLEST_STD)
    deltas = np.concatenate([np.diff(o.astype(np.float64), axis=0) for o in observations]) / std
    earned = np.concatenate(rewards)
    largest = float(np.abs(earned).max())
    reward = float(action_repeat)
    while reward < largest:
        reward *= 2
    mean = everything.mean(0)
    low, high = (everything.min(0) - mean) / std, (everything.max(0) - mean) / std
    margin = MARGIN * (high - low)
    return Scales(
        normalisation=Normalisation(mean=tuple(mean.tolist()), std=tuple(std.tolist())),
        delta=tuple(np.maximum(deltas.std(0), SMALLEST_STD).tolist()),
        reward=reward,
        low=tuple((low - margin).tolist()),
        high=tuple((high + margin).tolist()),
        reward_low=float(earned.min()),
        reward_high=float(earned.max()),
    )
