"""Model predictive path integral control."""

import numpy as np

from nmbrl.runtime.planners.search import Search
from nmbrl.targets.interface import Array


class MPPI(Search):
    """Model predictive path integral control (Williams et al., 2015; with elites as in TD-MPC2, Hansen et al., 2024).

    Elites weigh by ``exp((score - best) / (temperature * spread))``, where the spread is the standard deviation of the
    elites' scores, so that a temperature means the same whatever the scale of the rewards.
    """

    def weigh(self, scores: Array) -> Array:
        """See `Search.weigh`."""
        spread = np.maximum(scores.std(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        weights = np.exp((scores - scores[:, :1]) / (np.float32(self.options.temperature) * spread))
        return weights / weights.sum(axis=1, keepdims=True)
