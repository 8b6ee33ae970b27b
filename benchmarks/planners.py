"""What a planner earns: return of the policy, CEM and MPPI on the same episodes, over conditions and training seeds.

Conditions: the finished model, the model after a third of the training, and the finished model on a plant that changed
under it (pole 30 % longer, cart 50 % heavier, actions one decision late). Beside them stands the best return that is
known from a native start, so that a gain that is missing is told from one that is not there to be had.

    python benchmarks/planners.py               # trains what is missing in runs/planners, then measures
    python benchmarks/planners.py --ceilings    # searches for the best returns anew, keeps what was measured

The search knows nothing of the models, and is long: what it found once is kept in OUT.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from cartpole_ceiling import find_ceiling
from ours import train

from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.evaluation import Evaluation, evaluate
from nmbrl.runtime.perturbation import parse_perturbation
from nmbrl.runtime.progress import episode_progress
from nmbrl.targets import load
from nmbrl.targets.files import write_text
from nmbrl.train.presets import DEFAULT, PRESETS

PLANNERS = ("policy", "cem", "mppi")
# Name, which of the two models, change to the plant.
CONDITIONS = (
    ("finished model", "finished", ""),
    ("a third of the training", "early", ""),
    ("pole 30 % longer", "finished", "pole_length=1.3"),
    ("cart 50 % heavier", "finished", "cart_mass=1.5"),
    ("action one decision late", "finished", "delay=1"),
)
STARTS = ("native", "varied")
RESAMPLES = 10_000
ROOT = Path(__file__).parents[1]
RUNS = Path("runs/planners")
FRAMES = {"finished": PRESETS[DEFAULT]["frames"], "early": PRESETS[DEFAULT]["frames"] // 3}


def hierarchical_interval(differences: np.ndarray) -> list[float]:
    """95 % interval of a mean over training seeds and episodes, from differences (seeds, episodes).

    Percentile bootstrap that draws training seeds, then episodes within each of them, with replacement.
    """
    random = np.random.default_rng(0)
    seeds, episodes = differences.shape
    drawn_seeds = random.integers(seeds, size=(RESAMPLES, seeds, 1))
    drawn_episodes = random.integers(episodes, size=(RESAMPLES, seeds, episodes))
    means = differences[drawn_seeds, drawn_episodes].mean(axis=(1, 2))
    return [float(bound) for bound in np.percentile(means, [2.5, 97.5])]


def returns_of(evaluation: Evaluation, start: str) -> np.ndarray:
    """Returns (episodes,) of one kind of start."""
    return evaluation.returns if start == "native" else evaluation.returns_varied


def compare(name: str, models: Sequence[Path], change: str, episodes: int, seed: int) -> dict[str, Any]:
    """Measure every planner on every model in one condition."""
    found: dict[str, list[Evaluation]] = {planner: [] for planner in PLANNERS}
    for model in models:
        executor = load(ROOT / model)
        try:
            for planner in PLANNERS:
                click.echo(f"{name}: {model}, {planner}", err=True)
                with episode_progress(2 * episodes) as progress:
                    found[planner].append(
                        evaluate(
                            executor,
                            planner,
                            episodes,
                            seed,
                            perturbation=parse_perturbation(change),
                            progress=progress,
                        )
                    )
        finally:
            executor.close()
    row: dict[str, Any] = {"condition": name, "perturbation": parse_perturbation(change), "planners": {}}
    for planner, evaluations in found.items():
        figures: dict[str, Any] = {"decision_ms": [float(np.median(e.decision_ms)) for e in evaluations]}
        for start in STARTS:
            returns = np.stack([returns_of(e, start) for e in evaluations])
            gain = returns - np.stack([returns_of(e, start) for e in found["policy"]])
            figures[start] = {
                "returns": returns.tolist(),
                "mean_by_seed": returns.mean(axis=1).tolist(),
                "mean": float(returns.mean()),
                "interval": hierarchical_interval(returns),
                "gain": float(gain.mean()),
                "gain_interval": hierarchical_interval(gain),
            }
        row["planners"][planner] = figures
    return row


def best_known(rows: Sequence[dict[str, Any]], change: str, found: float | None) -> dict[str, float]:
    """The best return from a native start: of the search that knows the plant, and of any episode on that plant.

    Args:
        rows: what was measured.
        change: to the plant; see `parse_perturbation`.
        found: what the search found before; None searches.
    """
    if found is None:
        found, _ = find_ceiling(change, PRESETS[DEFAULT]["action_repeat"])
    same = [row["planners"].values() for row in rows if row["perturbation"] == parse_perturbation(change)]
    measured = max(max(map(max, figures["native"]["returns"])) for planners in same for figures in planners)
    return {"search": found, "episode": measured, "best": max(found, measured)}


def markdown(result: dict[str, Any]) -> str:
    """The comparison as two tables, one for each kind of start."""
    lines = [
        "# What a planner earns",
        "",
        f"Mean return of {result['episodes']} episodes of `{result['env']}` from each of {len(result['finished'])} "
        f"training seeds of the default preset ({result['frames']['finished']:,} frames; a third of the training: "
        f"{result['frames']['early']:,}), the same episodes for every planner. In brackets the 95 % interval over "
        "training seeds and episodes (percentile bootstrap); a gain is paired, planner minus policy in the same "
        "episode, and not shown to be one where its interval holds 0.",
        "",
        f"    {result['command']}",
        "",
        "CEM and MPPI search for what to add to the policy's own actions as the model unrolls. They imagine the "
        "policy's own plan, noisy variants of it and their last plan shifted by a decision, search around the better "
        "of the noiseless two, and take the result only if it promises more than the policy's plan by half the spread "
        "of the policy's plans. The model that they imagine with corrects itself to the plant within the episode "
        "(`runtime/adaptation.py`); the policy alone cannot make use of that, and acts as it was trained. "
        "[Why they gain](planner-trials.md), and what was tried.",
        "",
        "The last column of native starts is the best return known there: of a search that knows the plant's equations "
        "(`benchmarks/cartpole_ceiling.py`) or of any episode on that plant, whichever is more. It is a lower "
        "bound of what is possible, for a controller that need not learn first what changed.",
    ]
    for start in STARTS:
        lines += ["", f"## {start.capitalize()} starts", ""]
        ceilings = start == "native"
        lines += ["| condition | policy | CEM | gain | MPPI | gain |" + " best known |" * ceilings]
        lines += ["|---|---|---|---|---|---|" + "---|" * ceilings]
        for row in result["rows"]:
            planners = {planner: figures[start] for planner, figures in row["planners"].items()}
            cells = [row["condition"], bracketed(planners["policy"]["mean"], planners["policy"]["interval"])]
            for planner in PLANNERS[1:]:
                figures = planners[planner]
                cells.append(bracketed(figures["mean"], figures["interval"]))
                cells.append(bracketed(figures["gain"], figures["gain_interval"], sign="+"))
            if ceilings:
                cells.append(f"{row['ceiling']['best']:.0f}")
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## What a decision takes", "", "| planner | median of one decision on this machine |", "|---|---|"]
    first = result["rows"][0]["planners"]
    lines += [f"| {planner} | {np.median(first[planner]['decision_ms']):.2f} ms |" for planner in PLANNERS]
    return "\n".join(lines) + "\n"


def bracketed(mean: float, interval: Sequence[float], sign: str = "") -> str:
    """A mean with its interval, rounded to whole units of return."""
    return f"{mean:{sign}.0f} [{interval[0]:{sign}.0f}, {interval[1]:{sign}.0f}]"


@click.command()
@click.option(
    "--train", "seeds", type=int, multiple=True, default=tuple(range(5)), show_default=True, help="Training seeds."
)
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "planners", show_default=True)
@click.option("--ceilings", is_flag=True, help="Search for the best returns alone; the rest is kept from OUT.json.")
@reports_errors
def main(seeds: tuple[int, ...], episodes: int, seed: int, out: Path, ceilings: bool) -> None:
    """Write OUT.md and OUT.json: policy, CEM and MPPI on finished runs and on runs of a third of the training."""
    kept = json.loads(out.with_suffix(".json").read_text()) if ceilings or out.with_suffix(".json").exists() else None
    found = {row["condition"]: row["ceiling"]["search"] for row in kept["rows"]} if kept and not ceilings else {}
    result = kept if ceilings else measure(seeds, episodes, seed)
    for row, (name, _, change) in zip(result["rows"], CONDITIONS, strict=True):
        click.echo(f"{name}: best return", err=True)
        row["ceiling"] = best_known(result["rows"], change, found.get(name))
    write_text(out.with_suffix(".json"), json.dumps(result, indent=2) + "\n")
    write_text(out.with_suffix(".md"), markdown(result))
    click.echo(markdown(result))


def measure(seeds: tuple[int, ...], episodes: int, seed: int) -> dict[str, Any]:
    """Train what is missing, and measure every planner in every condition."""
    models = {which: [RUNS / f"{which}-{number}" for number in seeds] for which in FRAMES}
    for which, runs in models.items():
        for number, run in zip(seeds, runs, strict=True):
            train(DEFAULT, number, FRAMES[which], ROOT / run)
    rows = [compare(name, models[which], change, episodes, seed) for name, which, change in CONDITIONS]
    options = " ".join([*(f"--train {number}" for number in seeds), f"--episodes {episodes} --seed {seed}"])
    return {
        "command": f"python benchmarks/planners.py {options}",
        "env": PRESETS[DEFAULT]["env"],
        "episodes": episodes,
        **{which: [str(run) for run in runs] for which, runs in models.items()},
        "frames": FRAMES,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
