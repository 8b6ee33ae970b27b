"""The tables of docs/c-figures.md, from what `c_runtime.py` measured."""

from typing import Any

CORES = {"mps2-an386": "Cortex-M4", "mps2-an500": "Cortex-M7", "mps3-an547": "Cortex-M55"}


def page(result: dict[str, Any]) -> str:
    """Return the page."""
    search = result["decisions"]["search"]
    sizes = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in search.items())
    return "\n".join(
        [
            "# Figures of the C runtime",
            "",
            "Made by `python benchmarks/c_runtime.py examples/cartpole-swingup`; "
            + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
            + f". The search: {sizes}.",
            "",
            *_boards(result["boards"]),
            *_host(result),
            *_returns(result["returns"]),
        ]
    )


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _boards(boards: dict[str, Any]) -> list[str]:
    head = ["", *(f"{name} ({CORES[name]})" for name in boards)]
    rows = []
    for function in ("observe", "imagine", "act", "value"):
        for kind, title in (("functions", "instructions a MAC"), ("dense_layers", "its dense layers alone")):
            values = (board[kind][function]["instructions_a_mac"] for board in boards.values())
            rows.append([f"`{function}`, {title}", *(f"{value:.3f}" for value in values)])
    for method in ("cem", "mppi"):
        values = (board["decisions"][method] for board in boards.values())
        shown = [f"{v['mean_instructions'] / 1e6:.2f} ({v['most_instructions'] / 1e6:.2f})" for v in values]
        rows.append([f"{method.upper()} decision, million instructions: mean (most)", *shown])
    for key, title in (("flash_bytes", "flash, bytes"), ("ram_bytes", "RAM, 8 KiB of stack included, bytes"),
                       ("planner_stack_bytes_at_most", "stack of the planner, at most, bytes")):  # fmt: skip
        rows.append([f"firmware: {title}", *(f"{board['firmware'][key]:,}" for board in boards.values())])
    rows.append(
        ["integers that differ from TFLM", *(str(sum(b["tflm_differences"].values())) for b in boards.values())]
    )
    return [
        "## Emulated boards",
        "",
        "Exact counts of QEMU `-icount`, 24 rows at once; a count of instructions is no latency. Dense layers alone:",
        "the same firmware with every other kernel emptied, so that requantisation and calls are included.",
        "10,000 random inputs a function are compared with TensorFlow Lite Micro.",
        "",
        *_table(head, rows),
    ]


def _host(result: dict[str, Any]) -> list[str]:
    inference = [
        [f"`{name}`", f"{entry['tflm']:,.0f}", f"{entry['c']:,.0f}", f"{entry['ratio']:.1f}"]
        for name, entry in result["inference"].items()
    ]
    times, faster = result["decisions"]["times"], result["decisions"]["times_faster_than"]
    decisions = [
        [name, f"{entry['processor_ms']:.2f}", f"{faster[name]:.1f}" if name in faster else "1"]
        for name, entry in times.items()
    ]
    return [
        "## This machine",
        "",
        "Instructions of an inference of one row (callgrind; TFLM as its wheel builds it, C with AVX2):",
        "",
        *_table(["function", "TFLM", "C", "TFLM / C"], inference),
        "A CEM decision, one thread, processor time:",
        "",
        *_table(["executor", "ms", "times C's"], decisions),
    ]


def _returns(returns: dict[str, Any]) -> list[str]:
    rows = []
    for planner in ("cem", "mppi"):
        entry = returns[planner]
        for start in ("native", "varied"):
            values = (entry["pytorch"][start], entry["c"][start])
            rows.append([f"{planner.upper()}, {start} starts", *(f"{value:.1f}" for value in values),
                         f"{100 * entry['kept'][start]:.1f} %"])  # fmt: skip
    return [
        "## Returns with the same search",
        "",
        f"Means of {returns['episodes']} episodes. Boards choose the actions that C chooses here.",
        "",
        *_table(["", "PyTorch, float32", "C, int8", "kept"], rows),
    ]
