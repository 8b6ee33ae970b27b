"""What `nmbrl-report` prints."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable

from nmbrl.runtime.report import tables
from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.tables import Table

# Columns of text where the output is no terminal.
PLAIN_WIDTH = 180
# Columns of the page's summary that are printed; the rest is on the page.
PRINTED = ("Return", "Return, varied starts", "Kept of float", "Latency of a decision", "Energy of a decision")


def print_report(report: Report, console: Console) -> None:
    """Print what was evaluated, a row a target, and the best trade-offs."""
    console.print(
        f"{report.env}, action repeat {report.action_repeat}, {report.planner}: {report.episodes} native and"
        f" {report.episodes} varied episodes from seed {report.seed}; ranges of returns are 95 % intervals",
        highlight=False,
    )
    console.print(_rich(tables.summary(report), PRINTED, report.reference))
    if tables.predictions(report).cells:
        console.print(_rich(tables.predictions(report), tables.predictions(report).columns[1:], None))
    for best in report.best:
        console.print(f"best trade-off of return and {best.what}: {best.row}, {best.because}", highlight=False)


def _rich(table: Table, shown: Sequence[str], reference: str | None) -> RichTable:
    places = [place for place, column in enumerate(table.columns[1:]) if column in shown]
    drawn = RichTable(table.columns[0], box=None, header_style="bold", pad_edge=False)
    for place in places:
        drawn.add_column(table.columns[place + 1], justify="right")
    for name, cells in zip(table.names, table.cells, strict=True):
        told = f"{name} (float)" if name == reference else name
        chosen = (cells[place] for place in places)
        drawn.add_row(told, *(f"{cell.text} [{cell.below}]" if cell.below else cell.text for cell in chosen))
    return drawn
