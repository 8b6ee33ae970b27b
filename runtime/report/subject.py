"""What a report is about: runs, bundles and records, opened and found to be of one task."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from nmbrl.runtime.environment import Environment
from nmbrl.runtime.report.record import Record, read_record
from nmbrl.targets.bundle import MANIFEST, Bundle, read_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import sha256
from nmbrl.targets.interface import Executor, Task
from nmbrl.targets.load import load

# Executors that compute in float32, so that "kept" is against them; the first of these that was given is the reference.
FLOAT_TARGETS = ("pytorch", "onnx")


@dataclass
class Subject:
    """A run, bundle or record that was opened.

    Attributes:
        name: what the report calls it.
        path: its directory or file.
        executor: runs it; None for a record.
        bundle: its manifest; None for a run and a record.
        record: of its closed loop; None until that was run.
    """

    name: str
    path: Path
    executor: Executor | None
    bundle: Bundle | None
    record: Record | None = None

    @property
    def target(self) -> str:
        """Name of what executes it."""
        if self.executor is not None:
            return self.executor.target
        assert self.record is not None
        return self.record.target

    @property
    def is_float(self) -> bool:
        """Whether it computes in float32, here."""
        return self.executor is not None and self.target in FLOAT_TARGETS

    def close(self) -> None:
        """Release the executor."""
        if self.executor is not None:
            self.executor.close()

    def digest(self) -> str:
        """SHA-256 of all files of a run or bundle that its closed loop may depend on."""
        digest = hashlib.sha256()
        for file in sorted(path for path in self.path.iterdir() if path.is_file()):
            digest.update(f"{file.name} {sha256(file)}\n".encode())
        return digest.hexdigest()


def split_name(argument: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``, or name a path by its last part; a path that exists is no name."""
    name, separator, rest = argument.partition("=")
    if separator and name and rest and not Path(argument).exists():
        return name, Path(rest)
    path = Path(argument)
    return (path.stem if path.is_file() else path.name) or str(path), path


def open_subjects(arguments: Sequence[str], failures: list[str]) -> list[Subject]:
    """Open what can be opened; the rest is named in `failures`."""
    opened = []
    split = [split_name(argument) for argument in arguments]
    for short, path in split:
        name = short if [other for other, _ in split].count(short) == 1 else str(path)
        try:
            if path.is_file():
                opened.append(Subject(name, path, None, None, read_record(path)))
                continue
            executor = load(path)
            opened.append(Subject(name, path, executor, read_bundle(path) if (path / MANIFEST).is_file() else None))
        except NmbrlError as error:
            failures.append(str(error))
    return opened


def check_same_task(subjects: Sequence[Subject]) -> Task:
    """Return the task of all subjects.

    Raises:
        NmbrlError: if they are of different ones.
    """
    first = subjects[0]
    for other in subjects[1:]:
        ours, theirs = _task(first), _task(other)
        if ours != theirs:
            raise NmbrlError(
                f"{first.path} is of {_describe(ours)} and {other.path} of {_describe(theirs)}; "
                "a report compares models of one environment"
            )
    executor = next((subject.executor for subject in subjects if subject.executor is not None), None)
    if executor is not None:
        return executor.interface.task
    assert first.record is not None
    with closing(Environment(first.record.env, first.record.action_repeat)) as environment:
        return environment.task


def _task(subject: Subject) -> tuple[str, int]:
    if subject.executor is not None:
        return subject.executor.interface.task.env, subject.executor.interface.task.action_repeat
    assert subject.record is not None
    return subject.record.env, subject.record.action_repeat


def _describe(task: tuple[str, int]) -> str:
    return f"{task[0]} (action repeat {task[1]})"
