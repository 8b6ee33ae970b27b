"""What Loihi bundles keep of their run's return, what they send for it, and how far the imagination of each errs."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.evaluation import RESAMPLES, Evaluation, confidence_interval, evaluate, versions
from nmbrl.runtime.fidelity import beliefs, open_loop_error
from nmbrl.targets import load
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_text
from nmbrl.targets.interface import Array, Task

# Float episodes of each kind of start that imagination is compared with, and decisions ahead.
RECORDED, HORIZONS = 4, (1, 5, 15)
STARTS = ("native", "varied")


def kept(returns: Array, reference: Array) -> list[float]:
    """Return the ratio of mean returns in the same episodes (episodes,), and its 95 % interval (paired bootstrap)."""
    chosen = np.random.default_rng(0).integers(len(returns), size=(RESAMPLES, len(returns)))
    bounds = np.percentile(returns[chosen].mean(1) / reference[chosen].mean(1), [2.5, 97.5])
    return [float(returns.mean() / reference.mean()), *map(float, bounds)]


def compare(paths: tuple[Path, ...], episodes: int, seed: int) -> dict[str, Any]:
    """Measure models on the same episodes; the first is what the others are compared with, and records.

    Raises:
        NmbrlError: if they are not of the same task.
    """
    float_model: Evaluation | None = None
    task: Task | None = None
    rows: dict[str, Any] = {}
    for path in paths:
        click.echo(str(path), err=True)
        executor = load(path)
        task = task or executor.interface.task
        if executor.interface.task != task:
            raise NmbrlError(f"{path} has not the task of {paths[0]}: {task.env}, action repeat {task.action_repeat}")
        evaluation = evaluate(executor, episodes=episodes, seed=seed)
        reference = float_model = float_model or evaluation
        recorded = reference.native[:RECORDED] + reference.varied[:RECORDED]
        error = open_loop_error(executor, recorded, beliefs(executor, recorded), max(HORIZONS)).overall
        row: dict[str, Any] = {"imagination": {ahead: float(error[ahead - 1]) for ahead in HORIZONS}}
        if counts := evaluation.counts.get("possible_messages"):
            row["sparsity"] = 1 - evaluation.counts["messages"] / counts
            row["synaptic_operations"] = evaluation.counts["synaptic_operations"]
        pairs = ((evaluation.returns, reference.returns), (evaluation.returns_varied, reference.returns_varied))
        for start, (returns, floats) in zip(STARTS, pairs, strict=True):
            row[start] = {
                "mean": float(returns.mean()),
                "interval": confidence_interval(returns),
                "kept": kept(returns, floats),
                "returns": returns.tolist(),
            }
        rows[str(path)] = row
    return {"episodes": episodes, "seed": seed, "versions": versions(), "rows": rows}


def table(rows: dict[str, Any]) -> str:
    """The comparison as Markdown."""
    lines = [
        "| model | native starts | of float | varied starts | of float | 1 decision | 5 | 15 | not sent | operations |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for index, (name, row) in enumerate(rows.items()):
        cells = [name]
        for start in STARTS:
            low, high = row[start]["interval"]
            share, *bounds = (100 * part for part in row[start]["kept"])
            cells.append(f"{row[start]['mean']:.1f} [{low:.1f}, {high:.1f}]")
            cells.append(f"{share:.1f} % [{bounds[0]:.1f}, {bounds[1]:.1f}]" if index else "")
        cells += [f"{error:.3f}" for error in row["imagination"].values()]
        cells += [f"{row['sparsity']:.1%}", f"{row['synaptic_operations']:,.0f}"] if "sparsity" in row else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.argument("models", metavar="RUN BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--episodes", default=20, show_default=True, help="Of each kind of start.")
@click.option("--seed", default=0, show_default=True, help="Of the first episode.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures here.")
@reports_errors
def main(models: tuple[Path, ...], episodes: int, seed: int, output: Path | None) -> None:
    """Compare bundles with the RUN that they were converted from, and print a table."""
    result = compare(models, episodes, seed)
    if output is not None:
        write_text(output, json.dumps(result, indent=1) + "\n")
    click.echo(table(result["rows"]))


if __name__ == "__main__":
    main()
