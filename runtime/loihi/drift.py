"""Whether a network that has run for long still computes what one without a past does."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nmbrl.runtime.environment import check_task
from nmbrl.runtime.perturbation import make_environment
from nmbrl.targets.interface import Array
from nmbrl.targets.loihi.executor import LoihiExecutor

# Every so many decisions are compared, and the comparisons summed up in so many rows.
EVERY = 10
ROWS = 10


def measure_drift(used: LoihiExecutor, fresh: LoihiExecutor, decisions: int, seed: int = 0) -> list[dict[str, Any]]:
    """Run a closed loop in one lane over many episodes, whose networks are never started anew.

    Args:
        used: runs the loop.
        fresh: the same model; its networks start anew for every comparison.
        decisions: how many.
        seed: of the first episode.

    Returns:
        Rows in order: ``first`` and ``last`` decision, ``mean`` and ``largest`` absolute difference of the two in all
        that ``observe`` and ``act`` give (units of the state and of the action).

    Raises:
        NmbrlError: if the environment does not fit.
    """
    differences = np.array(list(_differences(used, fresh, decisions, seed)))
    return [
        {
            "first": int(part[0]) * EVERY,
            "last": int(part[-1]) * EVERY,
            "mean": float(differences[part, 0].mean()),
            "largest": float(differences[part, 1].max()),
        }
        for part in np.array_split(np.arange(len(differences)), min(ROWS, len(differences)))
    ]


def _differences(used: LoihiExecutor, fresh: LoihiExecutor, decisions: int, seed: int) -> Iterator[tuple[float, float]]:
    task = used.interface.task
    environment = make_environment(task.env, task.action_repeat, {})
    check_task(task, environment)
    try:
        running = False
        for decision in range(decisions):
            if not running:
                observation = environment.reset(seed + decision)
                state, action = used.reset(1), np.zeros((1, task.action_size), np.float32)
            before, state = state, used.observe(state, action, observation[None])
            chosen = used.act(state)
            if decision % EVERY == 0:
                fresh.forget()
                expected = fresh.observe(before, action, observation[None])
                yield _difference(np.concatenate([state - expected, chosen - fresh.act(state)], axis=1))
            action = used.project_action(chosen)
            observation, _, terminated, truncated = environment.step(action[0])
            running = not (terminated or truncated)
    finally:
        environment.close()


def _difference(array: Array) -> tuple[float, float]:
    return float(np.abs(array).mean()), float(np.abs(array).max())
