"""Pictures of what runs on a Loihi chip: where it lies, and what it does there."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from nmbrl.runtime.loihi.counting import Tally
from nmbrl.runtime.loihi.trace import Trace
from nmbrl.targets.costs import loihi
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes
from nmbrl.targets.loihi.chips import Chip, find_chip
from nmbrl.targets.loihi.placement import Core, Placement

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
FORMATS = (".png", ".svg", ".pdf")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nmbrl",
    "font.size": 9,
    # Every text of an SVG names all fonts that are here.
    "font.sans-serif": ["DejaVu Sans"],
}
# Dots an inch of what is drawn as pixels.
DPI = 150
# Cores that a chart of bars can name.
LONGEST_CHART = 32
# Populations whose potentials are drawn.
TRACED = 8
METADATA: Any = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def check_picture_path(path: Path) -> None:
    """Check the kind of picture that a path asks for.

    Raises:
        NmbrlError: if it cannot be drawn.
    """
    if path.suffix not in FORMATS:
        raise NmbrlError(f"{path}: pictures are {', '.join(FORMATS)}")


def encode(figure: Figure, suffix: str, dpi: int = DPI, transparent: bool = False) -> bytes:
    """Return a figure as a file of one of `FORMATS`; equal figures give equal bytes."""
    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=METADATA[suffix], transparent=transparent)
    return stream.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a figure.

    Raises:
        NmbrlError: if it cannot be written.
    """
    write_bytes(path, encode(figure, path.suffix))


def draw_placement(placement: Placement) -> Figure:
    """Draw a chip with the cores in use, and how full each of them is."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 5), layout="constrained")
        floor, bars = figure.subplots(1, 2, width_ratios=(2, 3))
        _draw_floor(floor, placement)
        _draw_loads(bars, placement)
    return figure


def _draw_floor(axes: Axes, placement: Placement) -> None:
    chip = find_chip(placement.chip)
    width, height = chip.tiles
    functions = list(placement.count())
    for number in range(chip.cores):
        x, y = chip.position(number)
        column, row = divmod(number % chip.cores_a_tile, 2)
        corner = x + 0.06 + 0.45 * column, y + 0.06 + 0.45 * row
        core = placement.cores[number] if number < len(placement.cores) else None
        colour = COLOURS[functions.index(core.function) % len(COLOURS)] if core else "none"
        alpha = 0.25 + 0.75 * max(_loads(core, chip).values()) if core else 1.0
        axes.add_patch(Rectangle(corner, 0.43, 0.43, facecolor=colour, alpha=alpha, edgecolor="none"))
        axes.add_patch(Rectangle(corner, 0.43, 0.43, facecolor="none", edgecolor="#999999", linewidth=0.5))
    handles = [Patch(color=COLOURS[i % len(COLOURS)], label=name) for i, name in enumerate(functions)]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=len(handles), frameon=False)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axes.set_title(f"{chip.name}: {len(placement.cores)} of {chip.cores} cores, tiles of {chip.cores_a_tile}")


def _draw_loads(axes: Axes, placement: Placement) -> None:
    chip = find_chip(placement.chip)
    loads = [_loads(core, chip) for core in placement.cores]
    names = list(loads[0])
    for index, name in enumerate(names):
        offset = (index - (len(names) - 1) / 2) * 0.8 / len(names)
        places = [number + offset for number in range(len(loads))]
        heights = [100 * load[name] for load in loads]
        axes.bar(places, heights, 0.8 / len(names), label=name, color=COLOURS[index])
    if len(loads) <= LONGEST_CHART:
        axes.set_xticks(range(len(loads)), [f"{i} {core.function}" for i, core in enumerate(placement.cores)])
        axes.tick_params(axis="x", rotation=60 if len(loads) > 8 else 0)
    else:
        axes.set_xlabel("core")
    axes.set(ylabel="% of a core", title="Load of each core")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _loads(core: Core, chip: Chip) -> dict[str, float]:
    """Return the shares of a core's limits that are used, those of them that are published."""
    limits = {
        "neurons": (core.compartments, chip.compartments),
        "synaptic memory": (core.synaptic_bits, chip.synaptic_bits),
        "axons in": (core.axons_in, chip.axons_in),
        "axons out": (core.axons_out, chip.axons_out),
    }
    return {name: used / limit for name, (used, limit) in limits.items() if limit is not None}


def draw_tally(tally: Tally) -> Figure:
    """Draw sparsity over an episode, and synaptic operations by population and by core."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 8), layout="constrained")
        (time, energy), (populations, cores) = figure.subplots(2, 2)
        time.plot([100 * share for share in tally.silent], color=COLOURS[0], linewidth=1)
        time.set(xlabel="decision of an episode", ylabel="% of possible messages not sent", title="Sparsity over time")
        rows = tally.populations()
        _draw_bars(
            populations,
            [f"{row['function']}/{row['population']}" for row in rows],
            [row["synaptic_operations"] for row in rows],
            "Synaptic operations a decision, by sending population",
        )
        loads = tally.cores()
        _draw_bars(
            cores,
            [f"{row['core']} {row['function']}" for row in loads],
            [row["synaptic_operations"] for row in loads],
            "Synaptic operations a decision, by core",
        )
        _draw_models(energy, tally)
        for axes in (time, energy, populations, cores):
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_bars(axes: Axes, names: list[str], values: list[float], title: str) -> None:
    axes.barh(range(len(values)), values, color=COLOURS[0])
    axes.set(title=title, ylim=(len(values) - 0.4, -0.6))
    if len(names) <= LONGEST_CHART:
        axes.set_yticks(range(len(names)), names)


def _draw_models(axes: Axes, tally: Tally) -> None:
    """Draw energies and modelled times of a decision, each with its range."""
    estimates = [("µJ", 1e6, e.name, e.joules, e.low, e.high) for e in loihi(tally.counts)]
    estimates += [("µs", 1e6, e.name, e.seconds, e.low, e.high) for e in tally.latencies()]
    for index, (unit, factor, _, value, low, high) in enumerate(estimates):
        ends = (factor * (value if low is None else low), factor * (value if high is None else high))
        axes.plot(ends, (index, index), color=COLOURS[index], linewidth=3, alpha=0.5)
        axes.plot(factor * value, index, "o", color=COLOURS[index])
        axes.annotate(f"{factor * value:.3g} {unit}", (factor * value, index), (0, 5), textcoords="offset points")
    names = [f"{name}, {unit}" for unit, _, name, *_ in estimates]
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", ylim=(len(names) - 0.4, -0.6), title="Energy and modelled time of a decision")


def draw_trade_off(figures: dict[str, Any]) -> Figure:
    """Draw return and rollout error against synaptic operations a decision, a point an error budget."""
    rows = figures["rows"]
    operations = [row["synaptic_operations"] for row in rows]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, name, label in zip(
            panels,
            ("return", "rollout_error"),
            ("Return", f"Rollout error, {figures['horizon']} decisions ahead (standard deviations)"),
            strict=True,
        ):
            axes.axhline(figures["float"][name], color="#999999", linestyle=":", label="float")
            axes.plot(operations, [row[name] for row in rows], "o-", color=COLOURS[0], label="sigma-delta")
            for row in rows:
                place = (row["synaptic_operations"], row[name])
                axes.annotate(f"{row['error_budget']:g}", place, (4, 4), textcoords="offset points", fontsize=8)
            axes.set(xlabel="synaptic operations a decision", ylabel=label)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        panels[0].set_ylim(bottom=0)
    return figure


def draw_trace(trace: Trace) -> Figure:
    """Draw a raster of all messages, the potentials of the chosen neurons, and sparsity, over the decisions."""
    functions = list(trace.decisions)
    panels = [name for name in trace.potentials if np.ptp(trace.potentials[name])][:TRACED]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 7 + 0.9 * len(panels)), layout="constrained")
        ratios = [6, 1.5, *[1.0] * len(panels)]
        raster, sparsity, *membranes = figure.subplots(2 + len(panels), 1, sharex=True, height_ratios=ratios)
        start, ticks = 0, []
        for index, function in enumerate(functions):
            for name in (name for name in trace.messages if name.split("/")[0] == function):
                when, neuron = np.nonzero(trace.messages[name])
                times = _times(trace.decisions[function])[when]
                # As pixels, also in vector graphics: there are ten thousands of them.
                raster.plot(times, start + neuron, ",", color=COLOURS[index % len(COLOURS)], rasterized=True)
                ticks.append((start + trace.messages[name].shape[1] / 2, name))
                start += trace.messages[name].shape[1]
                raster.axhline(start, color="#999999", alpha=0.4, linewidth=0.5)
        raster.set(ylim=(start, 0), xlim=(0, len(trace.silent())), title="Messages: a dot where a neuron sends")
        raster.set_yticks([place for place, _ in ticks], [name for _, name in ticks], fontsize=7)
        sparsity.plot(np.arange(len(trace.silent())) + 0.5, 100 * trace.silent(), color=COLOURS[0])
        sparsity.set(ylabel="% silent", ylim=(0, 100), title="Neurons that send nothing in a decision")
        for axes, name in zip(membranes, panels, strict=True):
            times = _times(trace.decisions[name.split("/")[0]])
            for column, neuron in enumerate(trace.neurons[name]):
                values = trace.potentials[name][:, column]
                style: Any = {"linewidth": 0.8, "color": COLOURS[column % 6], "rasterized": True}
                axes.step(times, values, where="post", label=f"{neuron}", **style)
            axes.set_ylabel(name, fontsize=7)
            axes.legend(
                frameon=False, fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), title="neuron", title_fontsize=6
            )
        figure.axes[-1].set_xlabel("decision")
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def _times(decisions: np.ndarray) -> np.ndarray:
    """Spread the steps of each decision evenly over it."""
    _, first, counts = np.unique(decisions, return_index=True, return_counts=True)
    return decisions + (np.arange(len(decisions)) - np.repeat(first, counts)) / np.repeat(counts, counts)
