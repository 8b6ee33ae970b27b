"""What the neurons of Loihi bundles do in the report's typical episode, in numbers and as a picture."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from nmbrl.runtime.environment import Environment
from nmbrl.runtime.loihi.trace import Trace, record_trace
from nmbrl.runtime.planners import make_planner
from nmbrl.runtime.report.document import Activity, Potential, Quantity, Report, Series
from nmbrl.runtime.report.row import Loop
from nmbrl.runtime.report.world import rounded
from nmbrl.targets.loihi.executor import LoihiExecutor

# Dots an inch: hardly more than the page shows, so that the page stays small.
DPI = 110


@dataclass
class Traces:
    """Traces of Loihi bundles by row name.

    Attributes:
        activities: in numbers.
        pictures: as SVG; empty if none were asked for.
        failures: one line for every trace that is missing.
        interrupted: whether the user ended it.
    """

    activities: dict[str, Activity] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False


def make_traces(report: Report, loops: list[Loop], draw: bool, say: Callable[[str], None]) -> Traces:
    """Run the typical episode once more on every Loihi bundle, and record its neurons.

    Planners that search are not traced: they run networks so often that the messages would fill the memory.

    Args:
        report: tells which episode, and what decides.
        loops: of its rows.
        draw: whether pictures are made, too.
        say: told what is being done.
    """
    traces = Traces()
    if report.planner != "policy":
        return traces
    for loop in loops:
        subject = loop.subject
        if not isinstance(subject.executor, LoihiExecutor):
            continue
        say(f"{subject.name}: trace of the typical episode")
        try:
            trace = _record(report, subject.executor)
            traces.activities[subject.name] = summarise(trace)
            if draw:
                traces.pictures[subject.name] = _draw(trace)
        except KeyboardInterrupt:
            traces.interrupted = True
            traces.failures.append("interrupted: some traces are missing")
            break
        except Exception as error:  # whatever a simulator or a library of pictures raises, the rest is still made
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            traces.failures.append(f"{subject.path} could not be traced: {first_line}")
    return traces


def summarise(trace: Trace) -> Activity:
    """Return what the JSON tells of a trace."""
    silent = 100 * trace.silent()
    messages = np.zeros(len(silent))
    for name, sent in trace.messages.items():
        np.add.at(messages, trace.decisions[name.split("/")[0]], np.count_nonzero(sent, axis=1))
    return Activity(
        silence=Quantity(
            value=float(silent.mean()),
            unit="%",
            source="counted",
            low=float(silent.min()),
            high=float(silent.max()),
            range_of="lowest and highest of a decision",
        ),
        silent=Series(values=rounded(silent), unit="% of neurons", source="counted"),
        messages=Series(values=rounded(messages), unit="messages", source="counted"),
        potentials=tuple(
            Potential(
                population=name,
                neurons=tuple(trace.neurons[name].tolist()),
                low=int(values.min()),
                high=int(values.max()),
            )
            for name, values in trace.potentials.items()
        ),
    )


def _record(report: Report, executor: LoihiExecutor) -> Trace:
    shown = report.typical
    with closing(Environment(report.env, report.action_repeat)) as environment:
        planner = make_planner(report.planner, executor)
        return record_trace(planner, executor, environment, shown.seed, varied=shown.varied)


def _draw(trace: Trace) -> bytes:
    # Needs a package that numbers do not.
    from nmbrl.runtime.loihi.pictures import draw_trace, encode

    return encode(draw_trace(trace), ".svg", DPI, transparent=True)
