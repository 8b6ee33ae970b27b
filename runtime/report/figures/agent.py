"""What the controllers did: actions, rewards, visited states."""

import numpy as np

from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.figures.style import Figure, Trace, line, numbers, panel, panel_height, panels, target

# Action and state dimensions that are drawn, at most.
ACTIONS, STATES = 5, 8


def agent_figures(report: Report) -> list[Figure]:
    """Action traces of the typical and of the worst episode, and histograms of visited states."""
    return [_actions(report, "typical"), _actions(report, "worst"), _visits(report)]


def _actions(report: Report, which: str) -> Figure:
    size = len(report.rows[0].behaviour.typical.actions[0])
    discrete = report.action_kind == "discrete"
    titles = (
        ["action"] if discrete else [f"action[{index}]" if size > 1 else "action" for index in range(size)][:ACTIONS]
    )
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        trace = getattr(row.behaviour, which)
        actions = np.array(trace.actions)
        columns = [actions.argmax(axis=1)] if discrete else [actions[:, place] for place in range(len(titles))]
        seconds = [round(report.seconds_per_decision * decision, 6) for decision in range(len(actions))]
        for place, series in enumerate([*columns, trace.rewards]):
            data.append(
                {
                    **target(report, index),
                    **panel(place),
                    "type": "scatter",
                    "mode": "lines",
                    "x": seconds,
                    "y": numbers(series),
                    # An action is held until the next.
                    "line": {**line(report, index), "shape": "hv"},
                    "hovertemplate": f"{row.name}: %{{y:.3g}}<extra></extra>",
                }
            )
    shown = getattr(report, which)
    start = "a varied start" if shown.varied else "the native start"
    left_out = "" if discrete or size <= ACTIONS else f" {size - ACTIONS} further action dimensions are not drawn."
    return Figure(
        name=f"actions-{which}",
        title=f"Actions and rewards, {which} episode",
        caption=f"Seed {shown.seed} from {start}: {shown.because}.{left_out}",
        alternative=f"Actions and rewards of every target over the seconds of the {which} episode.",
        data=data,
        layout={**panels([*titles, "reward"], "seconds"), "hovermode": "x"},
        height=panel_height(len(titles) + 1),
        panels=len(titles) + 1,
    )


def _visits(report: Report) -> Figure:
    titles = list(report.dimensions[:STATES])
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        for place, shares in enumerate(row.behaviour.visits[: len(titles)]):
            edges = np.array(report.visit_bins[place])
            data.append(
                {
                    **target(report, index),
                    **panel(place),
                    "type": "scatter",
                    "mode": "lines",
                    "x": numbers((edges[1:] + edges[:-1]) / 2),
                    "y": numbers(100 * np.array(shares)),
                    "line": {**line(report, index), "shape": "hvh"},
                    "hovertemplate": f"{row.name}: %{{y:.2f}} %<extra></extra>",
                }
            )
    layout = panels(["% of decisions"] * len(titles), "", rangemode="tozero")
    for place, title in enumerate(titles):
        layout[f"xaxis{'' if place == 0 else place + 1}"]["title"]["text"] = title
    left_out = len(report.dimensions) - len(titles)
    also = f" {left_out} further dimensions are not drawn." if left_out else ""
    return Figure(
        name="visits",
        title="States that were visited",
        caption=f"Share of decisions over all episodes by what was observed.{also}",
        alternative="Histograms of every observed dimension, a line a target.",
        data=data,
        layout={**layout, "hovermode": "x"},
        height=panel_height(len(titles)),
        panels=len(titles),
    )
