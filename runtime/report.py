"""Evaluating runs and bundles side by side: the same seeds, the same recorded episodes."""

import os
import platform
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from nmbrl.runtime.closed_loop import Progress
from nmbrl.runtime.evaluation import evaluate, versions
from nmbrl.runtime.fidelity import HORIZONS
from nmbrl.runtime.report_document import Report, Row
from nmbrl.runtime.report_row import Recording, Subject, make_row, record
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.bundle import MANIFEST, read_bundle
from nmbrl.targets.interface import Task

# Executors that compute in float32, so that "kept" is against them; the first of these that was given is the reference.
FLOAT_TARGETS = ("pytorch", "onnx")


@dataclass(frozen=True)
class Settings:
    """How a report evaluates.

    Attributes:
        episodes: of each kind of start.
        seed: of the first episode.
        planner: what decides.
    """

    episodes: int = 20
    seed: int = 0
    planner: str = "policy"

    @property
    def arguments(self) -> str:
        """The options that repeat an evaluation on the command line."""
        return f"--planner {self.planner} --episodes {self.episodes} --seed {self.seed}"


def make_report(
    paths: Sequence[Path],
    settings: Settings,
    say: Callable[[str], None] = lambda line: None,
    watch: Callable[[int], AbstractContextManager[Progress | None]] = lambda episodes: nullcontext(),
) -> Report:
    """Evaluate runs and bundles of one environment.

    What cannot be opened or run is named in `Report.failures`; everything else is still evaluated.

    Args:
        paths: directories of runs and bundles.
        settings: how to evaluate.
        say: told what is being done, a line at a time.
        watch: shows the progress of so many episodes; see `nmbrl.runtime.progress.episode_progress`.

    Raises:
        NmbrlError: if nothing could be evaluated, or the models are of different environments.
    """
    repeated = {str(path) for path in paths if list(paths).count(path) > 1}
    if repeated:
        raise NmbrlError(f"{min(repeated)} is given twice")
    failures: list[str] = []
    subjects = [opened for path in paths if (opened := _open(path, paths, failures)) is not None]
    rows: dict[str, Row] = {}
    recording: Recording | None = None
    try:
        _check_same_environment(subjects)
        for subject in sorted(subjects, key=_float_first):
            say(f"{subject.name}: {settings.episodes} native and {settings.episodes} varied episodes")
            try:
                with watch(2 * settings.episodes) as progress:
                    evaluation = evaluate(
                        subject.executor, settings.planner, settings.episodes, settings.seed, progress=progress
                    )
                recorded = recording or record(subject, evaluation, subject.executor.target in FLOAT_TARGETS)
                command = f"nmbrl-run {shlex.quote(str(subject.path))} {settings.arguments}"
                rows[subject.name] = make_row(subject, evaluation, recorded, command)
                recording = recorded
            except Exception as error:  # whatever one target's library raises, the other rows are still made
                failures.append(_failure(subject.path, error))
    finally:
        for subject in subjects:
            subject.executor.close()
    if recording is None:
        raise NmbrlError("; ".join(failures))
    task = subjects[0].executor.interface.task
    return Report(
        env=task.env,
        action_repeat=task.action_repeat,
        planner=settings.planner,
        episodes=settings.episodes,
        seed=settings.seed,
        reference=recording.name if recording.is_float else None,
        recorded=recording.description,
        horizons=HORIZONS,
        rows=tuple(rows[subject.name] for subject in subjects if subject.name in rows),
        failures=tuple(failures),
        command=f"nmbrl-report {shlex.join(map(str, paths))} {settings.arguments}",
        machine=machine(),
        versions=versions(),
    )


def machine() -> str:
    """Name the processor that this runs on, and how many of its cores."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} core{'s' if cores != 1 else ''}, {platform.system()}"


def _open(path: Path, paths: Sequence[Path], failures: list[str]) -> Subject | None:
    name = path.name if [other.name for other in paths].count(path.name) == 1 and path.name else str(path)
    try:
        executor = load(path)
        return Subject(name, path, executor, read_bundle(path) if (path / MANIFEST).is_file() else None)
    except NmbrlError as error:
        failures.append(str(error))
        return None


def _check_same_environment(subjects: Sequence[Subject]) -> None:
    for other in subjects[1:]:
        first = subjects[0]
        tasks = (first.executor.interface.task, other.executor.interface.task)
        if tasks[0] != tasks[1]:
            raise NmbrlError(
                f"{first.path} was trained on {_describe(tasks[0])} and {other.path} on {_describe(tasks[1])}; "
                "a report compares models of one environment"
            )


def _describe(task: Task) -> str:
    return f"{task.env} (action repeat {task.action_repeat})"


def _float_first(subject: Subject) -> int:
    """Order of evaluation: the float reference comes first, the rest as given."""
    target = subject.executor.target
    return FLOAT_TARGETS.index(target) if target in FLOAT_TARGETS else len(FLOAT_TARGETS)


def _failure(path: Path, error: Exception) -> str:
    if isinstance(error, NmbrlError):
        return f"{path}: {error}"
    first_line = (str(error).splitlines() or [""])[0]
    return f"{path} could not be evaluated: {type(error).__name__}: {first_line}"
