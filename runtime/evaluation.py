"""What a model with a planner achieves on its task, and what that costs: the figures behind `nmbrl-run` and reports."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import numpy as np

from nmbrl.runtime.closed_loop import Episode, Progress, run_episodes, time_decisions
from nmbrl.runtime.environment import Environment, check_task
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.interface import Array, Executor

# The k-th episode's seed is the first one's plus k times this, so that neighbouring seeds share no episode.
SEED_STRIDE = 1000
# Lanes that run in lock step: as many as keep an imagined batch in the cache.
LANES = 40
RESAMPLES = 10_000
PACKAGES = (
    "nmbrl",
    "numpy",
    "gymnasium",
    "dm-control",
    "mujoco",
    "torch",
    "onnxruntime",
    "tflite-micro",
    "tflite-runtime",
    "lava-nc",
)


@dataclass
class Evaluation:
    """Episodes from the native and from varied starts, and what a decision costs.

    Attributes:
        target: name of what executed the model.
        planner: name of the planner.
        env: id of the environment.
        action_repeat: physics steps that a decision lasts.
        seed: of the first episode.
        perturbation: changes to the plant, by name.
        native: episodes from the environment's own start.
        varied: episodes with a random prefix.
        decision_ms: wall-clock milliseconds of decisions for a single lane on this machine.
        counts: calls of each function, and whatever the target counts besides, for one decision.
        messages: of one call of each function by step and neuron, of a network of neurons that was freshly opened.
    """

    target: str
    planner: str
    env: str
    action_repeat: int
    seed: int
    perturbation: dict[str, float]
    native: list[Episode]
    varied: list[Episode]
    decision_ms: Array
    counts: dict[str, float]
    messages: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def returns(self) -> Array:
        """Returns of the native episodes."""
        return np.array([episode.total for episode in self.native])

    @property
    def returns_varied(self) -> Array:
        """Returns of the varied episodes, over what follows the random prefix."""
        return np.array([episode.total for episode in self.varied])

    def to_json(self) -> dict[str, Any]:
        """The figures as `nmbrl-run --json` writes them (DESIGN.md, "Commands")."""
        returns, varied = self.returns, self.returns_varied
        return {
            "target": self.target,
            "planner": self.planner,
            "env": self.env,
            "action_repeat": self.action_repeat,
            "seed": self.seed,
            "episodes": len(self.native),
            "perturbation": self.perturbation,
            "returns": returns.tolist(),
            "returns_varied": varied.tolist(),
            "actions": [episode.actions_as_lists() for episode in self.native],
            "actions_varied": [episode.actions_as_lists() for episode in self.varied],
            "mean_return": float(returns.mean()),
            "mean_return_varied": float(varied.mean()),
            "interval": confidence_interval(returns),
            "interval_varied": confidence_interval(varied),
            "interval_method": f"95 %, percentile bootstrap of the mean over episodes, {RESAMPLES} resamples",
            "decision_ms": {
                "median": float(np.median(self.decision_ms)),
                "p95": float(np.percentile(self.decision_ms, 95)),
                "max": float(self.decision_ms.max()),
                "measured": len(self.decision_ms),
            },
            "counts_per_decision": self.counts,
            "frames": sum(episode.frames for episode in self.native + self.varied),
            "versions": versions(),
        }


def evaluate(
    executor: Executor,
    planner: str = "policy",
    episodes: int = 20,
    seed: int = 0,
    env: str | None = None,
    options: Mapping[str, Any] | None = None,
    perturbation: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a model closed loop with a planner, from native and from varied starts, and time its decisions.

    Args:
        executor: what runs the model.
        planner: a name in `PLANNERS`.
        episodes: episodes of each kind of start.
        seed: of the first episode; the k-th has ``seed + 1000 k``, whatever the target, so that targets compare.
        env: another environment than the model's own, with the same spaces.
        options: fields of `PlannerOptions`, and ``adapt``; see `make_planner`.
        perturbation: changes to the plant; see `nmbrl.runtime.perturbation`.
        progress: see `run_episodes`.

    Raises:
        NmbrlError: if the environment does not fit, or a name or option is wrong.
    """
    task = executor.interface.task
    changes = dict(perturbation or {})
    searcher = make_planner(planner, executor, **(options or {}))
    starts = [(seed + SEED_STRIDE * k, varied) for varied in (False, True) for k in range(episodes)]
    environments: list[Environment] = []
    try:
        for _ in range(min(LANES, len(starts))):
            environments.append(make_environment(env or task.env, task.action_repeat, changes))
            check_task(task, environments[-1])
        executor.counts.clear()
        earlier = {name: sent.copy() for name, sent in getattr(executor, "messages", {}).items()}
        done: list[Episode] = []
        for first in range(0, len(starts), LANES):
            seeds, varied = zip(*starts[first : first + LANES], strict=True)
            lanes = environments[: len(seeds)]
            done += run_episodes(searcher, lanes, seeds, varied, progress)
        decisions = sum(len(episode.actions) for episode in done)
        counts = {name: count / decisions for name, count in sorted(executor.counts.items())}
        sent: dict[str, np.ndarray] = getattr(executor, "messages", {})
        calls = {name: executor.counts[name] for name in sent if executor.counts[name]}
        messages = {name: (sent[name] - earlier[name]) / count for name, count in calls.items()}
        milliseconds = time_decisions(searcher, environments[0], seed)
    finally:
        for environment in environments:
            environment.close()
    return Evaluation(
        target=executor.target,
        planner=planner,
        env=env or task.env,
        action_repeat=task.action_repeat,
        seed=seed,
        perturbation=changes,
        native=done[:episodes],
        varied=done[episodes:],
        decision_ms=milliseconds,
        counts=counts,
        messages=messages,
    )


def confidence_interval(returns: Array) -> list[float]:
    """95 % interval of the mean over episodes (Efron's percentile bootstrap, always the same resamples)."""
    chosen = np.random.default_rng(0).integers(len(returns), size=(RESAMPLES, len(returns)))
    return [float(bound) for bound in np.percentile(returns[chosen].mean(axis=1), [2.5, 97.5])]


def versions() -> dict[str, str]:
    """Versions of Python and of those packages that can matter to the figures and are installed."""
    found = {"python": python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
