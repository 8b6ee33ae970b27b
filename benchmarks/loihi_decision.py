"""Times decisions of a search on spiking world models.

``python benchmarks/loihi_decision.py [RUN]`` converts a run to sigma-delta networks and makes leaky integrate-and-fire
networks of the same shape (whose weights are drawn: only their size matters to the time), searches with both, and
writes ``benchmarks/results/loihi-decision.json`` and docs/loihi-figures.md. Nothing else should run.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from loihi_page import write_results

from nmbrl.convert.loihi import convert
from nmbrl.runtime.closed_loop import time_decisions
from nmbrl.runtime.evaluation import versions
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.load import load
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.network import LIF, Network, Population, Synapses
from nmbrl.train.run import open_run

EXAMPLE = Path(__file__).parents[1] / "examples" / "cartpole-swingup"
SEARCH = {"samples": 32, "horizon": 6, "iterations": 3}
# Time steps of a decision of the leaky networks.
STEPS = 16


def make_leaky(network: Network) -> Network:
    """Return a network of leaky neurons with a graded one's populations and connections; a sixth sends in a step."""
    random = np.random.default_rng(0)
    populations: list[Population] = []
    for population in network.populations:
        size = population.size
        fields = {"du": 1024, "dv": 128, "bias_exp": 6, "vth": 400}
        vectors = {name: np.full(size, value, np.int32) for name, value in fields.items()}
        mantissas = random.integers(-20, 60, size).astype(np.int32)
        populations.append(LIF(population.name, size, **vectors, bias_mant=mantissas))
    synapses = [_draw(random, part) for part in network.synapses]
    return dataclasses.replace(network, populations=tuple(populations), synapses=tuple(synapses), steps=STEPS)


def _draw(random: np.random.Generator, part: Synapses) -> Synapses:
    weights = random.integers(-8, 9, part.weights.shape) * 2 * (part.weights != 0)
    return Synapses(part.source, part.target, weights.astype(np.int32))


def measure(model: str, executor: LoihiExecutor) -> dict[str, Any]:
    """Return what a decision takes on a world model: belief update and search."""
    task = executor.interface.task
    milliseconds = time_decisions(
        make_planner("cem", executor, **SEARCH), make_environment(task.env, task.action_repeat, {}), 0
    )
    network = executor.networks["imagine"]
    return {
        "model": model,
        "neurons": sum(population.size for population in network.populations),
        "weights": sum(int(np.count_nonzero(part.weights)) for part in network.synapses),
        "steps": network.steps,
        "decisions": len(milliseconds),
        "median_ms": float(np.median(milliseconds)),
        "most_ms": float(milliseconds.max()),
    }


def main() -> None:
    """Measure both and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path, nargs="?", default=EXAMPLE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        convert(open_run(arguments.run), Path(folder) / "bundle")
        graded = load(Path(folder) / "bundle")
    assert isinstance(graded, LoihiExecutor)
    networks = {name: make_leaky(network) for name, network in graded.networks.items()}
    leaky = LoihiExecutor(graded.interface, graded.macs, graded.functions, networks)
    models = [measure("the example, sigma-delta", graded), measure("of its size, leaky integrate-and-fire", leaky)]
    write_results("decision", {"models": models, "search": SEARCH, "versions": versions()})


if __name__ == "__main__":
    main()
