"""A report as Markdown: the tables of the page, for a README, an issue, or a terminal."""

from nmbrl.runtime.report import tables
from nmbrl.runtime.report.document import Estimate, Report, Row
from nmbrl.runtime.report.tables import Cell, Table
from nmbrl.runtime.report.text import interval, text

SECTIONS = {
    "Summary": (tables.summary,),
    "World model": (tables.predictions,),
    "Where the cost goes": (tables.costs, tables.wire),
    "Fidelity": (tables.exactness, tables.actions, tables.tensors, tables.sensitivity),
}


def render_markdown(report: Report) -> str:
    """Return the tables and the provenance."""
    references = tables.cited(report)
    lines = [
        f"# {report.env}: return and cost on each target",
        "",
        f"{report.episodes} native and {report.episodes} varied episodes from seed {report.seed}, the same on every "
        "row; "
        f"action repeat {report.action_repeat}; decisions by {report.planner}.",
        "",
    ]
    lines += [f"- Not in this report: {failure}" for failure in report.failures] + [""] * bool(report.failures)
    for title, makers in SECTIONS.items():
        made = [table for table in (make(report) for make in makers) if table.cells]
        if not made:
            continue
        lines += [f"## {title}", ""]
        if title == "Summary":
            lines += [
                f"Best trade-off of return and {best.what}: **{best.row}**, the {best.because}." for best in report.best
            ]
            lines += [""]
        for table in made:
            lines += [*_table(table, references), ""]
    lines += ["### Energies and latencies, with what they leave out", ""]
    for row in report.rows:
        lines += _estimates(row, references)
    lines += ["", "## Provenance", ""]
    for row in report.rows:
        facts = "; ".join(f"{label} {fact}" for label, fact in row.provenance.items())
        lines.append(f"- **{_plain(row.name)}** ({row.target}): {facts}. `{row.command}`")
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines += [f"- This report: `{report.command}`; {report.machine}; {versions}", ""]
    if references:
        lines += ["Constants that were not measured in this project are cited from:", ""]
        lines += [f"{number}. {citation}" for number, citation in enumerate(references, 1)]
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table, references: list[str]) -> list[str]:
    lines = [f"**{table.caption}**", "", _line(table.columns), _line(["---", *["---:"] * (len(table.columns) - 1)])]
    for name, cells in zip(table.names, table.cells, strict=True):
        lines.append(_line([_plain(name), *(_cell(cell, references) for cell in cells)]))
    return [*lines, "", table.notes] if table.notes else lines


def _cell(cell: Cell, references: list[str]) -> str:
    """The number, its range, and a word where it was not measured."""
    shown = _plain(cell.text)
    if cell.below:
        shown += f" ({_plain(cell.below)})"
    if cell.source in ("counted", "modelled"):
        shown += f" *{cell.source}*"
    if cell.reference:
        shown += f" [{references.index(cell.reference) + 1}]"
    return shown


def _estimates(row: Row, references: list[str]) -> list[str]:
    lines = []
    estimates: tuple[tuple[str, tuple[Estimate, ...]], ...] = (("energy", row.energy), ("latency", row.latency))
    for what, found in estimates:
        for estimate in found:
            between = f" ({interval(estimate)}: {estimate.range_of})" if interval(estimate) else ""
            cited = f" [{references.index(estimate.reference) + 1}]" if estimate.reference else ""
            leaves_out = f"; leaves out {estimate.leaves_out}" if estimate.leaves_out else ""
            lines.append(
                f"- {_plain(row.name)}, {what}: {text(estimate)}{between}, {estimate.name}, *{estimate.source}*{cited}"
                f"{leaves_out}"
            )
    return lines


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(words: str) -> str:
    """Text that Markdown takes as it is."""
    return words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
