"""A report as text: numbers with their units, and the table that the command prints."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from nmbrl.runtime.report_document import Quantity, Report, Row

ABSENT = "–"
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))
# Columns of text where the output is no terminal.
PLAIN_WIDTH = 160


def number(value: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, whole ones in full, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def joules(value: float, reference: float | None = None) -> str:
    """Write an energy with the prefix that suits it, or that suits `reference`."""
    scale, prefix = next((p for p in PREFIXES if abs(reference or value) >= p[0]), PREFIXES[-1])
    return f"{number(value / scale)} {prefix}J"


def text(quantity: Quantity | None) -> str:
    """Write a quantity with its unit, without its range."""
    if quantity is None:
        return ABSENT
    if quantity.unit == "J":
        return joules(quantity.value)
    if quantity.unit == "B":
        return f"{quantity.value / 1000:,.1f} kB"
    if quantity.unit == "%":
        return f"{quantity.value:.1f} %"
    if quantity.unit == "return":
        return f"{quantity.value:.1f}"
    return f"{number(quantity.value)} {quantity.unit}".strip()


def interval(quantity: Quantity | None) -> str:
    """Write a quantity's range in the unit that `text` gives it; nothing where it has none."""
    if quantity is None or quantity.low is None or quantity.high is None:
        return ""
    if quantity.unit == "J":
        return f"{joules(quantity.low, quantity.value)} to {joules(quantity.high, quantity.value)}"
    return f"{quantity.low:.1f} to {quantity.high:.1f}"


def print_report(report: Report, console: Console) -> None:
    """Print a report: what was evaluated, two tables with a row a target, and where the energies come from."""
    console.print(
        f"{report.env}, action repeat {report.action_repeat}, {report.planner}: {report.episodes} native and"
        f" {report.episodes} varied episodes from seed {report.seed}; ranges of returns are 95 % intervals",
        highlight=False,
    )
    columns: dict[str, Callable[[Row], str]] = {
        "return": lambda row: _ranged(row.quantities["return"]),
        "varied": lambda row: _ranged(row.quantities["return_varied"]),
        "kept": lambda row: text(row.quantities.get("kept")),
        "kept varied": lambda row: text(row.quantities.get("kept_varied")),
        "energy/decision": lambda row: _ranged(row.energy[0]) if row.energy else ABSENT,
        "host latency": lambda row: text(row.quantities["latency"]),
        "bytes": lambda row: text(row.quantities["bytes"]),
        "RAM": lambda row: text(row.quantities.get("ram")),
    }
    console.print(_table(report, columns))
    columns = {
        "parameters": lambda row: text(row.quantities["parameters"]),
        "MACs": lambda row: text(row.quantities["macs"]),
        "synaptic ops": lambda row: text(row.quantities.get("synaptic_operations")),
        "messages": lambda row: text(row.quantities.get("messages")),
        "action error": lambda row: text(row.quantities.get("action_error")),
        "largest": lambda row: text(row.quantities.get("action_error_max")),
        f"prediction error at {_horizons(report)}": lambda row: _at(report, row.open_loop.observation),
        "reward error": lambda row: _at(report, row.open_loop.reward),
    }
    console.print(_table(report, columns))
    for row in report.rows:
        for energy in row.energy:
            console.print(f"{row.name}: {_ranged(energy)} = {energy.source}", highlight=False, soft_wrap=True)
    console.print(
        f"action and prediction errors on {report.recorded}; prediction errors in standard deviations, after"
        f" {_horizons(report)} decisions imagined with the actions that were taken",
        highlight=False,
    )


def _table(report: Report, columns: dict[str, Callable[[Row], str]]) -> Table:
    table = Table("target", box=None, header_style="bold", pad_edge=False)
    for heading in columns:
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(f"{row.name} ({row.target})", *(write(row) for write in columns.values()))
    return table


def _ranged(quantity: Quantity) -> str:
    between = interval(quantity)
    return f"{text(quantity)} [{between}]" if between else text(quantity)


def _horizons(report: Report) -> str:
    return "/".join(map(str, report.horizons))


def _at(report: Report, errors: tuple[float, ...]) -> str:
    return "  ".join(number(errors[ahead - 1]) if ahead <= len(errors) else ABSENT for ahead in report.horizons)
