"""Random shooting."""

import numpy as np

from nmbrl.runtime.planners.base import Planner
from nmbrl.runtime.planners.imagination import imagine_plans
from nmbrl.targets.interface import Array


class Shooting(Planner):
    """Imagines uniformly random sequences and takes the first action of the best; it never asks the policy."""

    def decide(self, state: Array) -> Array:
        """See `Planner.decide`."""
        task, options = self.executor.interface.task, self.options
        shape = (options.samples, options.horizon, task.action_size)
        draws = np.stack([random.uniform(-1, 1, shape) for random in self.random]).astype(np.float32)
        # The largest of equally distributed numbers is a uniformly drawn action where actions are discrete.
        plans, scores = imagine_plans(self.executor, state, self.executor.project_action(draws))
        best = scores.argmax(axis=1)
        return plans[np.arange(len(plans)), best, 0]
