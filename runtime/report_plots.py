"""The plots of a report, as SVG that takes its ink from the page around it."""

import io
import re
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from nmbrl.runtime.report_document import Quantity, Report
from nmbrl.runtime.report_text import PREFIXES

# Okabe and Ito's colours, which the colour-blind can tell apart, without yellow, which paper swallows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "D", "^", "v", "P")
# Stands for the colour of the page's text, which is not known here.
INK = "#010203"
# Of the vertical axis of returns, as a share of the largest.
SMALLEST_SPAN = 0.1
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nmbrl",
    "font.family": "sans-serif",
    "font.size": 11,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def colour(index: int) -> str:
    """Colour of the row at `index`."""
    return COLOURS[index % len(COLOURS)]


def trade_off(report: Report) -> str | None:
    """Draw return against energy a decision, with the intervals of both; None if no row has an energy."""
    if not any(row.energy for row in report.rows):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        axes = figure.subplots()
        for index, row in enumerate(report.rows):
            if not row.energy:
                continue
            energy = row.energy[0]
            for name, filled in (("return", True), ("return_varied", False)):
                returned = row.quantities[name]
                axes.errorbar(
                    energy.value,
                    returned.value,
                    xerr=_around(energy),
                    yerr=_around(returned),
                    fmt=MARKERS[index % len(MARKERS)],
                    color=colour(index),
                    markerfacecolor=colour(index) if filled else "none",
                    # Rows that agree lie on each other: smaller markers on top keep every one visible.
                    markersize=9 + 4 * (len(report.rows) - 1 - index),
                    capsize=3,
                    elinewidth=1,
                    label=row.name if filled else None,
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda joules, _: _joules(joules))
        axes.set_xlabel("estimated energy a decision, with its range")
        axes.set_ylabel("mean return, 95 % interval")
        _widen(axes)
        _finish(axes)
        return _svg(figure, "trade-off", "Mean return against estimated energy a decision, one marker a target")


def error_growth(report: Report) -> str:
    """Draw how prediction error grows with the horizon, for observations and for rewards."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        above, below = figure.subplots(2, sharex=True)
        first = report.rows[0].open_loop
        horizon = range(1, len(first.still) + 1)
        above.plot(horizon, first.still, color=INK, linestyle=":", linewidth=1.5, label="nothing changes")
        for index, row in enumerate(report.rows):
            error = row.open_loop
            ahead = range(1, len(error.observation) + 1)
            # Rows that agree lie on each other: thinner lines on top keep every one visible.
            look = {"color": colour(index), "linewidth": 1.5 + 1.2 * (len(report.rows) - 1 - index)}
            above.plot(ahead, error.observation, label=row.name, **look)
            below.plot(ahead, error.reward, label=row.name, **look)
        above.set_ylabel("observation error\n(standard deviations)")
        below.set_ylabel("reward error\n(reward of one decision)")
        below.set_xlabel("decisions imagined ahead")
        for axes in (above, below):
            axes.set_ylim(bottom=0)
            for quoted in report.horizons:
                axes.axvline(quoted, color=INK, linewidth=0.5, alpha=0.2)
        _finish(above)
        below.grid(alpha=0.15, color=INK)
        return _svg(figure, "growth", "Error of imagined observations and rewards against decisions imagined ahead")


def _around(quantity: Quantity) -> list[list[float]] | None:
    if quantity.low is None or quantity.high is None:
        return None
    return [[max(0.0, quantity.value - quantity.low)], [max(0.0, quantity.high - quantity.value)]]


def _joules(value: float) -> str:
    scale, prefix = next((p for p in PREFIXES if value >= 0.999 * p[0]), PREFIXES[-1])
    return f"{value / scale:g} {prefix}J"


def _widen(axes: Axes) -> None:
    """Let the vertical axis span a tenth of the returns at least, so that what hardly differs looks like it."""
    low, high = axes.get_ylim()
    missing = SMALLEST_SPAN * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.15, color=INK)
    axes.legend()


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element that scales with its container and is described to screen readers.

    Args:
        figure: to draw.
        name: sets its element ids apart from those of other figures on the page.
        description: what a screen reader says.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    drawn = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-label="{description}">', drawn)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
