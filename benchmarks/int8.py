"""What integers cost and what buys it back: drift, prediction error and return of every kind of TFLite conversion."""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from nmbrl.convert import tflite
from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.evaluation import evaluate, versions
from nmbrl.runtime.fidelity import HORIZONS, action_error, beliefs, open_loop_error, policy_actions
from nmbrl.targets import load
from nmbrl.targets.files import write_text
from nmbrl.targets.interface import Executor
from nmbrl.train.run import open_run

# Updates of fine-tuning.
UPDATES = 300
KINDS: dict[str, dict[str, Any]] = {
    "int8": {},
    "int8, fine-tuned": {"finetune": UPDATES},
    "int16 state": {"int16": "state"},
    "int16 throughout": {"int16": "all"},
}
# Float episodes of each kind of start that predictions are compared with.
RECORDED = 4
RESULTS = Path(__file__).parent / "results" / "int8.json"
PAGE = Path(__file__).parents[1] / "docs" / "int8-figures.md"


def measure(executor: Executor, recorded: list[Episode] | None, episodes: int, seed: int) -> dict[str, Any]:
    """Evaluate closed loop, and open loop along float's episodes; float records them where there are none yet."""
    evaluation = evaluate(executor, episodes=episodes, seed=seed)
    if recorded is None:
        recorded = evaluation.native[:RECORDED] + evaluation.varied[:RECORDED]
    states = beliefs(executor, recorded)
    error = open_loop_error(executor, recorded, states)
    figures = evaluation.to_json()
    names = ("mean_return", "interval", "mean_return_varied", "interval_varied", "returns", "returns_varied")
    return {
        **{name: figures[name] for name in names},
        "prediction_error": {str(ahead): float(error.overall[ahead - 1]) for ahead in HORIZONS},
        "recorded": recorded,
        "actions": policy_actions(executor, states),
    }


def compare(run: Path, episodes: int, seed: int) -> dict[str, Any]:
    """Measure float and every kind of conversion."""
    opened = open_run(run)
    click.echo("float", err=True)
    reference = measure(load(run), None, episodes, seed)
    recorded, actions = reference.pop("recorded"), reference.pop("actions")
    rows: dict[str, Any] = {"float32": reference}
    for name, options in KINDS.items():
        click.echo(name, err=True)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            bundle = tflite.convert(opened, Path(folder) / "bundle", **options)
            seconds = time.perf_counter() - begun
            found = measure(load(Path(folder) / "bundle"), recorded, episodes, seed)
        del found["recorded"]
        discrete = bundle.interface.task.action_kind == "discrete"
        error = action_error(found.pop("actions"), actions, discrete)
        measured = bundle.measured
        rows[name] = {
            **found,
            "options": options,
            "action_error": error.mean,
            "drift": measured["drift"],
            "finetuning": measured.get("finetuning"),
            "bytes": sum(measured["bytes"].values()),
            "arena_bytes": max(measured["arena_bytes"].values()),
            "seconds": seconds,
        }
    return {"run": opened.id, "episodes": episodes, "seed": seed, "versions": versions(), "rows": rows}


def page(result: Mapping[str, Any], command: str) -> str:
    """The comparison as Markdown."""
    lines = [
        "# Figures of the integer conversions",
        "",
        f"Written by `{command}`; every number is in `benchmarks/results/int8.json`. Run {result['run']}; executed by "
        f"TensorFlow Lite Micro; {result['episodes']} episodes of each kind of start, the same for every row; "
        f"fine-tuning with {UPDATES} updates. What the columns are stands in [int8.md](int8.md).",
        "",
        "## Departure from the float model, on the run's calibration episodes",
        "",
        "| | 1 decision | 5 | 15 | 50 | action | value |",
        "|---|---|---|---|---|---|---|",
    ]
    names = (*(f"observation_{ahead}" for ahead in HORIZONS), "action", "value")
    for name, row in result["rows"].items():
        if "drift" in row:
            lines.append(f"| {name} | " + " | ".join(f"{row['drift'][key]:.3g}" for key in names) + " |")
    lines += [
        "",
        "## Against the real environment",
        "",
        "| | error after 15 | after 50 | return, native | varied | kept | action error | bytes | largest arena |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    best = float(np.mean(result["rows"]["float32"]["returns"]))
    for name, row in result["rows"].items():
        cells = [
            *(f"{row['prediction_error'][ahead]:.2f}" for ahead in ("15", "50")),
            *(
                f"{row[mean]:.1f} [{row[interval][0]:.1f}, {row[interval][1]:.1f}]"
                for mean, interval in (("mean_return", "interval"), ("mean_return_varied", "interval_varied"))
            ),
            f"{row['mean_return'] / best:.1%}".replace("%", " %"),
            *(f"{row[key]:,.3g}" if key in row else "" for key in ("action_error",)),
            *(f"{row[key]:,}" if key in row else "" for key in ("bytes", "arena_bytes")),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Fine-tuning, on the episodes that it did not see",
        "",
        "| | | 1 decision | 5 | 15 | 50 | action | value | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        tuning = row.get("finetuning")
        if tuning:
            verdict = f"errors / {tuning['improvement']:.2f}, {'kept' if tuning['kept'] else 'thrown away'}"
            for when, last in (("before", ""), ("after", verdict)):
                cells = [f"{tuning[when][key]:.3g}" for key in names]
                lines.append(f"| {name} | {when} | " + " | ".join(cells) + f" | {last} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("run", type=click.Path(path_type=Path), default=Path("examples/cartpole-swingup"))
@click.option("--episodes", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
@reports_errors
def main(run: Path, episodes: int, seed: int) -> None:
    """Measure the integer conversions of RUN and write JSON and a page."""
    result = compare(run, episodes, seed)
    write_text(RESULTS, json.dumps(result, indent=1) + "\n")
    write_text(PAGE, page(result, f"python benchmarks/int8.py {run} --episodes {episodes} --seed {seed}"))
    click.echo(f"wrote {RESULTS} and {PAGE}")


if __name__ == "__main__":
    main()
