"""What thresholds buy: synaptic operations a decision against return and rollout error."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import build
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
    thresholds: list[float],
    episodes: int = 20,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Convert a run with each threshold and run it closed loop.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        thresholds: in steps of a population's messages; see `nmbrl.convert.loihi.convert`.
        episodes: from native starts.
        seed: of the first episode.
        progress: called with a line for every threshold.

    Returns:
        ``float``: its ``return`` and ``rollout_error`` (root mean square over observation dimensions, in standard
        deviations, `HORIZON` decisions ahead); ``rows``: the same of each threshold, with counts of a decision.

    Raises:
        NmbrlError: if a threshold is out of range, or the environment does not fit.
    """
    samples = compute_samples(run.model, run.calibration, run.seed)
    networks = {threshold: build(run.model, samples.inputs, threshold) for threshold in thresholds}
    reference = TorchExecutor(run.model)
    evaluation = evaluate(reference, episodes=max(episodes, RECORDED), seed=seed)
    recorded = evaluation.native[:RECORDED]
    base = {
        "return": float(evaluation.returns[:episodes].mean()),
        "rollout_error": rollout_error(reference, recorded),
    }
    progress(f"float: return {base['return']:.1f}, rollout error {base['rollout_error']:.3f}")
    rows = []
    for threshold, (functions, made) in networks.items():
        executor = LoihiExecutor(run.model.interface, dict(run.model.macs), functions, made)
        tally = count(executor, "policy", episodes, seed)
        figures = tally.to_json()
        row = {
            "threshold": threshold,
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
            f"threshold {threshold:g}: {row['synaptic_operations']:,.0f} synaptic operations, {row['sparsity']:.1%} of"
            f" messages not sent, return {row['return']:.1f} ({row['kept']:.1f} %), rollout error"
            f" {row['rollout_error']:.3f}"
        )
    return {"env": run.model.interface.task.env, "episodes": episodes, "horizon": HORIZON, "float": base, "rows": rows}


def rollout_error(executor: Executor, episodes: list[Episode]) -> float:
    """Return the error of imagination `HORIZON` decisions ahead; see `nmbrl.runtime.fidelity.open_loop_error`."""
    error = open_loop_error(executor, episodes, beliefs(executor, episodes), HORIZON)
    return float(np.asarray(error.overall)[-1])
