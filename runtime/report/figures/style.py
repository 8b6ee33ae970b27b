"""What all figures share: how a target looks, and how panels are laid out."""

from dataclasses import dataclass, field
from typing import Any

from nmbrl.runtime.report.document import Report

# Okabe and Ito's colours, which the colour-blind can tell apart, without yellow and black, which paper or
# night swallow; then a violet and a grey. Markers and dashes tell apart what colours do not.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a63c9", "#868e96")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star", "pentagon", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
# What stands for the page's ink, which the script knows.
INK = "ink"
# Panels in a row on a wide page, and their height in pixels.
COLUMNS, PANEL_HEIGHT = 2, 210
HEIGHT = 380

Trace = dict[str, Any]


@dataclass
class Figure:
    """One plot.

    Attributes:
        name: unique on the page.
        title: a few words.
        caption: how to read it.
        alternative: what a screen reader says instead of the picture.
        data: Plotly's traces; those of a target have its name in ``meta``.
        layout: Plotly's, without what follows from the page's theme and width.
        height: in pixels.
        panels: number of axes pairs laid out in a grid; 0 for a single plot.
    """

    name: str
    title: str
    caption: str
    alternative: str
    data: list[Trace] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = HEIGHT
    panels: int = 0


def colour(index: int) -> str:
    """Colour of the row at `index`."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Marker of the row at `index`."""
    return MARKERS[index % len(MARKERS)]


def line(report: Report, index: int) -> dict[str, Any]:
    """How the row at `index` is drawn; rows that agree lie on each other, and thinner ones on top keep all visible."""
    dash = DASHES[index % len(DASHES)]
    return {"color": colour(index), "dash": dash, "width": 1.5 + 0.8 * (len(report.rows) - 1 - index) / 2}


def ink(dash: str = "solid", width: float = 1.5) -> dict[str, Any]:
    """How what belongs to no target is drawn."""
    return {"color": INK, "dash": dash, "width": width}


def target(report: Report, index: int) -> Trace:
    """What every trace of a row has: its name, and the mark by which the page shows and hides it."""
    name = report.rows[index].name
    return {"name": name, "meta": name, "legendgroup": name}


def panel(number: int) -> Trace:
    """Put a trace into a panel, counted from 0."""
    suffix = "" if number == 0 else str(number + 1)
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def panels(titles: list[str], x_title: str, **axis: Any) -> dict[str, Any]:
    """Lay out panels with a title each.

    Args:
        titles: of the vertical axes.
        x_title: of all horizontal ones.
        **axis: of all vertical ones.
    """
    rows = -(-len(titles) // COLUMNS)
    layout: dict[str, Any] = {"grid": {"rows": rows, "columns": COLUMNS, "pattern": "independent"}}
    for number, title in enumerate(titles):
        suffix = "" if number == 0 else str(number + 1)
        layout[f"xaxis{suffix}"] = {"title": {"text": x_title}}
        layout[f"yaxis{suffix}"] = {"title": {"text": title}, **axis}
    return layout


def panel_height(count: int) -> int:
    """Height of a figure with so many panels on a wide page."""
    return -(-count // COLUMNS) * PANEL_HEIGHT + 40


def numbers(values: Any) -> list[float]:
    """Plain numbers, for the page."""
    return [float(value) for value in values]
