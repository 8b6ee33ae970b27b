"""Results of the Loihi benchmarks: JSON in benchmarks/results, and docs/loihi-figures.md, made from it."""

import json
from pathlib import Path
from typing import Any

from nmbrl.targets.files import write_text

ROOT = Path(__file__).parents[1]
# Ways to multiply, with what a core can do by them in `peaks` of the simulator's results.
PEAKS = {"words": "16 bits in vectors", "bytes": "bytes in vectors", "matrices": "bytes in matrices"}
PAGE = ROOT / "docs" / "loihi-figures.md"


def result_file(part: str) -> Path:
    """Return where a part's results are kept."""
    return ROOT / "benchmarks" / "results" / f"loihi-{part}.json"


def write_results(part: str, results: dict[str, Any]) -> None:
    """Add results to those of a part, by their names, and write the page anew."""
    file = result_file(part)
    before = json.loads(file.read_text()) if file.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({**before, **results}, indent=1) + "\n")
    write_page()


def write_page() -> None:
    """Write docs/loihi-figures.md from the results that there are."""
    lines = ["# Loihi: what was measured", "", "Made by the commands named below; the figures are in"]
    lines[-1] += " `benchmarks/results/loihi-*.json`."
    sections = {"equality": _equality, "simulator": _simulator, "decision": _decision, "nir": _nir}
    for part, section in sections.items():
        if result_file(part).exists():
            lines += ["", *section(json.loads(result_file(part).read_text()))]
    write_text(PAGE, "\n".join(lines) + "\n")


def _equality(results: dict[str, Any]) -> list[str]:
    lines = ["## Equality with Lava", "", "`python benchmarks/loihi_equality.py`", ""]
    networks, example = results.get("networks"), results.get("example")
    if networks:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(networks["populations"].items()))
        lines += [
            f"{networks['networks']} random networks, {networks['steps']} steps each: "
            f"**{len(networks['differences'])} differences** in {networks['compared']:,} numbers (every message of "
            "every population in every step, and u and v of leaky neurons; "
            f"{networks['messages']:,} messages were not 0). The NumPy definition ended in the same numbers.",
            "",
            f"Populations: {kinds}.",
            "",
            *_table(["synapses", ""], [[kind, f"{n}"] for kind, n in sorted(networks["synapses"].items())]),
        ]
    if example:
        lines += [
            f"The converted example, closed loop with Lava beside it: {example['decisions']:,} decisions, in each "
            f"{', '.join(f'`{name}`' for name in example['functions'])}: **{len(example['differences'])} differences** "
            f"in {example['steps']:,} steps and {example['messages']:,} messages.",
            "",
        ]
    return lines[:-1]


def _simulator(results: dict[str, Any]) -> list[str]:
    lines = ["## A time step", "", "`python benchmarks/loihi_simulator.py`", ""]
    lines += [
        "All-to-all layers in a row, each to itself too where recurrent. Send: the share of neurons that do in a "
        "step, in Lava, alone and in 256 lanes. Medians: of 40 calls of 20 steps of Lava, of 90 calls of the "
        "compiled simulator (alone 200 steps a call, in 256 lanes 20). A lane: of 256, on one core and shared by "
        "two. Both ended in the same integers. In brackets, times faster than Lava; last, of two cores, by the "
        "shortest call of Lava and the shortest of six of each of ours. Of the peak: synaptic operations of a "
        "lane on one core, over what the core can do in vectors of 16 bits and, where it has them, in vectors and "
        "in matrices of bytes; looked-up sums can be faster than multiplications.",
        "",
    ]
    columns = "neurons|send|Lava|NumPy|alone|a lane, one core|a lane, two cores|of the peak|by the shortest"
    for kind, result in results.items():
        lines += [f"### {'Sigma-delta' if kind == 'graded' else 'Leaky integrate-and-fire'}", ""]
        lines += _table(columns.split("|"), [_case(case, result) for case in result["cases"]])
        peaks, machine = result["peaks"], result["machine"]
        differences = sum(case["differences"] for case in result["cases"])
        rates = ", ".join(f"{peaks[name] / 1e9:,.0f} of {text}" for name, text in PEAKS.items() if peaks[name])
        lines += [
            f"Differences from Lava: {differences}. A core's peak, in billions of multiplications a second: {rates}.",
            f"Processor: {' '.join(str(machine[key]) for key in ('vendor_id', 'cpu family', 'model'))}, "
            f"with {', '.join(machine['sets'])}.",
            "",
        ]
    return lines[:-1]


def _case(case: dict[str, Any], result: dict[str, Any]) -> list[str]:
    batch, lava = result["batch"], case["lava"]

    def cell(seconds: float) -> str:
        return f"{seconds * 1e6:.2f} µs ({lava / seconds:,.0f})"

    lane = case[f"seconds_{batch}_1"] / batch
    return [
        case["size"],
        ", ".join(f"{case[f'activity_{run}']:.1%}" for run in ("lava", 1, batch)),
        f"{lava * 1e3:.2f} ms, shortest {case['lava_shortest'] * 1e3:.2f}",
        f"{case['numpy'] * 1e6:,.0f} µs",
        cell(case["seconds_1_1"]),
        cell(lane),
        cell(case[f"seconds_{batch}_2"] / batch),
        _share_of_peak(case, result, lane),
        f"({case['lava_shortest'] / case[f'shortest_{batch}_2'] * batch:,.0f})",
    ]


def _share_of_peak(case: dict[str, Any], result: dict[str, Any], seconds: float) -> str:
    """Return the multiplications that messages need over those that a core could have done, of each kind."""
    needed = case[f"operations_{result['batch']}"] / seconds
    return ", ".join(f"{needed / peak:.0%}" for peak in result["peaks"].values() if peak)


def _decision(results: dict[str, Any]) -> list[str]:
    lines = ["## A decision", "", "`python benchmarks/loihi_decision.py`", ""]
    rows = [
        [
            result["model"],
            f"{result['neurons']:,} neurons, {result['weights']:,} weights, {result['steps']} steps",
            f"{result['median_ms']:.1f} ms",
            f"{result['most_ms']:.1f} ms",
        ]
        for result in results["models"]
    ]
    search = ", ".join(f"{value} {name}" for name, value in results["search"].items())
    lines += [f"CEM ({search}), belief update included, one lane.", ""]
    return [*lines, *_table(["world model", "to imagine a decision", "median", "longest"], rows)][:-1]


def _nir(results: dict[str, Any]) -> list[str]:
    chip, others = results["chip"], results["others"]

    def result(entry: dict[str, Any]) -> str:
        low, high = entry["interval"]
        return f"{entry['return']:.1f} [{low:.1f}, {high:.1f}]"

    lines = [
        "## NIR",
        "",
        "`python benchmarks/loihi_nir.py BUNDLE`, of [a spiking student](loihi-nir.md) of the example",
        "",
    ]
    lines += [
        f"{results['env']}, {results['episodes']} episodes, seed 0, {results['decisions']:,} decisions, bare policy. "
        "Equal: spikes of the same neuron in the same step, of all that either has, from the first decision on; other "
        "simulators get what the host gave the chip, and keep their own state.",
        "",
    ]
    head = ["", "return", "population", "spikes", "the chip's", "equal, first decision", "first 5", "first 20", "all"]
    rows = [["the chip's integers", result(chip), "", "", "", "", "", "", ""]]
    for simulator, entry in others.items():
        for population, row in entry["spikes"].items():
            shares = [f"{row[window]:.1%}" for window in ("1", "5", "20", "all")]
            rows.append([simulator, result(entry), population, f"{row['other']:,}", f"{row['chip']:,}", *shares])
    lines += _table(head, rows)
    imports = results["imports"]
    lines += [
        f"Imported: {imports['graphs']} random graphs of two populations of 30 CubaLIF, {imports['steps']} steps, "
        "beside the same graphs in floating point.",
        "",
    ]
    rows = []
    for row in imports["rows"]:
        share = row["equal"] / (row["expected"] + row["found"] - row["equal"])
        rows.append([str(row["bits"]), f"{row['found']:,}", f"{row['expected']:,}", f"{share:.1%}"])
    return [*lines, *_table(["weight bits", "spikes", "in floating point", "equal"], rows)][:-1]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)] + [""]
