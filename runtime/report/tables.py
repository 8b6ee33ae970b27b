"""The tables of a report, as the page, the Markdown and the terminal show them, each cell with its source."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmbrl.runtime.report.document import QUANTITIES, Estimate, Quantity, Report, Row
from nmbrl.runtime.report.text import ABSENT, interval, number, text

COSTS = (
    *("parameters", "bundle", "flash", "ram", "synaptic_memory", "neurons", "cores", "macs", "instructions"),
    *("synaptic_operations", "neuron_updates", "messages", "packets", "hops", "steps"),
    *("host_latency", "host_latency_p95", "host_latency_max"),
)


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it shows.
        below: its range, or what else stands under it.
        source: ``measured``, ``counted``, ``modelled``, or nothing.
        reference: what constants are cited from.
        note: what a reader should know besides.
        path: where the number is in the JSON document, dots between; empty for words.
    """

    text: str
    below: str = ""
    source: str = ""
    reference: str = ""
    note: str = ""
    path: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row.

    Attributes:
        caption: what it shows.
        columns: headings; the first is that of the names.
        names: of the rows.
        cells: a list a row.
        targets: whether the rows are the report's.
        notes: what to know to read it.
    """

    caption: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    targets: bool = True
    notes: str = ""


def cell(quantity: Quantity | None, path: str) -> Cell:
    """Show a quantity."""
    if quantity is None:
        return Cell(ABSENT)
    below = interval(quantity)
    if isinstance(quantity, Estimate):
        below = "; ".join(part for part in (below, quantity.name) if part)
    note = "; ".join(part for part in (quantity.range_of, quantity.note) if part)
    return Cell(text(quantity), below, quantity.source, quantity.reference, note, path)


def summary(report: Report) -> Table:
    """One row a target: return, what is kept of float's, latency, energy, memory, messages."""
    names = {
        "return": "Return",
        "return_varied": "Return, varied starts",
        "kept": "Kept of float",
        "latency": "Latency of a decision",
        "energy": "Energy of a decision",
        "flash": "Flash",
        "ram": "RAM",
        "synaptic_memory": "Synaptic memory",
        "messages": "Messages",
    }
    return Table(
        caption=f"Every target over the same {report.episodes} native and {report.episodes} varied episodes",
        columns=("Target", *names.values()),
        names=_names(report),
        cells=tuple(tuple(_summary_cell(row, index, name) for name in names) for index, row in enumerate(report.rows)),
        notes="Under a return stands its 95 % interval (bootstrap over episodes), under an energy or a latency its "
        "range "
        "and which constants it is computed with.",
    )


def _summary_cell(row: Row, index: int, name: str) -> Cell:
    if name in ("latency", "energy"):
        estimates: tuple[Estimate, ...] = getattr(row, name)
        return cell(estimates[0] if estimates else None, f"rows.{index}.{name}.0")
    return cell(row.quantities.get(name), f"rows.{index}.quantities.{name}")


def costs(report: Report) -> Table:
    """Every quantity of cost, a column a target."""
    known = [name for name in COSTS if any(name in row.quantities for row in report.rows)]
    return Table(
        caption="What a decision takes, and what the model takes",
        columns=("Quantity", *_names(report)),
        names=tuple(QUANTITIES[name] for name in known),
        cells=tuple(
            tuple(
                cell(row.quantities.get(name), f"rows.{index}.quantities.{name}")
                for index, row in enumerate(report.rows)
            )
            for name in known
        ),
        targets=False,
    )


def predictions(report: Report) -> Table:
    """Errors of imagination at the quoted horizons, and where targets depart from float."""
    horizons = report.horizons
    columns = (
        "one step ahead",
        *(f"{ahead} ahead" for ahead in horizons),
        *(f"reward, {ahead} ahead" for ahead in horizons),
        "departs from float after",
    )
    rows = [(index, row) for index, row in enumerate(report.rows) if row.prediction is not None]
    return Table(
        caption="Error of predictions against the real environment",
        columns=("Target", *columns),
        names=tuple(row.name for _, row in rows),
        cells=tuple(_prediction_cells(row, index, horizons) for index, row in rows),
        notes="Root mean square, in standard deviations of the model's normalisation; of rewards in the reward of one "
        "decision. A target departs from float where its imagination is further from float's than float's is from "
        "reality.",
    )


def _prediction_cells(row: Row, index: int, horizons: Sequence[int]) -> tuple[Cell, ...]:
    prediction = row.prediction
    assert prediction is not None
    path = f"rows.{index}.prediction"
    one_step = (sum(error**2 for error in prediction.one_step) / len(prediction.one_step)) ** 0.5
    cells = [Cell(number(one_step), source="measured", note="over all dimensions")]
    for name in ("observation", "reward"):
        errors = getattr(prediction, name)
        cells += [
            Cell(number(errors[ahead - 1]), source="measured", path=f"{path}.{name}.{ahead - 1}")
            if ahead <= len(errors)
            else Cell(ABSENT)
            for ahead in horizons
        ]
    if not prediction.departure:
        cells.append(Cell(ABSENT))
    elif prediction.departs_after is None:
        cells.append(Cell("never", source="measured"))
    else:
        cells.append(Cell(f"{prediction.departs_after} ahead", source="measured", path=f"{path}.departs_after"))
    return tuple(cells)


def actions(report: Report) -> Table:
    """Differences of actions from float's on the same inputs."""
    rows = [(index, row) for index, row in enumerate(report.rows) if "action_error" in row.quantities]
    return Table(
        caption="How far actions are from float's, fed with the same observations",
        columns=("Target", "mean", "largest", "decisions alike"),
        names=tuple(row.name for _, row in rows),
        cells=tuple(
            (
                cell(row.quantities["action_error"], f"rows.{index}.quantities.action_error"),
                cell(row.quantities["action_error_max"], f"rows.{index}.quantities.action_error_max"),
                _alike(report, row.name),
            )
            for index, row in rows
        ),
        notes=f"On {report.recorded}. Decisions alike: of the closed loops, those in which the target did bit for bit "
        "what float did.",
    )


def _alike(report: Report, name: str) -> Cell:
    for index, comparison in enumerate(report.comparisons):
        if set(comparison.rows) == {name, report.reference}:
            same = comparison.decisions - comparison.decisions_differing
            path = f"comparisons.{index}.decisions_differing"
            return Cell(f"{100 * same / comparison.decisions:.1f} %", source="measured", note=path)
    return Cell("100.0 %" if name == report.reference else ABSENT)


def exactness(report: Report) -> Table:
    """Pairs of rows that are equal bit for bit, and checks that conversions made."""
    names, cells = [], []
    for index, comparison in enumerate(report.comparisons):
        numbers_equal = comparison.numbers_differing in (0, None)
        if comparison.decisions_differing and not (comparison.numbers and numbers_equal):
            continue
        path = f"comparisons.{index}"
        names.append(" = ".join(comparison.rows))
        numbers = Cell(ABSENT, note="a board is asked for decisions only")
        if comparison.numbers is not None:
            numbers = Cell(
                f"{comparison.numbers_differing:,} of {comparison.numbers:,}",
                source="measured",
                path=f"{path}.numbers_differing",
            )
        decisions = f"{comparison.decisions_differing:,} of {comparison.decisions:,}"
        cells.append((Cell(decisions, source="measured", path=f"{path}.decisions_differing"), numbers))
    for row in report.rows:
        for what, (compared, differing) in (row.fidelity.checks if row.fidelity else {}).items():
            names.append(f"{row.name}: {what}")
            cells.append(
                (Cell(ABSENT), Cell(f"{differing:,} of {compared:,}", source="measured", note="by the conversion"))
            )
    return Table(
        caption="Bit-exactness checks that were run, and how much differed",
        columns=("Check", "decisions that differ in closed loop", "numbers that differ on the same inputs"),
        names=tuple(names),
        cells=tuple(cells),
        targets=False,
        notes="Every pair of rows is compared; pairs that are not listed differ. Numbers are beliefs, actions, values "
        "and "
        "imagined observations and rewards along the recorded episodes.",
    )


def tensors(report: Report) -> Table:
    """Errors of every tensor that leaves a function, as the conversions measured them."""
    names, cells = [], []
    for index, row in enumerate(report.rows):
        for position, error in enumerate(row.fidelity.tensors if row.fidelity else ()):
            path = f"rows.{index}.fidelity.tensors.{position}"
            names.append(f"{row.name}: {error.function}.{error.tensor}")
            values = (error.step, error.mean, error.worst, error.span)
            shown = [
                Cell(ABSENT) if value is None else Cell(number(value), source="measured", path=f"{path}.{field}")
                for field, value in zip(("step", "mean", "worst", "span"), values, strict=True)
            ]
            share = Cell(f"{100 * error.mean / error.span:.2g} %" if error.span else ABSENT)
            cells.append((Cell(error.dtype), *shown, share))
    return Table(
        caption="Error of every output against PyTorch's, on the run's calibration samples",
        columns=("Tensor", "type", "step", "mean error", "largest error", "range", "mean of range"),
        names=tuple(names),
        cells=tuple(cells),
        targets=False,
        notes="Measured by the conversions. Step: the real value of 1 in integers.",
    )


def sensitivity(report: Report) -> Table:
    """The tensors inside integer models whose rounding costs most."""
    names, cells = [], []
    for index, row in enumerate(report.rows):
        for position, one in enumerate(row.fidelity.sensitivity if row.fidelity else ()):
            names.append(f"{row.name}: {one.tensor}")
            path = f"rows.{index}.fidelity.sensitivity.{position}.alone"
            words = Cell(one.kind), Cell(one.computation)
            cells.append((Cell(number(one.alone), source="measured", path=path), *words))
    return Table(
        caption="What rounding one tensor alone costs, the costliest first",
        columns=("Tensor", "error of imagination, 5 ahead", "kind", "computed by"),
        names=tuple(names),
        cells=tuple(cells),
        targets=False,
        notes="In standard deviations, from the float model; measured by nmbrl-convert --sensitivity.",
    )


def wire(report: Report) -> Table:
    """Deadlines and faults of the boards."""
    boards = [(index, row) for index, row in enumerate(report.rows) if row.cost.wire is not None]
    counted: dict[str, None] = {}
    for _, row in boards:
        assert row.cost.wire is not None
        counted |= {name: None for name, value in row.cost.wire.counts.items() if value}
    always = ("safe actions", "late answers")
    shown = [*always, *(name for name in counted if name not in always)]
    fields = ("mode", "deadline_ms", "decisions", *shown) if boards else ()
    cells = tuple(tuple(_wire_cell(row, index, name) for index, row in boards) for name in fields)
    labels = ("mode", "deadline, ms", "decisions", *shown)
    return Table(
        caption="Deadlines and faults on the wire",
        columns=("What", *(row.name for _, row in boards)),
        names=labels,
        cells=cells,
        targets=False,
        notes="Counted by nmbrl-hil: asked (probability), injected, seen on the link, mended. What is not listed is 0 "
        "everywhere.",
    )


def _wire_cell(row: Row, index: int, name: str) -> Cell:
    told = row.cost.wire
    assert told is not None
    path = f"rows.{index}.cost.wire"
    if name == "mode":
        return Cell(told.mode)
    if name == "deadline_ms":
        return Cell(ABSENT) if told.deadline_ms is None else Cell(number(told.deadline_ms), path=f"{path}.{name}")
    if name == "decisions":
        return Cell(number(told.decisions), path=f"{path}.{name}")
    if name not in told.counts:
        return Cell("0")
    return Cell(number(told.counts[name]), path=f"{path}.counts.{name}")


def cited(report: Report) -> list[str]:
    """Return every publication that constants are cited from, in order of appearance."""
    found: dict[str, None] = {}
    for row in report.rows:
        for quantity in (*row.quantities.values(), *row.energy, *row.latency):
            if quantity.reference:
                found[quantity.reference] = None
    return list(found)


def _names(report: Report) -> tuple[str, ...]:
    return tuple(row.name for row in report.rows)
