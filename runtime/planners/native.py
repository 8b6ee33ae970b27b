"""Planners that run where the model runs: a C bundle brings its own."""

from collections.abc import Sequence

import numpy as np

from nmbrl.runtime.planners.base import Planner, PlannerOptions
from nmbrl.targets.c import CExecutor
from nmbrl.targets.c_planner import CPlanner, model_calls
from nmbrl.targets.interface import Array


class Native(Planner):
    """The planner of `runtime/c`, one a lane; it chooses what the device chooses.

    Args:
        executor: an opened C bundle.
        method: ``policy``, ``shooting``, ``cem`` or ``mppi``.
        options: what the search may spend.

    Raises:
        NmbrlError: if the C code refuses the options.
    """

    def __init__(self, executor: CExecutor, method: str, options: PlannerOptions | None = None) -> None:
        super().__init__(executor, options)
        self.options.check_device()
        self._open = lambda: executor.open_planner(method, self.options.model_dump())
        self._quantise = executor.quantise_state
        self._calls = {warm: model_calls(method, self.options.model_dump(), warm) for warm in (False, True)}
        self._warm = False
        self._open()  # so that options out of range show now
        self._lanes: list[CPlanner] = []

    def reset(self, seeds: Sequence[int]) -> None:
        """See `Planner.reset`."""
        super().reset(seeds)
        self._lanes = [self._open() for _ in seeds]
        self._warm = False
        for lane, seed in zip(self._lanes, seeds, strict=True):
            lane.reset(seed)

    def keep(self, lanes: np.ndarray) -> None:
        """See `Planner.keep`."""
        super().keep(lanes)
        self._lanes = [lane for lane, kept in zip(self._lanes, lanes, strict=True) if kept]

    def decide(self, state: Array) -> Array:
        """See `Planner.decide`."""
        actions = []
        for lane, belief in zip(self._lanes, self._quantise(state), strict=True):
            lane.belief[:] = belief
            actions.append(lane.plan())
        for function, calls in self._calls[self._warm].items():
            self.executor.counts[function] += calls * len(state)
        self._warm = True
        return np.stack(actions)
