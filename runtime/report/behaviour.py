"""What controllers did: the episodes that are shown, their traces, and which states were visited how often."""

from collections.abc import Sequence

import numpy as np

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.report.document import Behaviour, Shown, Trace
from nmbrl.runtime.report.world import matrix, rounded
from nmbrl.targets.interface import Array

# Bins of a histogram of visited states; they span all but this share of visits at either end, which go to the ends.
VISIT_BINS = 30
TAIL = 0.001


def choose_episodes(loops: Sequence[Sequence[Episode]]) -> tuple[int, int]:
    """Return the episodes that are typical and worst by their mean return over all rows (native and varied alike).

    Args:
        loops: the same episodes of every row.
    """
    means = np.mean([[episode.total for episode in loop] for loop in loops], axis=0)
    return int(np.argsort(means, kind="stable")[len(means) // 2]), int(np.argmin(means))


def describe(episode: Episode, because: str) -> Shown:
    """Name an episode and why it is shown."""
    return Shown(seed=episode.seed, varied=episode.varied, because=because)


def visit_bins(loops: Sequence[Sequence[Episode]]) -> Array:
    """Return edges (dimensions, bins + 1) that histograms of all rows share."""
    seen = np.concatenate([_observations(loop) for loop in loops])
    low, high = np.quantile(seen, [TAIL, 1 - TAIL], axis=0)
    return np.linspace(low, np.where(high > low, high, low + 1), VISIT_BINS + 1, axis=1)


def behave(loop: Sequence[Episode], typical: int, worst: int, bins: Array) -> Behaviour:
    """Describe a closed loop.

    Args:
        loop: its episodes.
        typical: index of the typical one.
        worst: index of the worst one.
        bins: edges of histograms.
    """
    seen = _observations(loop)
    visits = [
        np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(seen)
        for values, edges in zip(seen.T, bins, strict=True)
    ]
    return Behaviour(typical=_trace(loop[typical]), worst=_trace(loop[worst]), visits=matrix(np.array(visits)))


def _observations(loop: Sequence[Episode]) -> Array:
    return np.concatenate([np.stack(episode.observations[:-1]) for episode in loop]).astype(np.float64)


def _trace(episode: Episode) -> Trace:
    return Trace(
        actions=matrix(np.stack(episode.actions)),
        rewards=rounded(np.array(episode.rewards)),
        returned=episode.total,
    )
