"""Results of the Loihi benchmarks: JSON in benchmarks/results, and docs/loihi-figures.md, made from it."""

import json
from pathlib import Path
from typing import Any

from nmbrl.targets.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "loihi-figures.md"
PARTS = ("equality",)


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
    sections = {"equality": _equality}
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


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)] + [""]
