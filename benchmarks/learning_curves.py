"""Learning curves of our training beside Stable-Baselines3's SAC and PPO, one file a training.

python benchmarks/learning_curves.py --only sac --seed 0    # one training; finished ones are kept
python benchmarks/learning_curves.py                        # all that are missing, then the plot and the table
"""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from nmbrl.runtime.command import reports_errors
from nmbrl.targets.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "learning-curves"

# Frames to train for and between evaluations; PPO is given ten times what ours needs, and is on-policy.
BUDGETS = {"sac": (40_000, 2_000), "ppo": (200_000, 10_000)}
EPISODES = 20


def _train(name: str, env: str, action_repeat: int, seed: int) -> dict[str, Any]:
    from peers import train_peer

    frames, every = BUDGETS[name]

    def say(point: dict[str, Any]) -> None:
        mean = sum(point["returns"]) / len(point["returns"])
        click.echo(f"{name} seed {seed}: {point['frames']} frames, return {mean:.1f}, {point['seconds']:.0f} s")

    result = train_peer(name, env, action_repeat, seed, frames, every, EPISODES, say)
    packages = ("stable-baselines3", "torch", "gymnasium", "dm-control", "mujoco")
    return {
        "name": name,
        "env": env,
        "action_repeat": action_repeat,
        "seed": seed,
        "episodes": EPISODES,
        "cores": len(os.sched_getaffinity(0)),
        "niceness": os.nice(0),
        "versions": {package: version(package) for package in packages},
        **result,
    }


@click.command()
@click.option("--only", type=click.Choice(list(BUDGETS)), multiple=True, help="Train these; default all.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--env", default="dm_control/cartpole-swingup-v0", show_default=True)
@click.option("--action-repeat", default=5, show_default=True)
@reports_errors
def main(only: tuple[str, ...], seeds: tuple[int, ...], env: str, action_repeat: int) -> None:
    """Train what is missing in benchmarks/results."""
    for name in only or BUDGETS:
        for seed in seeds:
            path = RESULTS / f"{name}-{seed}.json"
            if not path.is_file():
                write_text(path, json.dumps(_train(name, env, action_repeat, seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
