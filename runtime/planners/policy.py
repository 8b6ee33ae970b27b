"""The bare policy: no search."""

from nmbrl.runtime.planners.base import Planner
from nmbrl.targets.interface import Array


class Policy(Planner):
    """Takes the policy's mean action, or its likeliest one."""

    def decide(self, state: Array) -> Array:
        """See `Planner.decide`."""
        return self.executor.project_action(self.executor.act(state))
