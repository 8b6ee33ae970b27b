"""`nmbrl-train`: learns a world model and a policy for an environment, and leaves a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nmbrl.runtime.command import reports_errors
from nmbrl.targets import NmbrlError
from nmbrl.train.config import TrainingConfig
from nmbrl.train.loop import train
from nmbrl.train.presets import DEFAULT, PRESETS
from nmbrl.train.run import RunDirectory
from nmbrl.train.settings import differences, make_config, merge, parse_assignments, read_yaml


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--preset", type=click.Choice(list(PRESETS)), help=f"Known settings; {DEFAULT} unless --env is given.")
@click.option("--env", metavar="ID", help="Gymnasium id, e.g. Pendulum-v1 or dm_control/walker-walk-v0.")
@click.option("--action-repeat", type=click.IntRange(min=1), help="Physics steps that a decision lasts.")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything random, default 0.")
@click.option("--frames", type=click.IntRange(min=1), help="Physics steps to collect.")
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the run, default runs/PRESET-SEED.")
@click.option("--resume", is_flag=True, help="Continue the run in --out if there is one.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="YAML file of settings, over the preset's.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting, over all others.")
@reports_errors
def main(
    preset: str | None,
    env: str | None,
    action_repeat: int | None,
    seed: int | None,
    frames: int | None,
    out: Path | None,
    resume: bool,
    file: Path | None,
    assignments: Sequence[str],
) -> None:
    """Train a world model and a policy; what can be set is in nmbrl.train.config.TrainingConfig."""
    given = {"env": env, "action_repeat": action_repeat, "seed": seed, "frames": frames}
    changes = merge(
        merge(read_yaml(file) if file else {}, {name: value for name, value in given.items() if value is not None}),
        parse_assignments(assignments),
    )
    name = preset or (None if "env" in changes else DEFAULT)
    out = out or Path("runs") / f"{name or changes['env'].replace('/', '-')}-{changes.get('seed', 0)}"
    run = RunDirectory(out)
    if not run.exists():
        config = make_config(merge(PRESETS.get(name or "", {}), changes), "settings")
    elif resume:
        config = _resumed(run, preset, changes)
    else:
        raise NmbrlError(f"{out} exists already: continue it with --resume, or give another --out")
    counters = train(config, out)
    click.echo(f"{out}: {counters.frames} frames, {counters.updates} updates, best mean return {counters.best:.1f}")


def _resumed(run: RunDirectory, preset: str | None, changes: dict[str, Any]) -> TrainingConfig:
    """Return the configuration of a run to continue; it may only be given more or fewer frames."""
    stored = run.read_config().model_dump()
    frames = changes.get("frames", stored["frames"])
    config = make_config({**merge(PRESETS[preset] if preset else stored, changes), "frames": frames}, "settings")
    differing = differences(stored | {"frames": frames}, config.model_dump())
    if differing:
        raise NmbrlError(f"{run.path} was trained with {differing[0]}: give another --out, or leave the option away")
    return config
