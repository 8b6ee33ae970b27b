"""What thresholds buy: synaptic operations a decision against return and rollout error."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import BUDGETS, check_range, choose_thresholds, lower_model
from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.evaluation import evaluate
from nmbrl.runtime.fidelity import beliefs, open_loop_error
from nmbrl.runtime.loihi.counting import count
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
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Convert a run with each error budget and run it closed loop.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        budgets: see `nmbrl.convert.loihi.convert`; 0 for no thresholds.
        episodes: from native starts.
        seed: of the first episode.
        progress: called with a line for every budget.

    Returns:
        ``float``: its ``return`` and ``rollout_error`` (root mean square over observation dimensions, in standard
        deviations, `HORIZON` decisions ahead); ``rows``: the same of each budget, with counts of a decision.

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
        "rollout_error": rollout_error(reference, recorded),
    }
    progress(f"float: return {base['return']:.1f}, rollout error {base['rollout_error']:.3f}")
    rows = []
    for budget in budgets:
        check_range("error_budget", budget, *BUDGETS)
        made = choose_thresholds(run.model, run.calibration, lowered, budget).networks if budget else lowered.emit()
        executor = LoihiExecutor(run.model.interface, dict(run.model.macs), lowered.functions, made)
        tally = count(executor, "policy", episodes, seed)
        figures = tally.to_json()
        row = {
            "error_budget": budget,
            "return": figures["mean_return"],
            "interval": figures["interval"],
            "kept": 100 * figures["mean_return"] / base["return"],
            "rollout_error": rollout_error(executor, recorded),
            "sparsity": figures["neurobench"]["ActivationSparsity"],
            **{name: tally.counts[name] for name in ("messages", "possible_messages", "synaptic_operations")},
            "joules": loihi(tally.counts)[0].joules,
        }
        rows.append(row)
        progress(
            f"error budget {budget:g}: {row['synaptic_operations']:,.0f} synaptic operations, {row['sparsity']:.1%} of"
            f" messages not sent, return {row['return']:.1f} ({row['kept']:.1f} %), rollout error"
            f" {row['rollout_error']:.3f}"
        )
    return {"env": run.model.interface.task.env, "episodes": episodes, "horizon": HORIZON, "float": base, "rows": rows}


def rollout_error(executor: Executor, episodes: list[Episode]) -> float:
    """Return the error of imagination `HORIZON` decisions ahead; see `nmbrl.runtime.fidelity.open_loop_error`."""
    error = open_loop_error(executor, episodes, beliefs(executor, episodes), HORIZON)
    return float(np.asarray(error.overall)[-1])
