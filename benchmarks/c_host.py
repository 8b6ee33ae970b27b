"""What a decision in C costs on this machine beside PyTorch and ONNX Runtime, as ratios of one run, and its return.

Times are of the processor, summed over threads, so that other work on the machine does not count.
"""

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from nmbrl.runtime.evaluation import evaluate
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.interface import Executor
from nmbrl.targets.load import load

# 32 fresh samples an iteration, beside which 8 elites are kept; three of the first follow the policy and one is the
# last plan, so that rollouts come in fours, as the kernels take them.
# For sequences of actions, as C does.
SEARCH = {"samples": 32, "horizon": 6, "iterations": 3, "elites": 8, "policy_samples": 3, "deviation": 0.0}
DECISIONS = 30
EPISODES = 20


def time_decisions(executor: Executor, planner: str = "cem") -> dict[str, float]:
    """Return processor and wall time of a decision in milliseconds, the median of `DECISIONS`."""
    search = make_planner(planner, executor, adapt=False, **SEARCH)
    search.reset([0])
    random = np.random.default_rng(0)
    size = executor.interface.task.observation_size
    state = executor.reset(1)
    action = np.zeros((1, executor.interface.task.action_size), np.float32)
    spent = []
    for _ in range(DECISIONS + 3):
        state = executor.observe(state, action, random.normal(0, 1, (1, size)).astype(np.float32))
        begun = time.process_time(), time.perf_counter()
        action = search.decide(state)
        spent.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    processor, wall = zip(*spent[3:], strict=True)
    return {"processor_ms": 1e3 * median(processor), "wall_ms": 1e3 * median(wall)}


def compare_decisions(run: Path, onnx: Path, c: Path) -> dict[str, Any]:
    """Return the time of a CEM decision in PyTorch, ONNX Runtime and C, and how many times faster C is."""
    import torch

    torch.set_num_threads(1)
    times = {name: time_decisions(load(path)) for name, path in {"pytorch": run, "onnx": onnx, "c": c}.items()}
    ratios = {name: times[name]["processor_ms"] / times["c"]["processor_ms"] for name in ("pytorch", "onnx")}
    return {"search": SEARCH, "times": times, "times_faster_than": ratios}


def compare_returns(run: Path, c: Path) -> dict[str, Any]:
    """Return the mean return of the float planner and of C's with the same search, by planner, and what C keeps."""
    compared: dict[str, Any] = {}
    for planner in ("cem", "mppi"):
        means = {}
        for name, path in {"pytorch": run, "c": c}.items():
            done = evaluate(load(path), planner, EPISODES, options={**SEARCH, "adapt": False})
            means[name] = {"native": float(done.returns.mean()), "varied": float(done.returns_varied.mean())}
        kept = {start: means["c"][start] / means["pytorch"][start] for start in ("native", "varied")}
        compared[planner] = {**means, "kept": kept}
    return {"episodes": EPISODES, **compared}
