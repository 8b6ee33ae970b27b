"""A training that is killed, whenever, goes on as if it had not been."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.targets import files, load
from nmbrl.targets.errors import NmbrlError
from nmbrl.train.command import main
from nmbrl.train.loop import train
from nmbrl.train.replay import pack_arrays
from nmbrl.train.run import CALIBRATION, CHECKPOINT, METRICS, MODEL, RunDirectory
from nmbrl.train.settings import dump_yaml
from nmbrl.train.tensors import digest

from .conftest import tiny


def outcome(path: Path) -> dict:
    """Everything a training leaves that later steps depend on; times are left out."""
    run = RunDirectory(path)
    checkpoint = run.read_checkpoint()
    counters = checkpoint.counters.model_dump(exclude={"seconds", "metrics_bytes", "chunks"})
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return {
        "weights": digest(checkpoint.learner),
        "model": (path / MODEL).read_bytes(),
        "calibration": (path / CALIBRATION).read_bytes(),
        "counters": counters,
        "metrics": [{name: value for name, value in line.items() if name != "seconds"} for line in lines],
        "replay": [stretch.arrays()["o"].tolist() for stretch in run.read_chunks(checkpoint.counters.chunks)],
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("unbroken") / "run"
    train(tiny(), path)
    return outcome(path)


def test_an_unbroken_training_does_what_it_says(unbroken):
    counters = unbroken["counters"]
    assert counters["frames"] == 120
    # 80 decisions by the policy at half an update each, after two first ones.
    assert (counters["decisions"], counters["updates"]) == (80, 42)
    assert [line["frames"] for line in unbroken["metrics"] if line["kind"] == "evaluation"] == [60, 80, 100, 120]
    scores = [line["score"] for line in unbroken["metrics"] if line["kind"] == "evaluation"]
    assert counters["best"] == max(scores)


class Crash(BaseException):
    """Ends a training on the spot, as a kill does: nothing may catch it."""


@pytest.mark.parametrize("seed", range(2))
def test_crashes_at_any_write_are_made_good(unbroken, tmp_path, monkeypatch, seed):
    replace, moments, crashes = files.os.replace, random.Random(seed), 0
    while True:
        left, after = moments.randint(1, 12), moments.random() < 0.5

        def crash(source, target, after=after):
            nonlocal left
            left -= 1
            if left == 0 and not after:
                raise Crash
            replace(source, target)
            if left == 0:
                raise Crash

        monkeypatch.setattr(files.os, "replace", crash)
        try:
            train(tiny(), tmp_path / "run")
            break
        except Crash:
            crashes += 1
    assert crashes >= 2
    assert outcome(tmp_path / "run") == unbroken


@pytest.mark.slow
def test_kill_9_at_random_moments_is_made_good(tmp_path):
    config = tiny(frames=600, longest_episode=50)
    train(config, tmp_path / "unbroken")
    file = tmp_path / "settings.yaml"
    file.write_text(dump_yaml(config))
    command = [str(Path(sys.executable).with_name("nmbrl-train")), "--env", config.env, "--config", str(file)]
    command += ["--resume", "--out", str(tmp_path / "killed")]
    moments = random.Random(0)
    for lines in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        metrics = tmp_path / "killed" / METRICS
        while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < lines):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "unbroken")


def test_more_frames_continue_a_finished_training(unbroken, tmp_path):
    train(tiny(frames=60), tmp_path / "run")
    train(tiny(), tmp_path / "run")
    assert outcome(tmp_path / "run")["weights"] == unbroken["weights"]


def test_sequences_drawn_by_reward_continue_exactly(tmp_path):
    # With this seed the pole begins near the top in three of the episodes.
    settings = {"env": "dm_control/pendulum-swingup-v0", "seed": 11, "longest_episode": 5}
    settings["learner"] = tiny().learner.model_dump() | {"rewarded_share": 0.5}
    train(tiny(**settings), tmp_path / "unbroken")
    for frames in (50, 90, 120):
        train(tiny(frames=frames, **settings), tmp_path / "broken")
    weights = outcome(tmp_path / "unbroken")["weights"]
    assert outcome(tmp_path / "broken")["weights"] == weights
    settings["learner"]["rewarded_share"] = 0.0
    train(tiny(**settings), tmp_path / "uniform")
    assert outcome(tmp_path / "uniform")["weights"] != weights


def test_a_finished_training_is_left_as_it_is(tmp_path):
    train(tiny(frames=60), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    train(tiny(frames=60), tmp_path / "run")
    assert {path: path.read_bytes() for path in before} == before


@contextmanager
def largest_file(size: int):
    """No file can grow beyond `size` bytes: what a full disk does to a large one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_costs_nothing(tmp_path):
    out = tmp_path / "run"
    train(tiny(frames=60), out)
    before = {name: (out / name).read_bytes() for name in (CHECKPOINT, MODEL, CALIBRATION)}
    with largest_file(len(before[CHECKPOINT]) - 1):
        result = CliRunner().invoke(main, ["--resume", "--frames", "120", "--out", str(out)])
    assert result.exit_code == 2
    last = result.output.strip().splitlines()[-1]
    assert last == f"error: cannot write {out / CHECKPOINT}: File too large; what was there before is unchanged"
    assert {CHECKPOINT: (out / CHECKPOINT).read_bytes()} == {CHECKPOINT: before[CHECKPOINT]}
    load(out)
    train(tiny(), out)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: (path / "replay" / "000001.npz").unlink(), "cannot read .*000001.npz: No such file"),
        (lambda path: (path / "replay" / "000001.npz").write_bytes(b"PK"), "000001.npz is damaged"),
        (
            lambda path: (path / CHECKPOINT).write_bytes((path / CHECKPOINT).read_bytes()[:-1]),
            "checkpoint.* is damaged",
        ),
        (lambda path: (path / METRICS).write_text(""), "metrics.jsonl is shorter than its checkpoint says"),
        (lambda path: (path / METRICS).unlink(), "metrics.jsonl: No such file"),
    ],
)
def test_a_damaged_run_does_not_resume(tmp_path, damage, expected):
    train(tiny(frames=60), tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(NmbrlError, match=expected):
        train(tiny(), tmp_path / "run")


def test_nan_in_the_stored_replay_does_not_resume(tmp_path):
    train(tiny(frames=60), tmp_path / "run")
    path = tmp_path / "run" / "replay" / "000000.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["o"][3, 0] = np.nan
    path.write_bytes(pack_arrays(arrays))
    with pytest.raises(NmbrlError, match=r"000000.npz holds values that are not finite numbers in 'o'"):
        train(tiny(), tmp_path / "run")
