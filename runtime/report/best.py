"""The best trade-off: what costs least among the rows that return as much as the best."""

from collections.abc import Sequence
from typing import Literal

from nmbrl.runtime.report.document import Best, Row

# Share of the best mean return that a row may lack and still count as returning as much.
TOLERANCE = 0.01


def name_best(rows: Sequence[Row]) -> tuple[Best, ...]:
    """Name the best rows by energy and by latency, as far as they are known."""
    return tuple(best for what in ("energy", "latency") if (best := _best(rows, what)) is not None)


def _best(rows: Sequence[Row], what: Literal["energy", "latency"]) -> Best | None:
    priced = {
        row.name: (row.quantities["return"].value, getattr(row, what)[0].value) for row in rows if getattr(row, what)
    }
    if not priced:
        return None
    highest = max(returned for returned, _ in priced.values())
    enough = {name: cost for name, (returned, cost) in priced.items() if returned >= highest - TOLERANCE * abs(highest)}
    front = [
        name
        for name, (returned, cost) in priced.items()
        if not any(r >= returned and c <= cost and (r > returned or c < cost) for r, c in priced.values())
    ]
    chosen = min(enough, key=lambda name: enough[name])
    estimate = next(getattr(row, what)[0] for row in rows if row.name == chosen)
    return Best(
        what=what,
        row=chosen,
        front=tuple(front),
        because=f"least {what} ({estimate.source}: {estimate.name}) of the {len(enough)} rows within "
        f"{100 * TOLERANCE:g} % of the highest mean return",
    )
