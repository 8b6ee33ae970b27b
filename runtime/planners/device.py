"""The planners of `runtime/c` in NumPy: the same float32 operations in the same order, so the same actions.

They are the definition that the C code is tested against, bit for bit, and they run on any executor; on a C bundle
`Native` runs the C code itself. Search and options are those of `nmbrl.runtime.planners.search`; random numbers are a
function of seed, decision, purpose and sample (`philox`), and sums run over samples in order.
"""

from collections.abc import Sequence

import numpy as np

from nmbrl.runtime.planners.base import Planner, PlannerOptions
from nmbrl.runtime.planners.device_math import exp, gumbel, log, normal, philox, uniform
from nmbrl.runtime.planners.imagination import imagine_plans
from nmbrl.targets.interface import Array, Executor

POLICY_NOISE, DRAWS = 0, 1
SMALLEST = np.finfo(np.float32).tiny
LEAST_PROBABILITY = np.float32(2.0**-100)


class DevicePlanner(Planner):
    """CEM, MPPI or shooting as a device computes them.

    Args:
        executor: what runs the model.
        method: ``shooting``, ``cem`` or ``mppi``.
        options: what the search may spend.
    """

    def __init__(self, executor: Executor, method: str, options: PlannerOptions | None = None) -> None:
        super().__init__(executor, options)
        self.method = method
        self._lanes: list[_Lane] = []

    def reset(self, seeds: Sequence[int]) -> None:
        """See `Planner.reset`."""
        super().reset(seeds)
        self._lanes = [_Lane(self, seed) for seed in seeds]

    def keep(self, lanes: np.ndarray) -> None:
        """See `Planner.keep`."""
        super().keep(lanes)
        self._lanes = [lane for lane, kept in zip(self._lanes, lanes, strict=True) if kept]

    def decide(self, state: Array) -> Array:
        """See `Planner.decide`."""
        return np.stack([lane.decide(row[None]) for lane, row in zip(self._lanes, state, strict=True)])


class _Lane:
    """One episode: what ``nmbrl_planner`` is in C."""

    def __init__(self, planner: DevicePlanner, seed: int) -> None:
        self.executor = planner.executor
        self.options = planner.options
        self.method = planner.method
        self.discrete = planner.executor.interface.task.action_kind == "discrete"
        self.seed = seed
        self.decisions = 0
        self.last: Array | None = None
        self.shape = self.options.horizon, self.executor.interface.task.action_size

    def decide(self, state: Array) -> Array:
        """Decide for a state (1, state_size)."""
        action = self.shoot(state) if self.method == "shooting" else self.search(state)
        self.decisions += 1
        return action

    def words(self, purpose: int, samples: range) -> np.ndarray:
        """Random words (samples, horizon, action_size)."""
        count = self.shape[0] * self.shape[1]
        blocks = -(-count // 4)
        sample, block = np.meshgrid(np.asarray(samples, np.uint32), np.arange(blocks, dtype=np.uint32), indexing="ij")
        counters = np.stack([block, sample, np.full_like(block, purpose), np.full_like(block, self.decisions)], axis=-1)
        words = philox(self.seed, counters).reshape(len(samples), -1)
        return words[:, :count].reshape(len(samples), *self.shape)

    def correlated(self, purpose: int, samples: range) -> Array:
        """Normal noise, correlated between successive decisions."""
        noise = normal(self.words(purpose, samples))
        correlation = np.float32(self.options.correlation)
        fresh = np.sqrt(np.float32(1) - correlation * correlation)
        for t in range(1, self.shape[0]):
            noise[:, t] = noise[:, t] * fresh + correlation * noise[:, t - 1]
        return noise

    def policy_noise(self, samples: range) -> Array:
        """What makes policy samples differ."""
        if self.discrete:
            return gumbel(self.words(POLICY_NOISE, samples))
        return np.float32(self.options.std_start) * self.correlated(POLICY_NOISE, samples)

    def draw(self, purpose: int, samples: range) -> Array:
        """Valid plans from the distribution."""
        if self.discrete:
            logarithm = log(np.maximum(self.mean, LEAST_PROBABILITY))
            return self.executor.project_action(logarithm + gumbel(self.words(purpose, samples)))
        return self.executor.project_action(self.mean + self.std * self.correlated(purpose, samples))

    def centre(self, plan: Array) -> None:
        """Start the search around a plan."""
        if self.discrete:
            size = np.float32(self.shape[1])
            self.mean = np.float32(0.5) * plan + np.float32(0.5) / size
        else:
            self.mean, self.std = plan, np.full_like(plan, self.options.std_start)

    def fit(self, plans: Array, scores: Array) -> tuple[Array, Array]:
        """Fit the distribution to the best plans; return them and their scores, best first."""
        best = np.argsort(-scores, kind="stable")[: self.options.elites]
        elites, elite_scores = plans[best], scores[best]
        weights = self.weigh(elite_scores)
        mean = np.zeros(self.shape, np.float32)
        for weight, plan in zip(weights, elites, strict=True):
            mean = mean + weight * plan
        floor = np.float32(self.options.std_floor)
        if self.discrete:
            self.mean = (np.float32(1) - floor) * mean + floor / np.float32(self.shape[1])
        else:
            variance = np.zeros(self.shape, np.float32)
            for weight, plan in zip(weights, elites, strict=True):
                variance = variance + weight * ((plan - mean) * (plan - mean))
            self.mean, self.std = mean, np.maximum(np.sqrt(variance), floor)
        return elites, elite_scores

    def weigh(self, scores: Array) -> Array:
        """Weights of the elites, best first."""
        if self.method == "cem":
            return np.full_like(scores, np.float32(1) / np.float32(len(scores)))
        spread = np.maximum(deviation(scores), SMALLEST)
        weights = exp((scores - scores[0]) / (np.float32(self.options.temperature) * spread))
        return weights / ordered_sum(weights)

    def search(self, state: Array) -> Array:
        """Decide by CEM or MPPI."""
        options = self.options
        plans, scores = self.propose(state)
        policy_plan, policy_score = plans[0], scores[0]
        spread = deviation(scores[: options.policy_samples])
        for iteration in range(1, options.iterations):
            elites, elite_scores = self.fit(plans, scores)
            fresh = self.draw(DRAWS + iteration, range(options.samples))
            plans = np.concatenate([elites, fresh])
            scores = np.concatenate([elite_scores, self.imagine(state, fresh)[1]])
        self.fit(plans, scores)
        plan = self.executor.project_action(self.mean) if self.discrete else self.mean
        _, score = self.imagine(state, plan[None])
        follow = score[0] > policy_score + np.float32(options.margin) * spread
        self.last = plan if follow else policy_plan
        return self.last[0]

    def propose(self, state: Array) -> tuple[Array, Array]:
        """Imagine the first samples: the policy's, the last plan shifted, draws around the better of the two."""
        count, horizon = self.options.policy_samples, self.options.horizon
        seeds = self.policy_noise(range(count))
        seeds[0] = 0
        guided = np.ones((count, horizon), bool)
        if self.last is not None:
            shifted = np.concatenate([self.last[1:], np.zeros_like(self.last[:1])])
            seeds = np.concatenate([seeds, shifted[None]])
            guided = np.concatenate([guided, np.arange(horizon)[None] == horizon - 1])
        plans, scores = self.imagine(state, seeds, guided)
        better = self.last is not None and scores[-1] > scores[0]
        self.centre(plans[-1 if better else 0])
        # The place of the last plan is kept for it.
        drawn = self.draw(DRAWS, range(count + 1, self.options.samples))
        return np.concatenate([plans, drawn]), np.concatenate([scores, self.imagine(state, drawn)[1]])

    def shoot(self, state: Array) -> Array:
        """Decide by random shooting."""
        draws = uniform(self.words(DRAWS, range(self.options.samples)))
        plans, scores = self.imagine(state, self.executor.project_action(draws))
        return plans[scores.argmax(), 0]

    def imagine(self, state: Array, plans: Array, guided: np.ndarray | None = None) -> tuple[Array, Array]:
        """Plans as taken and their scores (n,)."""
        taken, scores = imagine_plans(self.executor, state, plans[None], guided)
        return taken[0], scores[0]


def ordered_sum(values: Array) -> np.float32:
    """Sum in order, as a loop does."""
    total = np.float32(0)
    for value in values:
        total = np.float32(total + value)
    return total


def deviation(scores: Array) -> np.float32:
    """Standard deviation, summed in order."""
    count = np.float32(len(scores))
    distance = scores - ordered_sum(scores) / count
    return np.sqrt(ordered_sum(distance * distance) / count)
