"""What thresholds buy: synaptic operations a decision against return and rollout error."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import BUDGETS, check_range, choose_thresholds, lower_model
from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.evaluation import evaluate
from nmbrl.runtime.fidelity import beliefs, open_loop_error
from nmbrl.runtime.loihi.counting import count_populations
from nmbrl.targets.costs import loihi
from nmbrl.targets.interface import Executor
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.train.deployed import TorchExecutor

if TYPE_CHECKING:
    from nmbrl.train.run import Run

# Decisions of an imagined rollout, and episodes of the float policy that rollouts start from.
HORIZON = 15
RECORDED = 4


def measure_trade_off(
    run: "Run",
    budgets: list[float],
    episodes: int = 20,
    seed: int = 0,
    finetune: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Convert a run with each error budget and run it closed loop.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        budgets: see `nmbrl.convert.loihi.convert`; 0 for no thresholds.
        episodes: of each kind of start, native and varied.
        seed: of the first episode.
        finetune: see `nmbrl.convert.loihi.convert_sigma_delta`; with the run's seed.
        progress: called with a line for every budget.

    Returns:
        ``float``: its ``return``, ``return_varied`` and ``rollout_error`` (root mean square over observation
        dimensions, in standard deviations, `HORIZON` decisions ahead); ``rows``: the same of each budget, with counts
        of a decision over all episodes.

    Raises:
        NmbrlError: if a budget is out of range, or the environment does not fit.
    """
    samples = compute_samples(run.model, run.calibration, run.seed)
    lowered = lower_model(run.model, samples.inputs)
    reference = TorchExecutor(run.model)
    evaluation = evaluate(reference, episodes=max(episodes, RECORDED), seed=seed)
    recorded = evaluation.native[:RECORDED]
    base = {
        "return": float(evaluation.returns[:episodes].mean()),
        "return_varied": float(evaluation.returns_varied[:episodes].mean()),
        "rollout_error": rollout_error(reference, recorded),
    }
    progress(
        f"float: return {base['return']:.1f}, from varied starts {base['return_varied']:.1f},"
        f" rollout error {base['rollout_error']:.3f}"
    )
    rows = []
    for budget in budgets:
        check_range("error_budget", budget, *BUDGETS)
        functions, made = lowered.functions, lowered.emit()
        if budget:
            choice = choose_thresholds(run.model, run.calibration, lowered, budget, finetune=finetune, seed=run.seed)
            functions, made = choice.functions, choice.networks
        executor = LoihiExecutor(run.model.interface, dict(run.model.macs), functions, made)
        row = {"error_budget": budget} | _measure(executor, base, episodes, seed)
        row["rollout_error"] = rollout_error(executor, recorded)
        rows.append(row)
        progress(_line(row))
    return {
        "env": run.model.interface.task.env,
        "episodes": episodes,
        "finetune": finetune,
        "horizon": HORIZON,
        "float": base,
        "rows": rows,
    }


def _measure(executor: LoihiExecutor, base: dict[str, float], episodes: int, seed: int) -> dict[str, Any]:
    """Return returns of a freshly opened model from native and varied starts, and counts of a decision."""
    evaluation = evaluate(executor, episodes=episodes, seed=seed)
    figures, counts = evaluation.to_json(), evaluation.counts
    called = {function: executor.networks[function] for function in evaluation.messages}
    return {
        "return": figures["mean_return"],
        "interval": figures["interval"],
        "kept": 100 * figures["mean_return"] / base["return"],
        "return_varied": figures["mean_return_varied"],
        "interval_varied": figures["interval_varied"],
        "kept_varied": 100 * figures["mean_return_varied"] / base["return_varied"],
        "sparsity": 1 - counts["messages"] / counts["possible_messages"],
        **{name: counts[name] for name in ("messages", "possible_messages", "synaptic_operations")},
        "populations": count_populations(called, counts),
        "joules": loihi(counts)[0].joules,
    }


def _line(row: dict[str, Any]) -> str:
    shares = [
        f"{part['function']}/{part['population']} {part['messages'] / row['possible_messages']:.1%}"
        for part in sorted(row["populations"], key=lambda part: -part["messages"])
    ]
    return (
        f"error budget {row['error_budget']:g}: {row['synaptic_operations']:,.0f} synaptic operations,"
        f" {row['sparsity']:.1%} of messages not sent, return {row['return']:.1f} ({row['kept']:.1f} %), from varied"
        f" starts {row['return_varied']:.1f} ({row['kept_varied']:.1f} %), rollout error {row['rollout_error']:.3f}\n"
        f"  sent of all possible messages: {', '.join(shares)}"
    )


def rollout_error(executor: Executor, episodes: list[Episode]) -> float:
    """Return the error of imagination `HORIZON` decisions ahead; see `nmbrl.runtime.fidelity.open_loop_error`."""
    error = open_loop_error(executor, episodes, beliefs(executor, episodes), HORIZON)
    return float(np.asarray(error.overall)[-1])
