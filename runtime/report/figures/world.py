"""Predictions of the world model against the real environment and against float."""

from typing import Any

import numpy as np

from nmbrl.runtime.report.document import Report, Traced
from nmbrl.runtime.report.figures.style import (
    Figure,
    Trace,
    ink,
    line,
    numbers,
    panel,
    panel_height,
    panels,
    target,
)

# Dimensions that traces are drawn of, at most: those that move most.
SHOWN = 7


def world_figures(report: Report) -> list[Figure]:
    """Traces of one episode, open loop and one step ahead; growth of the error; departure from float."""
    if report.traced is None:
        return []
    return [
        _traces(report, report.traced, "imagined"),
        _traces(report, report.traced, "followed"),
        _growth(report),
        _departure(report),
    ]


def _traces(report: Report, traced: Traced, what: str) -> Figure:
    open_loop = what == "imagined"
    first = traced.anchor if open_loop else 0
    real = np.array(traced.observations)
    spread = real.std(axis=0) / np.array([max(abs(column).max(), 1e-9) for column in real.T])
    shown = sorted(np.argsort(-spread, kind="stable")[:SHOWN].tolist())
    step = report.seconds_per_decision
    seconds = [round(step * (decision + 1), 6) for decision in range(len(traced.rewards))]
    data: list[Trace] = []
    for place, dimension in enumerate(shown):
        data.append(
            {
                **panel(place),
                **_real(place),
                "x": [0.0, *seconds],
                "y": numbers(real[:, dimension]),
            }
        )
    data.append({**panel(len(shown)), **_real(-1), "x": seconds, "y": list(traced.rewards)})
    for index, row in enumerate(report.rows):
        if row.prediction is None:
            continue
        predicted = np.array(getattr(row.prediction, what))
        rewards = getattr(row.prediction, f"{what}_rewards")
        values = [*(predicted[:, dimension] for dimension in shown), rewards]
        for place, series in enumerate(values):
            data.append(
                {
                    **target(report, index),
                    **panel(place),
                    "type": "scatter",
                    "mode": "lines",
                    "x": seconds[first:],
                    "y": numbers(series),
                    "line": line(report, index),
                    "hovertemplate": f"{row.name}: %{{y:.4g}}<extra></extra>",
                }
            )
    titles = [*(report.dimensions[dimension] for dimension in shown), "reward"]
    left_out = len(report.dimensions) - len(shown)
    how = (
        f"After {traced.anchor} decisions the model sees no more of the environment; it is told the actions alone."
        if open_loop
        else "At every decision the model has seen everything up to then, and predicts what follows."
    )
    also = f" {left_out} dimensions that move less are not drawn." if left_out else ""
    start = "a varied start" if traced.varied else "the native start"
    return Figure(
        name=f"trace-{'open-loop' if open_loop else 'one-step'}",
        title="Open loop: predicted and real" if open_loop else "One step ahead: predicted and real",
        caption=f"{how} The line without a colour is real: an episode of {traced.of} from {start}, seed "
        f"{traced.seed}.{also}",
        alternative=f"Real and predicted {', '.join(titles)} over the seconds of one episode. {how}",
        data=data,
        layout={**panels(titles, "seconds"), "hovermode": "x"},
        height=panel_height(len(titles)),
        panels=len(titles),
    )


def _real(place: int) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "line": ink(width=2.5),
        "name": "real",
        "hovertemplate": "real: %{y:.4g}<extra></extra>",
        "legendgroup": "real",
        "zorder": -1,
    }


def _growth(report: Report) -> Figure:
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        if row.prediction is None:
            continue
        if not data:
            data.append(
                {
                    **panel(0),
                    "type": "scatter",
                    "mode": "lines",
                    "x": list(range(1, len(row.prediction.still) + 1)),
                    "y": list(row.prediction.still),
                    "line": ink("dot"),
                    "name": "nothing changes",
                    "hovertemplate": "nothing changes: %{y:.3g}<extra></extra>",
                }
            )
        for place, errors in enumerate((row.prediction.observation, row.prediction.reward)):
            data.append(_over_horizon(report, index, place, errors))
    return Figure(
        name="growth",
        title="Error growth over the horizon",
        caption="How imagination departs from the real environment when it is given the actions that were really "
        f"taken, from every fifth decision of {report.recorded}. The dotted line predicts that nothing changes.",
        alternative="Error of imagined observations and rewards against decisions ahead; the table has the numbers.",
        data=data,
        **_horizon_panels(),
    )


def _departure(report: Report) -> Figure:
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        if row.prediction is None or not row.prediction.departure or row.name == report.reference:
            continue
        for place, errors in enumerate((row.prediction.departure, row.prediction.departure_reward)):
            data.append(_over_horizon(report, index, place, errors))
    reference = next((row.prediction for row in report.rows if row.name == report.reference), None)
    if data and reference is not None:
        own = {
            **panel(0),
            "type": "scatter",
            "mode": "lines",
            "x": list(range(1, len(reference.observation) + 1)),
            "y": list(reference.observation),
            "line": ink("dot"),
            "name": f"error of {report.reference}",
            "hovertemplate": f"error of {report.reference}: %{{y:.3g}}<extra></extra>",
        }
        data.insert(0, own)
    return Figure(
        name="departure",
        title="Where targets depart from float",
        caption=f"Distance of a target's imagination from that of {report.reference}. The dotted line is the distance "
        f"of {report.reference} from reality: below it, what the target adds is the lesser part of the error.",
        alternative="Distance of imagined observations and rewards from float's against decisions ahead.",
        data=data,
        **_horizon_panels(),
    )


def _horizon_panels() -> dict[str, Any]:
    """What figures over decisions ahead have in common: observation and reward side by side."""
    titles = ["observation (std. deviations)", "reward (of one decision)"]
    return {
        "layout": {**panels(titles, "decisions ahead", rangemode="tozero"), "hovermode": "x"},
        "height": panel_height(2) + 90,
        "panels": 2,
    }


def _over_horizon(report: Report, index: int, place: int, errors: tuple[float, ...]) -> Trace:
    name = report.rows[index].name
    return {
        **target(report, index),
        **panel(place),
        "type": "scatter",
        "mode": "lines",
        "x": list(range(1, len(errors) + 1)),
        "y": list(errors),
        "line": line(report, index),
        "hovertemplate": f"{name}: %{{y:.3g}}<extra></extra>",
    }
