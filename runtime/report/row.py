"""One row of a report: everything about one run, bundle or board."""

from dataclasses import dataclass

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.report import quantities as of
from nmbrl.runtime.report.behaviour import behave
from nmbrl.runtime.report.cost import break_down
from nmbrl.runtime.report.document import QUANTITIES, Row, Series
from nmbrl.runtime.report.exactness import measure_fidelity
from nmbrl.runtime.report.record import Record
from nmbrl.runtime.report.subject import Subject
from nmbrl.runtime.report.world import Followed, follow, predict
from nmbrl.targets.interface import Array, Task

# Episodes of the reference, of each kind of start, that every row is compared on.
RECORDED = 4


@dataclass
class Loop:
    """A row's closed loop.

    Attributes:
        subject: whose.
        record: what it came to.
        episodes: native, then varied.
    """

    subject: Subject
    record: Record
    episodes: list[Episode]


@dataclass
class Recording:
    """Episodes that every row is compared on.

    Attributes:
        name: the row that they are of.
        episodes: some from native and some from varied starts, among them the traced one.
        traced: which of them predictions are shown of.
        reference: float's closed loop and what float makes of the episodes; None without float.
    """

    name: str
    episodes: list[Episode]
    traced: int
    reference: tuple[Record, Followed] | None

    @property
    def description(self) -> str:
        """What was recorded, in words."""
        decisions = sum(len(episode.actions) for episode in self.episodes)
        return f"{len(self.episodes)} episodes ({decisions:,} decisions) of {self.name}"


@dataclass
class Shared:
    """What all rows' behaviour is described with.

    Attributes:
        typical: index of the typical episode.
        worst: index of the worst one.
        bins: of the histograms of visited states.
        task: the environment.
    """

    typical: int
    worst: int
    bins: Array
    task: Task


def record_episodes(loop: Loop, shared: Shared) -> Recording:
    """Choose the episodes of a closed loop that rows are compared on: the shown ones, and the first of each kind."""
    half = len(loop.episodes) // 2
    chosen = dict.fromkeys([shared.typical, shared.worst, *range(min(half, RECORDED)), *range(half, half + RECORDED)])
    episodes = [loop.episodes[index] for index in list(chosen)[: 2 * RECORDED] if index < len(loop.episodes)]
    recording = Recording(loop.subject.name, episodes, 0, None)
    if loop.subject.is_float and loop.subject.executor is not None:
        recording.reference = loop.record, follow(loop.subject.executor, episodes)
    return recording


def make_row(loop: Loop, recording: Recording | None, shared: Shared) -> tuple[Row, Followed | None]:
    """Collect everything about one run, bundle or board.

    Returns:
        The row, and what it made of the recorded episodes, if it was asked.

    Raises:
        NmbrlError: if it predicts something that is not a finite number.
    """
    subject, record = loop.subject, loop.record
    executor = subject.executor
    host = of.host_latency(record)
    found = {**of.returns(record), **host, **of.sizes(subject, record), **of.operations(subject, record)}
    reference = recording.reference if recording is not None else None
    if reference is not None:
        found |= of.kept(record, reference[0])
    followed = prediction = fidelity = None
    if executor is not None and recording is not None:
        is_reference = reference is not None and reference[0] is record
        followed = reference[1] if is_reference and reference is not None else follow(executor, recording.episodes)
        floats = reference[1] if reference is not None else None
        prediction = predict(executor, recording.episodes, followed, floats, recording.traced)
        fidelity = measure_fidelity(subject, followed, floats)
        if floats is not None:
            found |= of.action_errors(followed, floats, recording.name, shared.task)
    row = Row(
        name=subject.name,
        path=str(subject.path),
        target=record.target,
        architecture=executor.interface.architecture if executor is not None else "",
        quantities={name: found[name] for name in QUANTITIES if name in found},
        energy=of.energies(subject, record),
        latency=of.latencies(record, host),
        returns=Series(values=tuple(record.returns), unit="return", source="measured"),
        returns_varied=Series(values=tuple(record.returns_varied), unit="return", source="measured"),
        prediction=prediction,
        behaviour=behave(loop.episodes, shared.typical, shared.worst, shared.bins),
        fidelity=fidelity,
        cost=break_down(subject, record),
        provenance=dict(executor.provenance if executor is not None else record.provenance),
        command=record.command,
    )
    return row, followed
