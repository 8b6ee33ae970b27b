"""Evaluating runs, bundles and records side by side: the same seeds, the same recorded episodes."""

import hashlib
import os
import platform
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from nmbrl.runtime.closed_loop import Progress
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.evaluation import evaluate, versions
from nmbrl.runtime.fidelity import HORIZONS
from nmbrl.runtime.report.activity import Traces, make_traces
from nmbrl.runtime.report.behaviour import choose_episodes, describe, visit_bins
from nmbrl.runtime.report.best import name_best
from nmbrl.runtime.report.document import Report, Row, Traced
from nmbrl.runtime.report.exactness import ACTION_BINS, compare
from nmbrl.runtime.report.films import Films, make_films
from nmbrl.runtime.report.record import Record, make_record, play, read_record, write_record
from nmbrl.runtime.report.row import Loop, Recording, Shared, make_row, record_episodes
from nmbrl.runtime.report.subject import FLOAT_TARGETS, Subject, check_same_task, open_subjects, split_name
from nmbrl.runtime.report.world import Followed, anchor, matrix, rounded
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Task

Watch = Callable[[int], AbstractContextManager[Progress | None]]


@dataclass(frozen=True)
class Settings:
    """How a report evaluates.

    Attributes:
        episodes: of each kind of start.
        seed: of the first episode.
        planner: what decides.
        films: whether episodes are filmed.
        pictures: whether traces of neurons are drawn; their numbers are made in any case.
        keep: folder in which closed loops and films are kept, and found again; None keeps nothing.
    """

    episodes: int = 20
    seed: int = 0
    planner: str = "policy"
    films: bool = True
    pictures: bool = True
    keep: Path | None = None

    @property
    def arguments(self) -> str:
        """The options that repeat an evaluation on the command line."""
        return f"--planner {self.planner} --episodes {self.episodes} --seed {self.seed}"


@dataclass
class Gathered:
    """A report, and what does not fit into JSON.

    Attributes:
        report: the document.
        films: of its rows.
        traces: of the neurons of its rows.
        interrupted: whether the user ended the evaluation before everything was made.
    """

    report: Report
    films: Films
    traces: Traces
    interrupted: bool = False


def gather(
    arguments: Sequence[str],
    settings: Settings,
    say: Callable[[str], None] = lambda line: None,
    watch: Watch = lambda episodes: nullcontext(),
) -> Gathered:
    """Evaluate runs and bundles of one environment, and take in records of others' evaluations.

    What cannot be opened, run or filmed is named in `Report.failures`; everything else is still made. An interrupt
    (Ctrl-C) ends the evaluation, and the report is made of what there is.

    Args:
        arguments: directories of runs and bundles, files of records, with ``NAME=`` before them or not.
        settings: how to evaluate.
        say: told what is being done, a line at a time.
        watch: shows the progress of so many episodes; see `nmbrl.runtime.progress.episode_progress`.

    Raises:
        NmbrlError: if nothing could be evaluated, or the models are of different environments.
    """
    paths = [split_name(argument)[1] for argument in arguments]
    repeated = {str(path) for path in paths if paths.count(path) > 1}
    if repeated:
        raise NmbrlError(f"{min(repeated)} is given twice")
    failures: list[str] = []
    subjects = open_subjects(arguments, failures)
    interrupted = False
    try:
        if not subjects:
            raise NmbrlError("; ".join(failures))
        task = check_same_task(subjects)
        loops: dict[str, Loop] = {}
        for subject in sorted(subjects, key=_float_first):
            try:
                loops[subject.name] = _close_loop(subject, settings, say, watch)
            except KeyboardInterrupt:
                interrupted = True
                left = [other.name for other in subjects if other.name not in loops]
                failures.append(f"interrupted: {', '.join(left)} not evaluated")
                break
            except Exception as error:  # whatever one target's library raises, the other rows are still made
                failures.append(_failure(subject.path, error))
        if not loops:
            raise NmbrlError("; ".join(failures))
        report, recording = _report(loops, task, settings, arguments, failures)
        shown = [loops[row.name] for row in report.rows]
        films, traces = Films({}, {}, {}), Traces()
        if not interrupted:
            traces = make_traces(report, shown, settings.pictures, say)
        if settings.films and not (interrupted or traces.interrupted):
            films = make_films(report, shown, recording, settings.keep, say)
    finally:
        for subject in subjects:
            subject.close()
    rows = tuple(row.model_copy(update={"activity": traces.activities.get(row.name)}) for row in report.rows)
    failed = (*report.failures, *traces.failures, *films.failures)
    report = report.model_copy(update={"rows": rows, "failures": failed})
    return Gathered(report, films, traces, interrupted or traces.interrupted or films.interrupted)


def _report(
    loops: dict[str, Loop], task: Task, settings: Settings, arguments: Sequence[str], failures: list[str]
) -> tuple[Report, Recording | None]:
    episodes = [loop.episodes for loop in loops.values()]
    typical, worst = choose_episodes(episodes)
    shared = Shared(typical, worst, visit_bins(episodes), task)
    first = next((loop for loop in loops.values() if loop.subject.executor is not None), None)
    recording = _try_recording(first, shared, failures)
    rows: dict[str, Row] = {}
    followed: dict[str, Followed | None] = {}
    for name, loop in loops.items():
        try:
            rows[name], followed[name] = make_row(loop, recording, shared)
        except Exception as error:
            failures.append(_failure(loop.subject.path, error))
    if not rows:
        raise NmbrlError("; ".join(failures))
    given = [name for name in _in_order(loops, arguments) if name in rows]
    ordered = [_with_frames(rows[name], list(rows.values())) for name in given]
    with closing(Environment(task.env, task.action_repeat)) as environment:
        labels, seconds = environment.labels, environment.seconds_per_decision
    shown = episodes[0]
    report = Report(
        env=task.env,
        action_repeat=task.action_repeat,
        seconds_per_decision=seconds,
        planner=settings.planner,
        episodes=settings.episodes,
        seed=settings.seed,
        reference=recording.name if recording is not None and recording.reference is not None else None,
        recorded=recording.description if recording is not None else "",
        horizons=HORIZONS,
        dimensions=labels,
        action_kind=task.action_kind,
        typical=describe(shown[typical], "its return, as a mean over all rows, is the middle one"),
        worst=describe(shown[worst], "its return, as a mean over all rows, is the lowest"),
        traced=_traced(recording),
        visit_bins=matrix(shared.bins),
        action_bins=ACTION_BINS,
        rows=tuple(ordered),
        comparisons=compare(given, [loops[name].episodes for name in given], [followed[name] for name in given]),
        best=name_best(ordered),
        failures=tuple(failures),
        command=f"nmbrl-report {shlex.join(arguments)} {settings.arguments}",
        machine=machine(),
        versions=versions(),
    )
    return report, recording


def _try_recording(loop: Loop | None, shared: Shared, failures: list[str]) -> Recording | None:
    """The reference's recording; without float, episodes alone, so that predictions can still be measured."""
    if loop is None:
        return None
    try:
        return record_episodes(loop, shared)
    except NmbrlError as error:
        failures.append(_failure(loop.subject.path, error))
        return None


def machine() -> str:
    """Name the processor that this runs on, and how many of its cores."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} core{'s' if cores != 1 else ''}, {platform.system()}"


def _close_loop(subject: Subject, settings: Settings, say: Callable[[str], None], watch: Watch) -> Loop:
    """Run a model closed loop, or take the loop from where it is kept."""
    if subject.executor is None:
        assert subject.record is not None
        _check_settings(subject.record, settings, subject.path)
        say(f"{subject.name}: {2 * settings.episodes} recorded episodes")
        return Loop(subject, subject.record, play(subject.record, str(subject.path)))
    kept = None
    if settings.keep is not None:
        about = f"{subject.digest()} {settings.arguments} {_code()}"
        kept = (
            settings.keep / f"{subject.name.replace('/', '-')}-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
        )
        if kept.is_file():
            say(f"{subject.name}: kept in {kept}")
            record = read_record(kept)
            return Loop(subject, record, play(record, str(kept)))
    say(f"{subject.name}: {settings.episodes} native and {settings.episodes} varied episodes")
    with watch(2 * settings.episodes) as progress:
        evaluation = evaluate(subject.executor, settings.planner, settings.episodes, settings.seed, progress=progress)
    command = f"nmbrl-run {shlex.quote(str(subject.path))} {settings.arguments}"
    record = make_record(evaluation, subject.executor).model_copy(update={"command": command})
    if kept is not None:
        write_record(kept, record)
    return Loop(subject, record, evaluation.native + evaluation.varied)


def _check_settings(record: Record, settings: Settings, path: Path) -> None:
    differing = [
        f"{name} {getattr(record, name)}, the report {getattr(settings, name)}"
        for name in ("planner", "episodes", "seed")
        if getattr(record, name) != getattr(settings, name)
    ]
    if record.perturbation:
        differing.append(f"a changed plant ({', '.join(record.perturbation)}), the report none")
    if differing:
        raise NmbrlError(f"it is of other episodes: it has {'; '.join(differing)}")


def _code() -> str:
    """SHA-256 of the sources that an evaluation may depend on: what older ones left is not found again."""
    digest = hashlib.sha256(repr(sorted(versions().items())).encode())
    package = Path(__file__).resolve().parents[2]
    for folder in ("runtime", "targets"):
        for file in sorted((package / folder).rglob("*.[pch]*")):
            if file.suffix in (".py", ".c", ".h"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _in_order(loops: dict[str, Loop], arguments: Sequence[str]) -> list[str]:
    """Names of loops in the order in which they were given."""
    paths = [split_name(argument)[1] for argument in arguments]
    return sorted(loops, key=lambda name: paths.index(loops[name].subject.path))


def _traced(recording: Recording | None) -> Traced | None:
    if recording is None:
        return None
    episode = recording.episodes[recording.traced]
    return Traced(
        of=recording.name,
        seed=episode.seed,
        varied=episode.varied,
        anchor=anchor(episode),
        observations=matrix(episode.observations),
        rewards=rounded(episode.rewards),
    )


def _with_frames(row: Row, rows: Sequence[Row]) -> Row:
    """Say of what was converted from a run that is given, too, for how long that was trained."""
    label = "frames trained"
    for other in rows:
        if label in other.provenance and other.provenance.get("run") == row.provenance.get("run"):
            return row.model_copy(update={"provenance": {**row.provenance, label: other.provenance[label]}})
    return row


def _float_first(subject: Subject) -> int:
    """Order of evaluation: the float reference comes first, the rest as given."""
    return FLOAT_TARGETS.index(subject.target) if subject.is_float else len(FLOAT_TARGETS)


def _failure(path: Path, error: Exception) -> str:
    if isinstance(error, NmbrlError):
        return str(error) if str(path) in str(error) else f"{path}: {error}"
    first_line = (str(error).splitlines() or [""])[0]
    return f"{path} could not be evaluated: {type(error).__name__}: {first_line}"
