"""A run on disk: what a training leaves, how it is read, and how it is replaced whole (format in docs/run.md)."""

import functools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes, write_text
from nmbrl.targets.interface import Interface
from nmbrl.targets.load import RUN_CONFIG
from nmbrl.train import replay, tensors
from nmbrl.train.config import TrainingConfig
from nmbrl.train.deployed import DeployedModel
from nmbrl.train.models.architectures import build_model
from nmbrl.train.replay import Batch, Stretch
from nmbrl.train.settings import dump_yaml, make_config, read_yaml

MODEL = "model.safetensors"
CHECKPOINT = "checkpoint.safetensors"
CALIBRATION = "calibration.npz"
METRICS = "metrics.jsonl"
REPLAY = "replay"
EVENTS = "events"
# Tensors of a checkpoint that are not the learner's.
PENDING = "pending"


class Counters(BaseModel):
    """Where a training stands at a checkpoint, beside the learner's tensors.

    Attributes:
        frames: physics steps collected.
        decisions: decisions collected by the policy, not at random.
        updates: updates made.
        episodes: episodes collected.
        rounds: rounds played.
        measured: decisions in the replay when the normalisation was last measured.
        chunks: files of replay that belong to this checkpoint.
        metrics_bytes: size of ``metrics.jsonl`` at this checkpoint.
        seconds: time spent training.
        dropped: decisions left out because they were not finite.
        next_evaluation: frames at which the next evaluation is due.
        pending: frames and updates of the evaluation whose result is not in yet, if any.
        evaluated: updates of the policy that was last submitted for evaluation.
        best: score of the best policy so far.
        last: score of the last evaluation.
        collected: mean return of the last round.
    """

    model_config = ConfigDict(extra="forbid")

    frames: int = 0
    decisions: int = 0
    updates: int = 0
    episodes: int = 0
    rounds: int = 0
    measured: int = 0
    chunks: int = 0
    metrics_bytes: int = 0
    seconds: float = 0.0
    dropped: int = 0
    next_evaluation: int = 0
    pending: tuple[int, int] | None = None
    evaluated: int = -1
    best: float | None = None
    last: float | None = None
    collected: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a training continues from.

    Attributes:
        counters: where it stands.
        learner: the learner's tensors.
        pending: the policy that is being evaluated, as `pack_model` gives it.
    """

    counters: Counters
    learner: dict[str, Tensor]
    pending: bytes | None


class RunDirectory:
    """The files of a run. Replay is only appended to; renaming one checkpoint file over the former makes a generation.

    Args:
        path: of the directory; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Return whether there is anything here.

        Raises:
            NmbrlError: if it is something else than a run.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return False
        if not (self.path / RUN_CONFIG).is_file():
            raise NmbrlError(f"{self.path} exists and is no run (no {RUN_CONFIG}): give another --out")
        return True

    def read_config(self) -> TrainingConfig:
        """Return the configuration.

        Raises:
            NmbrlError: if it is missing or wrong.
        """
        return make_config(read_yaml(self.path / RUN_CONFIG), str(self.path / RUN_CONFIG))

    def write_config(self, config: TrainingConfig) -> None:
        """Write the configuration; it makes the directory a run."""
        write_text(self.path / RUN_CONFIG, dump_yaml(config))

    def write_chunk(self, index: int, stretches: list[Stretch]) -> None:
        """Append to the replay; a checkpoint that counts the chunk makes it valid."""
        write_bytes(self._chunk(index), replay.pack(stretches))

    def read_chunks(self, count: int) -> list[Stretch]:
        """Return the replay, oldest first.

        Raises:
            NmbrlError: if a chunk is missing or damaged, or holds values that are not finite.
        """
        chunks = (self._chunk(index) for index in range(count))
        return [stretch for path in chunks for stretch in replay.unpack(_read(path), str(path))]

    def write_calibration(self, arrays: Batch) -> None:
        """Replace the slice of replay that conversions use."""
        write_bytes(self.path / CALIBRATION, replay.pack_arrays(arrays))

    def write_model(self, content: bytes) -> None:
        """Replace the kept policy by what `pack_model` gave."""
        write_bytes(self.path / MODEL, content)

    def holds_model(self) -> bool:
        """Return whether a policy is kept."""
        return (self.path / MODEL).exists()

    def slim(self) -> None:
        """Delete what only resuming and looking back need: replay, TensorBoard events, and first the checkpoint.

        Raises:
            NmbrlError: if something cannot be deleted.
        """
        try:
            (self.path / CHECKPOINT).unlink(missing_ok=True)
            for name in (REPLAY, EVENTS):
                if (self.path / name).exists():
                    shutil.rmtree(self.path / name)
        except OSError as error:
            raise NmbrlError(f"cannot slim {self.path}: {error.strerror}") from error

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint, after everything that it counts is on disk."""
        content = {f"learner.{name}": tensor for name, tensor in checkpoint.learner.items()}
        if checkpoint.pending is not None:
            content[PENDING] = tensors.from_bytes(checkpoint.pending)
        write_bytes(self.path / CHECKPOINT, tensors.pack(content, checkpoint.counters.model_dump()))

    def read_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint; None if there is none yet.

        Raises:
            NmbrlError: if it is damaged.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        content, record = tensors.unpack(_read(path), str(path))
        try:
            counters = Counters.model_validate(record)
        except ValidationError as error:
            raise NmbrlError(f"{path} is of another version of nmbrl; train anew") from error
        learner = {name.removeprefix("learner."): tensor for name, tensor in content.items() if name != PENDING}
        pending = tensors.to_bytes(content[PENDING]) if PENDING in content else None
        return Checkpoint(counters, learner, pending)

    def truncate_metrics(self, size: int) -> None:
        """Cut ``metrics.jsonl`` back to a checkpoint's size."""
        path = self.path / METRICS
        if size == 0 and not path.exists():
            return
        try:
            if path.stat().st_size < size:
                raise NmbrlError(f"{path} is shorter than its checkpoint says; it was changed")
            os.truncate(path, size)
        except OSError as error:
            raise NmbrlError(f"cannot resume: {path}: {error.strerror}") from error

    def _chunk(self, index: int) -> Path:
        return self.path / REPLAY / f"{index:06d}.npz"


@dataclass(frozen=True)
class Run:
    """A finished or running training, opened for conversion and execution.

    Attributes:
        path: its directory.
        config: its configuration.
        model: the best policy with its world model and value.
        id: first 16 hexadecimal digits of the SHA-256 of the model's weights.
    """

    path: Path
    config: TrainingConfig
    model: DeployedModel
    id: str

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.config.seed

    @functools.cached_property
    def calibration(self) -> Batch:
        """Real replay: ``o (E, T + 1, O)`` raw, ``a (E, T, A)``, ``r (E, T)``, ``c (E, T)``, from an episode's start.

        Raises:
            NmbrlError: if it is missing or damaged.
        """
        path = self.path / CALIBRATION
        arrays = replay.unpack_arrays(_read(path), str(path), replay.FIELDS)
        task = self.model.interface.task
        sizes = {"o": task.observation_size, "a": task.action_size}
        if any(arrays[name].ndim != 3 or arrays[name].shape[-1] != size for name, size in sizes.items()):
            raise NmbrlError(f"{path} does not fit the run's model")
        return arrays


def open_run(path: str | Path) -> Run:
    """Open a run; its replay, checkpoint and logs may be missing.

    Raises:
        NmbrlError: if the configuration or the model is missing or damaged.
    """
    path = Path(path)
    if not (path / RUN_CONFIG).is_file():
        raise NmbrlError(f"{path} is no run: it has no {RUN_CONFIG}; make one with nmbrl-train --out {path}")
    config = RunDirectory(path).read_config()
    if not (path / MODEL).exists():
        raise NmbrlError(f"{path} has no {MODEL} yet: finish it with nmbrl-train --resume --out {path}")
    model, digest = unpack_model(_read(path / MODEL), str(path / MODEL), config)
    return Run(path, config, model, digest[:16])


def frames_trained(run: Run) -> int | None:
    """Return the physics steps that a run's metrics tell of; None where they were left out."""
    try:
        lines = (run.path / METRICS).read_text().splitlines()
        return max(json.loads(line)["frames"] for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def pack_model(model: DeployedModel) -> bytes:
    """Return a deployed model as the bytes of its file: weights, and the interface as JSON."""
    return tensors.pack(model.state_dict(), {"interface": model.interface.model_dump(mode="json")})


def unpack_model(content: bytes, source: str, config: TrainingConfig) -> tuple[DeployedModel, str]:
    """Return the model that `pack_model` was given, and the SHA-256 of its weights.

    Args:
        content: the file's bytes.
        source: its name, for the error.
        config: of the training.

    Raises:
        NmbrlError: if it is damaged or does not fit the configuration.
    """
    weights, record = tensors.unpack(content, source)
    try:
        interface = Interface.model_validate(record["interface"])
        model: Any = build_model(config.learner, interface.task, interface.terminates)
        model.load_state_dict(weights)
    except (ValidationError, KeyError, RuntimeError) as error:
        raise NmbrlError(f"{source} does not fit the configuration beside it") from error
    model.interface = interface
    return model.eval().requires_grad_(False), tensors.digest(weights)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NmbrlError(f"cannot read {path}: {error.strerror}") from error
