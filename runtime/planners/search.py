"""The search that CEM and MPPI share: imagine, weigh, fit, sample again, and keep the policy where it is better."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from nmbrl.runtime.planners.base import Planner, PlannerOptions
from nmbrl.runtime.planners.distributions import plan_distribution
from nmbrl.runtime.planners.imagination import imagine_plans
from nmbrl.targets.interface import Array, Executor


class Search(Planner):
    """Fits a distribution over action sequences to those that score well in imagination.

    A plan is what is added to the policy's own actions as the model unrolls (`PlannerOptions.deviation`): on a plant
    that is not stable, a sequence of actions that is a little off ends anywhere, the policy brings it back. Discrete
    actions, and a deviation of 0, are searched for as the sequences of actions themselves.

    The first iteration imagines the policy's own plan, noisy variants of it, and the last plan shifted by a decision;
    the search begins around whichever of the noiseless two scores better. After the last iteration its central plan is
    imagined once more, and its first action is taken only if it promises more than the policy's plan; so that on a good
    model a search never does worse than the policy. Subclasses say how a plan's score becomes its weight.
    """

    def __init__(self, executor: Executor, options: PlannerOptions | None = None) -> None:
        super().__init__(executor, options)
        task, deviation = executor.interface.task, self.options.deviation
        self._deviates = task.action_kind == "box" and deviation > 0
        update = {"std_start": deviation} if self._deviates else {}
        self._distribution = plan_distribution(task, self.options.model_copy(update=update))
        self._last: Array | None = None

    @abstractmethod
    def weigh(self, scores: Array) -> Array:
        """Weights (batch, elites) of the elites' `scores` (batch, elites), best first; they sum to 1 in each lane."""

    def reset(self, seeds: Sequence[int]) -> None:
        """See `Planner.reset`."""
        super().reset(seeds)
        self._last = None

    def keep(self, lanes: np.ndarray) -> None:
        """See `Planner.keep`."""
        super().keep(lanes)
        if self._last is not None:
            self._last = self._last[lanes]

    def decide(self, state: Array) -> Array:
        """See `Planner.decide`."""
        plans, scores, policy_action = self._propose(state)
        policy_plan, policy_score = plans[:, 0], scores[:, 0]
        spread = scores[:, : self.options.policy_samples].std(axis=1)
        distribution = self._distribution
        for _ in range(self.options.iterations - 1):
            elites, elite_scores = self._fit(plans, scores)
            fresh, fresh_scores, _ = self._imagine(state, distribution.sample(self.random, self.options.samples))
            plans = np.concatenate([elites, fresh], axis=1)
            scores = np.concatenate([elite_scores, fresh_scores], axis=1)
        self._fit(plans, scores)
        plan = distribution.mode()
        _, score, action = self._imagine(state, plan[:, None])
        follow = score[:, 0] > policy_score + self.options.margin * spread
        self._last = np.where(follow[:, None, None], plan, policy_plan)
        return np.where(follow[:, None], action, policy_action)

    def _imagine(self, state: Array, plans: Array, guided: np.ndarray | None = None) -> tuple[Array, Array, Array]:
        """Imagine plans (batch, samples, horizon, action_size).

        Args:
            state: (batch, state_size).
            plans: deviations, or sequences of actions.
            guided: of sequences, decisions that the policy takes; see `imagine_plans`.

        Returns:
            Plans of the same kind, with the policy's decisions in place in sequences; scores (batch, samples); first
            action of the first plan (batch, action_size).
        """
        if self._deviates:
            guided = np.ones(plans.shape[1:3], bool)
        taken, scores = imagine_plans(self.executor, state, plans, guided)
        return plans if self._deviates else taken, scores, taken[:, 0, 0]

    def _propose(self, state: Array) -> tuple[Array, Array, Array]:
        """Imagine the first samples: the policy's, then the last plan shifted, then draws around the better of the two.

        Returns:
            Plans (batch, samples, horizon, action_size), scores (batch, samples), the policy's action.
        """
        options, distribution = self.options, self._distribution
        count, horizon = options.policy_samples, options.horizon
        seeds = distribution.policy_noise(self.random, count)
        seeds[:, 0] = 0.0
        guided = np.ones((count, horizon), bool)
        if self._last is not None:
            # The decision that the shifted plan lacks at its end is the policy's.
            shifted = np.concatenate([self._last[:, 1:], np.zeros_like(self._last[:, :1])], axis=1)
            seeds = np.concatenate([seeds, shifted[:, None]], axis=1)
            guided = np.concatenate([guided, np.arange(horizon)[None] == horizon - 1])
        plans, scores, policy_action = self._imagine(state, seeds, guided)
        centre = plans[:, 0]
        if self._last is not None:
            centre = np.where((scores[:, -1] > scores[:, 0])[:, None, None], plans[:, -1], centre)
        distribution.centre(centre)
        drawn = distribution.sample(self.random, options.samples - plans.shape[1])
        drawn, drawn_scores, _ = self._imagine(state, drawn)
        return np.concatenate([plans, drawn], axis=1), np.concatenate([scores, drawn_scores], axis=1), policy_action

    def _fit(self, plans: Array, scores: Array) -> tuple[Array, Array]:
        """Fit the distribution to the elites; return them and their scores, best first."""
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.options.elites]
        elites = np.take_along_axis(plans, best[:, :, None, None], axis=1)
        elite_scores = np.take_along_axis(scores, best, axis=1)
        self._distribution.fit(elites, self.weigh(elite_scores))
        return elites, elite_scores
