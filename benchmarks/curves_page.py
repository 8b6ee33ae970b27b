"""Draws learning curves: every training as a line of its own, and a table of what each needed."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

LEVEL = 800
NAMES = {
    "nmbrl": "nmbrl, default preset",
    "sac": "SAC, Stable-Baselines3",
    "ppo": "PPO, Stable-Baselines3",
}
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = {"nmbrl": "#0072b2", "sac": "#d55e00", "ppo": "#009e73"}
STYLE: Any = {"svg.hashsalt": "nmbrl", "font.size": 11, "axes.spines.top": False, "axes.spines.right": False}

Result = dict[str, Any]


def means(result: Result) -> np.ndarray:
    """Mean return of every evaluation (points,)."""
    return np.array([np.mean(point["returns"]) for point in result["points"]])


def frames_to(result: Result, level: float = LEVEL) -> int | None:
    """Frames of the first evaluation whose mean return is at least `level`; None if there is none."""
    reached = np.flatnonzero(means(result) >= level)
    return result["points"][reached[0]]["frames"] if len(reached) else None


def draw(results: list[Result]) -> Figure:
    """Plot mean return over frames, on a logarithmic axis because the trainings differ that much in length."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        labelled: set[str] = set()
        for result in results:
            name = result["name"]
            frames = [point["frames"] for point in result["points"]]
            label = None if name in labelled else NAMES[name]
            labelled.add(name)
            axes.plot(frames, means(result), color=COLOURS[name], linewidth=1.5, alpha=0.85, label=label)
        axes.axhline(LEVEL, color="0.5", linewidth=1, linestyle=":")
        axes.annotate(f"{LEVEL}", (1, LEVEL), xycoords=("axes fraction", "data"), va="bottom", ha="right", color="0.4")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.set_xlabel("frames (physics steps), logarithmic")
        axes.set_ylabel(f"mean return of {results[0]['episodes']} episodes")
        axes.set_ylim(0, 1000)
        axes.grid(alpha=0.2)
        axes.legend(loc="center right", frameon=False)
    return figure


def page(results: list[Result], command: str) -> str:
    """Return the Markdown page: the plot, a row a training, and how it was measured."""
    first = results[0]
    rows = [_row(result) for result in results]
    versions = ", ".join(sorted({f"{name} {v}" for result in results for name, v in result["versions"].items()}))
    return f"""# Learning curves: {first["env"]}

![Mean return over frames, a line a training](learning-curves.svg)

| training | seed | frames to {LEVEL} | return at the end | varied starts | frames | processor time | wall time |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Mean return of {first["episodes"]} episodes with the deterministic policy, from the native start and, at the end, from
varied starts (up to 100 frames of random actions first), on seeds that no training uses. Every training has the same
environment and action repeat ({first["action_repeat"]}). "Frames to {LEVEL}" is the first evaluation that reaches it.
Times are of training alone, without evaluations, on one thread (ours evaluates in a second process meanwhile); wall
time is of a machine that did other work besides. Stable-Baselines3 has its default settings.

All numbers are in `learning-curves.json`; `{command}` makes them again ({versions}).
"""


def _row(result: Result) -> str:
    reached, last = frames_to(result), result["points"][-1]
    cells = [
        NAMES[result["name"]],
        str(result["seed"]),
        f"{reached:,}" if reached else "not reached",
        f"{means(result)[-1]:.0f}",
        f"{np.mean(result['final_varied']):.0f}",
        f"{last['frames']:,}",
        "–" if last["cpu_seconds"] is None else f"{last['cpu_seconds']:.0f} s",
        f"{last['seconds']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"
