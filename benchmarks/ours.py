"""Our own training as the learning curves need it: `nmbrl-train` as a user starts it, and its log."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nmbrl.targets import NmbrlError


def train(preset: str, seed: int, frames: int, run: Path, *settings: str) -> None:
    """Call `nmbrl-train`, which goes on with a training that was broken off and leaves a finished one as it is.

    Args:
        preset: of `nmbrl-train`.
        seed: of the training.
        frames: physics steps to train for.
        run: directory of the run.
        *settings: ``name=value``, over the preset's.

    Raises:
        NmbrlError: if the training fails.
    """
    command = [str(Path(sys.executable).parent / "nmbrl-train"), "--preset", preset, "--seed", str(seed)]
    command += ["--frames", str(frames), "--out", str(run), "--resume"]
    for setting in settings:
        command += ["--set", setting]
    if subprocess.run(command).returncode != 0:
        raise NmbrlError(f"{' '.join(command)} failed")


def train_ours(preset: str, seed: int, frames: int, every: int, episodes: int, run: Path) -> dict[str, Any]:
    """Train, or go on with a training that was broken off.

    Args:
        preset: of `nmbrl-train`.
        seed: of the training.
        frames: physics steps to train for.
        every: frames between evaluations.
        episodes: episodes an evaluation, of each kind of start.
        run: directory of the run.

    Returns:
        ``points`` and ``final_varied`` as `peers.train_peer` gives them; processor seconds are not known (None).

    Raises:
        NmbrlError: if the training fails.
    """
    train(preset, seed, frames, run, f"evaluation.interval={every}", f"evaluation.episodes={episodes}")
    return read_metrics((run / "metrics.jsonl").read_text().splitlines())


def read_metrics(lines: Iterable[str]) -> dict[str, Any]:
    """Turn the lines of a run's ``metrics.jsonl`` into ``points`` and ``final_varied``.

    An evaluation is logged when its result is in, which is later than the policy was: the seconds are those of the last
    line about the training up to that policy's frames.
    """
    records = [json.loads(line) for line in lines]
    trained = [(record["frames"], record["seconds"]) for record in records if record["kind"] == "training"]
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    points = [
        {
            "frames": record["frames"],
            "seconds": round(max((s for frames, s in trained if frames <= record["frames"]), default=0.0), 1),
            "cpu_seconds": None,
            "returns": [round(value, 2) for value in record["returns"]],
        }
        for record in evaluations
    ]
    return {"points": points, "final_varied": evaluations[-1]["returns_varied"]}
