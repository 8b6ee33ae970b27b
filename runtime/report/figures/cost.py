"""Where the cost goes: layers, populations, cores, memory, instructions."""

import re
from collections.abc import Iterable, Sequence

from nmbrl.runtime.report.document import Part, Report, Row
from nmbrl.runtime.report.figures.style import (
    COLOURS,
    HEIGHT,
    Figure,
    Trace,
    colour,
    panel,
    panel_height,
    panels,
    target,
)

# Functions of the firmware that are drawn, the costliest.
SHOWN = 14
# Pixels of a bar's row.
BAR = 24
_CORE = re.compile(r" \((Cortex-[^)]+)\)$")


def cost_figures(report: Report) -> list[Figure]:
    """Everything that is known of where cost goes."""
    return [
        _layers(report),
        _parts(report, "populations", "messages", "Messages a decision, by population"),
        _parts(report, "populations", "synaptic_operations", "Synaptic operations a decision, by population"),
        _parts(report, "cores", "synaptic_operations", "Synaptic operations a decision, by core"),
        _memory(report),
        _slots(report),
        _functions(report),
        _code(report),
    ]


def _layers(report: Report) -> Figure:
    """Rows whose layers do the same work are one group of bars."""
    groups: list[tuple[tuple[Part, ...], list[int]]] = []
    for index, row in enumerate(report.rows):
        alike = next((indices for parts, indices in groups if parts == row.cost.layers), None)
        if alike is not None:
            alike.append(index)
        elif row.cost.layers:
            groups.append((row.cost.layers, [index]))
    data: list[Trace] = []
    for parts, indices in groups:
        names = [report.rows[index].name for index in indices]
        data.append(_bars(report, indices[0], parts, "macs") | {"name": ", ".join(names)})
    return Figure(
        name="layers",
        title="Multiply-accumulates a decision, by layer",
        caption="If computed densely, times the calls of a decision. The same for "
        + "; and for ".join(str(trace["name"]) for trace in data)
        + ".",
        alternative="Multiply-accumulates of every layer of every function that a decision calls.",
        data=data,
        layout=_horizontal("multiply-accumulates"),
        height=_bars_height(data),
    )


def _parts(report: Report, what: str, counted: str, title: str) -> Figure:
    data = [
        _bars(report, index, getattr(row.cost, what), counted)
        for index, row in enumerate(report.rows)
        if getattr(row.cost, what)
    ]
    return Figure(
        name=f"{what}-{counted.replace('_', '-')}",
        title=title,
        caption="Counted in the closed loop, mean over decisions.",
        alternative=f"{title}: bars, the largest first.",
        data=data,
        layout=_horizontal(counted.replace("_", " ")),
        height=_bars_height(data),
    )


def _bars(report: Report, index: int, parts: Iterable[Part], counted: str) -> Trace:
    values = {_label(part): part.counts.get(counted, 0.0) for part in parts}
    return {
        **target(report, index),
        "type": "bar",
        "orientation": "h",
        "y": list(values),
        "x": list(values.values()),
        "marker": {"color": colour(index)},
        "hovertemplate": f"{report.rows[index].name}: %{{y}}: %{{x:,.4g}}<extra></extra>",
    }


def _label(part: Part) -> str:
    name = f"core {part.name}" if part.name.isdigit() else part.name
    return f"{part.function}: {name}" if part.function and part.function != name else name


def _memory(report: Report) -> Figure:
    """A bar a kind of memory and core, stacked by what it holds."""
    bars = {row.name: _memory_bars(row) for row in report.rows}
    contents = list(dict.fromkeys(what for row in bars.values() for bar in row.values() for what in bar))
    data: list[Trace] = []
    for place, what in enumerate(contents):
        labels, values = [], []
        for name, of_row in bars.items():
            for label, bar in of_row.items():
                if what in bar:
                    labels.append(f"{name}: {label}")
                    values.append(bar[what])
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": what,
                "y": labels,
                "x": values,
                "text": [what if value > 6000 else "" for value in values],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "marker": {
                    "color": COLOURS[place % len(COLOURS)],
                    "pattern": {"shape": "/" if place >= len(COLOURS) else ""},
                },
                "hovertemplate": f"{what}: %{{x:,}} bytes<extra>%{{y}}</extra>",
            }
        )
    count = sum(len(bar) for bar in bars.values())
    return Figure(
        name="memory",
        title="Memory map of the C build",
        caption="Bytes by what they hold, on each core that the sources were linked for; of a board, its whole "
        "firmware.",
        alternative="Stacked bars of flash and RAM of the C build, by what they hold.",
        data=data,
        layout={**_horizontal("bytes"), "barmode": "stack"},
        height=100 + 34 * count,
    )


def _memory_bars(row: Row) -> dict[str, dict[str, int]]:
    """Bytes by what they hold, by kind of memory and core; what is the same on all cores is part of each."""
    memory = row.cost.memory
    cores = sorted({core[1] for what in memory if (core := _CORE.search(what))})
    bars: dict[str, dict[str, int]] = {}
    for what, size in memory.items():
        kind, _, holds = what.partition(", ")
        core = _CORE.search(what)
        # Scratch memory is part of what each core's entry tells of.
        if cores and what == "RAM, scratch":
            continue
        for name in [core[1]] if core else cores or [""]:
            label = f"{kind}, {name}" if name else kind
            bars.setdefault(label, {})[_CORE.sub("", holds)] = size
    return dict(sorted(bars.items()))


def _slots(report: Report) -> Figure:
    """Lifetime and place of every buffer; one row's are enough, all C bundles of a run have the same."""
    index = next((index for index, row in enumerate(report.rows) if row.cost.slots), None)
    if index is None:
        return Figure("slots", "", "", "")
    slots = report.rows[index].cost.slots
    functions = list(dict.fromkeys(slot.function for slot in slots))
    data: list[Trace] = []
    for place, function in enumerate(functions):
        own = [slot for slot in slots if slot.function == function]
        data.append(
            {
                **panel(place),
                **target(report, index),
                "type": "bar",
                "x": [(slot.first_step + slot.last_step) / 2 for slot in own],
                "width": [slot.last_step - slot.first_step for slot in own],
                "base": [slot.first_byte for slot in own],
                "y": [slot.last_byte - slot.first_byte + 1 for slot in own],
                "marker": {
                    "color": [COLOURS[number % len(COLOURS)] for number in range(len(own))],
                    "opacity": 0.75,
                    "line": {"width": 1},
                },
                "customdata": [
                    f"{slot.name}: bytes {slot.first_byte} to {slot.last_byte}, steps {slot.first_step} to "
                    f"{slot.last_step}"
                    for slot in own
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    layout = panels([f"{function}, bytes" for function in functions], "kernel call")
    return Figure(
        name="slots",
        title="Scratch memory of a row",
        caption=f"Buffers of {report.rows[index].name}: from which kernel call to which, and where they lie. Two that "
        "do not "
        "live at the same time share bytes.",
        alternative="For each function, rectangles of buffers over kernel calls and bytes.",
        data=data,
        layout={**layout, "barmode": "overlay"},
        height=panel_height(len(functions)),
        panels=len(functions),
    )


def _functions(report: Report) -> Figure:
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        for kind, solid in (("single", True), ("batch", False)):
            parts = [part for part in row.cost.functions if part.counts.get("macs") and kind in part.counts]
            if not parts:
                continue
            data.append(
                {
                    **target(report, index),
                    "name": f"{row.name}, {'one row' if solid else 'a row of a batch'}",
                    "type": "bar",
                    "x": [part.name for part in parts],
                    "y": [part.counts[kind] for part in parts],
                    "marker": {"color": colour(index), "pattern": {"shape": "" if solid else "/"}},
                    "customdata": [part.counts[kind] / part.counts["macs"] for part in parts],
                    "hovertemplate": "%{x}: %{y:,.0f} instructions, %{customdata:.3f} a "
                    "MAC<extra>%{fullData.name}</extra>",
                }
            )
    return Figure(
        name="functions",
        title="Instructions of the model's functions",
        caption="Counted by the emulator, exact to a tick of the board's clock; a count is no latency. Solid: one row "
        "alone; "
        "hatched: a row of a batch of 24.",
        alternative="Bars of instructions of each function on each board.",
        data=data,
        layout={"yaxis": {"title": {"text": "instructions a row"}}, "barmode": "group"},
    )


def _code(report: Report) -> Figure:
    totals: dict[str, float] = {}
    for row in report.rows:
        whole = sum(row.cost.code.values())
        for name, count in row.cost.code.items():
            totals[name] = totals.get(name, 0.0) + count / whole
    shown = sorted(totals, key=lambda name: -totals[name])[:SHOWN]
    data: list[Trace] = []
    for index, row in enumerate(report.rows):
        if not row.cost.code:
            continue
        whole = sum(row.cost.code.values())
        data.append(
            {
                **target(report, index),
                "type": "bar",
                "orientation": "h",
                "y": shown,
                "x": [100 * row.cost.code.get(name, 0) / whole for name in shown],
                "customdata": [row.cost.code.get(name, 0) for name in shown],
                "marker": {"color": colour(index)},
                "hovertemplate": f"{row.name}: %{{y}}: %{{x:.1f}} %, %{{customdata:,}} instructions<extra></extra>",
            }
        )
    return Figure(
        name="code",
        title="Instructions of the firmware's functions",
        caption=f"Share of all instructions since start-up, the protocol and idle waiting included; the {len(shown)} "
        "costliest functions.",
        alternative="Bars of the share of instructions of each function of the firmware on each board.",
        data=data,
        layout=_horizontal("% of instructions"),
        height=_bars_height(data),
    )


def _horizontal(title: str) -> dict[str, object]:
    return {
        "xaxis": {"title": {"text": title}},
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        "barmode": "group",
    }


def _bars_height(data: Sequence[Trace]) -> int:
    labels = {label for trace in data for label in trace["y"]}
    return max(HEIGHT // 2, 110 + len(labels) * (10 + BAR * max(1, len(data)) // 2))
