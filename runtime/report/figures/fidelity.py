"""How far targets are from float: actions, tensors, bits."""

import numpy as np

from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.figures.style import HEIGHT, Figure, Trace, colour, line, marker, numbers, target


def fidelity_figures(report: Report) -> list[Figure]:
    """Which rows decide alike, distribution and autocorrelation of action errors, errors of tensors."""
    return [_alike(report), _distribution(report), _autocorrelation(report), _tensors(report)]


def _alike(report: Report) -> Figure:
    names = [row.name for row in report.rows]
    if len(names) < 2:
        return Figure("alike", "", "", "")
    share = np.full((len(names), len(names)), 100.0)
    for comparison in report.comparisons:
        a, b = (names.index(name) for name in comparison.rows)
        share[a, b] = share[b, a] = 100 * (1 - comparison.decisions_differing / comparison.decisions)
    return Figure(
        name="alike",
        title="Decisions that are equal bit for bit",
        caption="In closed loop, on the same episodes. Two floats that differ once see other observations from then "
        "on, so "
        "what is not 100 % is soon little; 100 % is the same integers all the way.",
        alternative="Matrix of the share of equal decisions of every pair of targets; the table below has the pairs "
        "that "
        "are equal.",
        data=[
            {
                "type": "heatmap",
                "x": names,
                "y": names,
                "z": share.round(2).tolist(),
                "zmin": 0,
                "zmax": 100,
                "colorscale": "Cividis",
                "texttemplate": "%{z:.0f}",
                "xgap": 2,
                "ygap": 2,
                "colorbar": {"ticksuffix": " %", "thickness": 12},
                "hovertemplate": "%{y} and %{x}: %{z:.2f} %<extra></extra>",
            }
        ],
        layout={
            "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
            "xaxis": {"automargin": True, "type": "category", "tickangle": -35},
        },
        height=HEIGHT + 18 * len(names),
    )


def _distribution(report: Report) -> Figure:
    edges = np.array(report.action_bins)
    middles = [edges[1] / 1.4, *np.sqrt(edges[1:-1] * edges[2:])]
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        if row.fidelity is None or not row.fidelity.action_errors or row.name == report.reference:
            continue
        data.append(
            {
                **target(report, index),
                "type": "scatter",
                "mode": "lines",
                "x": numbers(middles),
                "y": numbers(100 * np.array(row.fidelity.action_errors)),
                "line": {**line(report, index), "shape": "hvh"},
                "hovertemplate": f"{row.name}: %{{y:.1f}} % near %{{x:.2g}}<extra></extra>",
            }
        )
    return Figure(
        name="action-errors",
        title="Distribution of the action error",
        caption=f"Largest difference of an action's dimensions from {report.reference}, fed with the same "
        "observations; the "
        f"bin at the left edge holds everything below {edges[1]:g}.",
        alternative="Share of decisions against the size of the action error, a line a target.",
        data=data,
        layout={
            "xaxis": {"type": "log", "title": {"text": "action error"}},
            "yaxis": {"title": {"text": "% of decisions"}, "rangemode": "tozero"},
        },
    )


def _autocorrelation(report: Report) -> Figure:
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        if row.fidelity is None or not row.fidelity.autocorrelation:
            continue
        data.append(
            {
                **target(report, index),
                "type": "scatter",
                "mode": "lines+markers",
                "x": list(range(len(row.fidelity.autocorrelation))),
                "y": list(row.fidelity.autocorrelation),
                "line": line(report, index),
                "marker": {"symbol": marker(index), "color": colour(index), "size": 5},
                "hovertemplate": f"{row.name}, %{{x}} later: %{{y:.2f}}<extra></extra>",
            }
        )
    return Figure(
        name="autocorrelation",
        title="Autocorrelation of the action error",
        caption="1 at lag 0. Near 0 afterwards: errors are like noise, and average out. High: they push the same way "
        "for that "
        "many decisions.",
        alternative="Autocorrelation of the action error against decisions later, a line a target.",
        data=data,
        layout={
            "xaxis": {"title": {"text": "decisions later"}},
            "yaxis": {"title": {"text": "autocorrelation"}},
        },
    )


def _tensors(report: Report) -> Figure:
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        errors = [error for error in (row.fidelity.tensors if row.fidelity else ()) if error.span and error.mean]
        if not errors:
            continue
        data.append(
            {
                **target(report, index),
                "type": "scatter",
                "mode": "markers",
                "y": [f"{error.function}.{error.tensor}" for error in errors],
                "x": [100 * error.mean / error.span for error in errors],
                "marker": {
                    "symbol": marker(index),
                    "color": colour(index),
                    "size": 8 + 2 * (len(report.rows) - 1 - index),
                    "opacity": 0.85,
                },
                "hovertemplate": f"{row.name}: %{{y}}: %{{x:.3g}} % of the range<extra></extra>",
            }
        )
    return Figure(
        name="tensor-errors",
        title="Error of every tensor",
        caption="Mean error of what leaves a function, of the largest value that PyTorch gives; on the run's "
        "calibration "
        "samples, by the conversion.",
        alternative="Mean error of every output of every function as a share of its range, one marker a target.",
        data=data,
        layout={
            "xaxis": {"type": "log", "title": {"text": "mean error, % of the range"}},
            "yaxis": {"automargin": True, "type": "category", "autorange": "reversed"},
        },
    )
