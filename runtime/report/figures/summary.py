"""Return against what it costs."""

from typing import Any

from nmbrl.runtime.report.document import Quantity, Report
from nmbrl.runtime.report.figures.style import HEIGHT, Figure, Trace, colour, ink, marker, target
from nmbrl.runtime.report.text import interval, text

# Of the vertical axis of returns, as a share of the largest, at least: what hardly differs is to look like it.
SMALLEST_SPAN = 0.1
WHAT = {"energy": ("Energy of a decision", "J"), "latency": ("Latency of a decision", "s")}


def summary_figures(report: Report) -> list[Figure]:
    """Return against energy and against latency, and the return of every episode."""
    return [_trade_off(report, "energy"), _trade_off(report, "latency"), _returns(report)]


def _trade_off(report: Report, what: str) -> Figure:
    title, unit = WHAT[what]
    data: list[Trace] = []
    best = next((best for best in report.best if best.what == what), None)
    if best is not None:
        rows = {row.name: row for row in report.rows}
        front = sorted(
            (getattr(rows[name], what)[0].value, rows[name].quantities["return"].value) for name in best.front
        )
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [cost for cost, _ in front],
                "y": [returned for _, returned in front],
                "line": {**ink("dot"), "shape": "hv"},
                "name": "Pareto front",
                "hoverinfo": "skip",
            }
        )
    returns = []
    for index, row in enumerate(report.rows):
        estimates = getattr(row, what)
        if not estimates:
            continue
        cost, returned = estimates[0], row.quantities["return"]
        returns += [returned.value, returned.low or returned.value, returned.high or returned.value]
        told = f"{row.name}<br>return {text(returned)} ({interval(returned)})<br>{text(cost)} ({interval(cost)})"
        data.append(
            {
                **target(report, index),
                "type": "scatter",
                "mode": "markers",
                "x": [cost.value],
                "y": [returned.value],
                "error_x": _around(cost, index),
                "error_y": _around(returned, index),
                "marker": {
                    "color": colour(index),
                    "symbol": marker(index),
                    # Rows that agree lie on each other: smaller markers on top keep every one visible.
                    "size": 9 + 2 * (len(report.rows) - 1 - index),
                    "opacity": 0.9,
                },
                "hovertemplate": f"{told}<br>{cost.source}: {cost.name}<extra></extra>",
            }
        )
    layout: dict[str, Any] = {
        "xaxis": {
            "type": "log",
            "title": {"text": f"{title}, with its range"},
            "ticksuffix": unit,
            "exponentformat": "SI",
        },
        "yaxis": {"title": {"text": "mean return, 95 % interval"}, "range": _span(returns)},
    }
    named = f" Best trade-off: {best.row}, the {best.because}." if best is not None else ""
    return Figure(
        name=f"return-{what}",
        title=f"Return against {what}",
        caption=f"Native starts; up and to the left is better.{named} The dotted line is the Pareto front: no target "
        "beats one of these in both.",
        alternative=f"Mean return against {what} of a decision, one marker a target; the numbers are in the summary's "
        "table."
        f"{named}",
        data=data if returns else [],
        layout=layout,
        height=HEIGHT + 20,
    )


def _returns(report: Report) -> Figure:
    data = []
    for index, row in enumerate(report.rows):
        for kind, series in (("native", row.returns), ("varied", row.returns_varied)):
            data.append(
                {
                    **target(report, index),
                    "type": "box",
                    "x": [kind] * len(series.values),
                    "y": list(series.values),
                    "boxpoints": "all",
                    "pointpos": 0,
                    "jitter": 0.4,
                    "line": {"color": colour(index), "width": 1},
                    "fillcolor": "rgba(0,0,0,0)",
                    "marker": {"color": colour(index), "symbol": marker(index), "size": 5, "opacity": 0.7},
                    "offsetgroup": row.name,
                    "hovertemplate": f"{row.name}<br>episode %{{pointNumber}}: %{{y:.1f}}<extra></extra>",
                }
            )
    return Figure(
        name="returns",
        title="Return of every episode",
        caption="Each mark is an episode: on the left from the native start, on the right from varied starts; the same "
        "seeds on every target. Boxes are quartiles.",
        alternative="Returns of all episodes of every target; their means and intervals are in the summary's table.",
        data=data,
        layout={"boxmode": "group", "yaxis": {"title": {"text": "return"}}, "xaxis": {"type": "category"}},
    )


def _around(quantity: Quantity, index: int) -> dict[str, Any]:
    low = quantity.value if quantity.low is None else quantity.low
    high = quantity.value if quantity.high is None else quantity.high
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - quantity.value)],
        "arrayminus": [max(0.0, quantity.value - low)],
        "color": colour(index),
        "thickness": 1.2,
    }


def _span(returns: list[float]) -> list[float] | None:
    if not returns:
        return None
    low, high = min(returns), max(returns)
    missing = max(0.0, SMALLEST_SPAN * max(abs(low), abs(high)) - (high - low))
    margin = 0.08 * (high - low + missing)
    return [low - missing / 2 - margin, high + missing / 2 + margin]
