"""Learning curves of our training beside Stable-Baselines3's SAC and PPO, one file a training.

    python benchmarks/learning_curves.py --only sac --seed 0    # one training; those that are finished are kept
    python benchmarks/learning_curves.py                        # all that are missing, then the plot and the table

Several of these may run at once, on different trainings.
"""

import io
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from curves_page import draw, page
from ours import train_ours

from nmbrl.runtime.command import reports_errors
from nmbrl.targets.files import write_bytes, write_text
from nmbrl.train.presets import PRESETS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "learning-curves"
DOCS = ROOT / "docs"
RUNS = ROOT / "runs" / "learning-curves"

PRESET = "cartpole-swingup"
ENV, ACTION_REPEAT = PRESETS[PRESET]["env"], PRESETS[PRESET]["action_repeat"]
# Frames to train for and between evaluations.
BUDGETS = {"nmbrl": (40_000, 1_000), "sac": (40_000, 2_000), "ppo": (200_000, 10_000)}
SEEDS = {"nmbrl": range(5), "sac": range(3), "ppo": range(3)}
EPISODES = 20
PACKAGES = ("stable-baselines3", "torch", "gymnasium", "dm-control", "mujoco")


def _train(name: str, seed: int) -> dict[str, Any]:
    frames, every = BUDGETS[name]
    if name == "nmbrl":
        return train_ours(PRESET, seed, frames, every, EPISODES, RUNS / f"{name}-{seed}")
    from peers import train_peer

    def say(point: dict[str, Any]) -> None:
        mean = sum(point["returns"]) / len(point["returns"])
        click.echo(f"{name} seed {seed}: {point['frames']} frames, return {mean:.1f}, {point['seconds']:.0f} s")

    return train_peer(name, ENV, ACTION_REPEAT, seed, frames, every, EPISODES, say)


def _describe(name: str, seed: int) -> dict[str, Any]:
    return {
        "name": name,
        "env": ENV,
        "action_repeat": ACTION_REPEAT,
        "seed": seed,
        "episodes": EPISODES,
        "cores": len(os.sched_getaffinity(0)),
        "niceness": os.nice(0),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _is_current(path: Path) -> bool:
    """Whether a result is there and is of the task as it is now, which every training has to share."""
    if not path.is_file():
        return False
    result = json.loads(path.read_text())
    return (result["env"], result["action_repeat"], result["episodes"]) == (ENV, ACTION_REPEAT, EPISODES)


def _write_page(names: tuple[str, ...]) -> None:
    current = (path for path in RESULTS.glob("*.json") if _is_current(path))
    files = sorted(current, key=lambda path: (names.index(path.stem.split("-")[0]), path.stem))
    results = [json.loads(path.read_text()) for path in files]
    picture = io.BytesIO()
    draw(results).savefig(picture, format="svg", metadata={"Date": None})
    write_bytes(DOCS / "learning-curves.svg", picture.getvalue())
    write_text(DOCS / "learning-curves.json", json.dumps(results) + "\n")
    write_text(DOCS / "learning-curves.md", page(results, "python benchmarks/learning_curves.py"))


@click.command()
@click.option("--only", type=click.Choice(list(BUDGETS)), multiple=True, help="Train these; default all.")
@click.option(
    "--seed", "seeds", type=int, multiple=True, help="Of these seeds; default 0 to 4 for ours, 0 to 2 for others."
)
@reports_errors
def main(only: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    """Train what is missing in benchmarks/results, and describe all of it in docs/learning-curves.*."""
    for name in only or BUDGETS:
        for seed in seeds or SEEDS[name]:
            path = RESULTS / f"{name}-{seed}.json"
            if not _is_current(path):
                result = {**_describe(name, seed), **_train(name, seed)}
                write_text(path, json.dumps(result, indent=1) + "\n")
    _write_page(tuple(BUDGETS))


if __name__ == "__main__":
    main()
