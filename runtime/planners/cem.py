"""The cross-entropy method."""

import numpy as np

from nmbrl.runtime.planners.search import Search
from nmbrl.targets.interface import Array


class CEM(Search):
    """Cross-entropy method (Rubinstein, 1999; as a planner Chua et al., 2018): all elites weigh the same."""

    def weigh(self, scores: Array) -> Array:
        """See `Search.weigh`."""
        return np.full_like(scores, 1.0 / scores.shape[1])
