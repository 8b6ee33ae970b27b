"""The sensitivity of a bundle's tensors as a table on the terminal."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

# Where a bundle has it.
FILE = "sensitivity.json"
# Rows shown of those that rollouts pass through, and of the others that the policy's output or the value does.
SHOWN = {"observation_5": 20, "action": 5, "value": 5}
COLUMNS = {
    "observation_1": "1",
    "observation_5": "5",
    "observation_15": "15",
    "observation_50": "50",
    "action": "action",
    "value": "value",
}
# Share of what all tensors together cost below which a figure is left out: float32's own rounding is far below.
LEAST = 1e-3


def make_table(path: Path) -> Table:
    """Return the costliest tensors of a ``sensitivity.json``; the file holds them all."""
    content = json.loads(path.read_text())
    together = content["rounded"]
    names = [name for name in COLUMNS if name in together]
    table = Table(
        title="What rounding costs: root mean square departure from the float model",
        caption="Observations imagined 1, 5, ... decisions ahead, in standard deviations; the policy's output; the "
        f"value. %n is the n-th operator of the function's file.\nAll of them: {path}",
        box=None,
    )
    table.add_column("rounded alone")
    for name in names:
        table.add_column(COLUMNS[name], justify="right")
    table.add_row("all together", *(f"{together[name]:.2g}" for name in names), style="bold")
    left = content["rows"]
    for ranking, count in SHOWN.items():
        ranked = [row for row in left if row["alone"].get(ranking, 0.0) > LEAST * together.get(ranking, 0.0)]
        left = [row for row in left if row not in ranked]
        ranked.sort(key=lambda row: -row["alone"][ranking])
        for row in ranked[:count]:
            costs = ((row["alone"][name], together[name]) for name in names)
            table.add_row(_label(row), *(f"{cost:.2g}" if cost > LEAST * most else "" for cost, most in costs))
    return table


def _label(row: dict[str, Any]) -> str:
    if row["kind"] == "quantity":
        return f"{row['tensor']} between functions"
    return f"{row['tensor']} {'weights' if row['kind'] == 'weights' else '='} {row['computation']}"
