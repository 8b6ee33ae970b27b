"""Runs exported NIR graphs of a spiking student in snnTorch and in Norse: equal spikes, and closed loop.

``python benchmarks/loihi_nir.py BUNDLE [--episodes N]`` takes a Loihi bundle of the method ``lif``, exports it, and

1. plays episodes with the chip's integers, feeds snnTorch and Norse what the host gave there, and counts the spikes of
   world and policy that are of the same neuron in the same step, without ever setting their state anew;
2. plays the same episodes with snnTorch and Norse in place of the chip;
3. imports random graphs at several widths of weights and counts equal spikes.

It writes ``benchmarks/results/loihi-nir.json`` and docs/loihi-figures.md.
"""

import argparse
import contextlib
import io
import itertools
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from loihi_page import write_results

from nmbrl.convert.loihi.nir import export_bundle
from nmbrl.convert.loihi.nir.exporting import drive, input_tensors
from nmbrl.convert.loihi.nir.graph import DT, discretise
from nmbrl.convert.loihi.nir.importing import quantise
from nmbrl.convert.loihi.nir.running import agreement
from nmbrl.runtime.closed_loop import run_episodes
from nmbrl.runtime.evaluation import SEED_STRIDE, confidence_interval, versions
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.interface import Array, Executor
from nmbrl.targets.load import load
from nmbrl.targets.loihi.network import LIF
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor

# Which population of which function is compared.
COMPARED = {"observe": "world", "act": "policy"}
HOST_LIMIT = 10.0
# First decisions of episodes in which spikes are compared; None for all.
WINDOWS = (1, 5, 20, None)
RANDOM_GRAPHS, GRAPH_STEPS = 50, 300


class Module:
    """A graph in another simulator, whose state goes on from call to call.

    Args:
        path: the ``.nir`` file.
        simulator: ``snnTorch`` or ``Norse``.
        neurons: name of the population whose spikes are kept.
    """

    def __init__(self, path: Path, simulator: str, neurons: str) -> None:
        graph = nir.read(path)
        if simulator == "snnTorch":
            from snntorch.import_nir import import_from_nir

            with contextlib.redirect_stdout(io.StringIO()):
                self.module = import_from_nir(graph)
        else:
            import norse.torch

            self.module = norse.torch.from_nir(graph, ignore_warnings=True, dt=DT)
        self.simulator, self.state = simulator, None
        self.spikes: list[np.ndarray] = []
        layer = dict(self.module.named_modules())[f"{neurons}_lif"]
        layer.register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        self.spikes.append((outputs[0] if isinstance(outputs, tuple) else outputs).numpy() != 0)

    def step(self, numbers: np.ndarray) -> np.ndarray:
        """Go through a step: numbers (lanes, size) in, output (lanes, size)."""
        with torch.no_grad():
            output, self.state = self.module(torch.tensor(numbers, dtype=torch.float32), self.state)
        return (self.state.cache["output"] if self.simulator == "Norse" else output).numpy()


class NirExecutor(Executor):
    """The bare policy on exported graphs in another simulator, whose lanes begin together.

    Args:
        student: the executor of the bundle.
        files: the exported graphs.
        simulator: see `Module`.
    """

    def __init__(self, student: SpikingExecutor, files: dict[str, Path], simulator: str) -> None:
        super().__init__(simulator, student.interface, student.macs)
        self.student, self.files, self.simulator = student, files, simulator

    def reset(self, batch: int) -> Array:
        """See `Executor.reset`; the student's first observation runs the policy once on zeros."""
        self.modules = {f: Module(self.files[f], self.simulator, name) for f, name in COMPARED.items()}
        self.before: dict[str, np.ndarray | None] = dict.fromkeys(COMPARED)
        self.last: dict[str, np.ndarray | None] = dict.fromkeys(COMPARED)
        state = super().reset(batch)
        self.call("act", self.interface.split(state))
        return state

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """See `Executor.call`."""
        host, network = self.student.host, self.student.networks[function]
        (name,) = {place: None for place in COMPARED.values() if place == COMPARED[function]}
        numbers = [np.clip(inputs[tensor], -HOST_LIMIT, HOST_LIMIT) for tensor in input_tensors(network, host)]
        held = np.concatenate([*numbers, np.ones((len(numbers[0]), 1))], axis=1)
        population = network.by_name[name]
        assert isinstance(population, LIF)
        keep_u = (4095 - int(population.du[0])) / 4096
        fed = drive(np.repeat(held[None], network.steps, axis=0), keep_u, self.before[function])
        outputs = [self.modules[function].step(now) for now in fed]
        # On the chip a readout gets the spikes of the last step in the next decision's first.
        constant = self._constant(function)
        arrived = [constant if self.last[function] is None else self.last[function], *outputs[:-1]]
        self.before[function], self.last[function] = held, outputs[-1]
        total = np.sum(np.broadcast_arrays(*arrived), axis=0).astype(np.float32)
        (output,) = network.outputs
        sizes = self.interface.output_sizes(function)
        zeros = {tensor: np.zeros((len(held), size), np.float32) for tensor, size in sizes.items()}
        return {**zeros, output: total}

    def _constant(self, function: str) -> np.ndarray:
        """Return what the output is in a step in which nothing arrived."""
        graph = nir.read(self.files[function])
        return sum(node.bias for node in graph.nodes.values() if isinstance(node, nir.Affine))


def record(student: SpikingExecutor, episodes: int) -> tuple[dict[str, list], dict[str, list], list[float]]:
    """Play episodes with the chip's integers: what functions were given, what populations sent, returns."""
    inputs, spikes = defaultdict(list), defaultdict(list)
    call = student.call

    def spy(function: str, given: dict[str, Array]) -> dict[str, Array]:
        inputs[function].append({name: array.copy() for name, array in given.items()})
        return call(function, given)

    def keep(function: str, messages: dict[str, np.ndarray]) -> None:
        if function in COMPARED:
            spikes[function].append(messages[COMPARED[function]] != 0)

    student.call, student.on_step = spy, keep  # type: ignore[method-assign]
    returns = play(student, episodes)
    del student.call
    student.on_step = None
    return inputs, spikes, returns


def play(executor: Executor, episodes: int) -> list[float]:
    """Return the returns of episodes from native starts, seed 0 and on, all side by side."""
    task = executor.interface.task
    environments = [make_environment(task.env, task.action_repeat, {}) for _ in range(episodes)]
    seeds = [SEED_STRIDE * k for k in range(episodes)]
    done = run_episodes(make_planner("policy", executor), environments, seeds, [False] * episodes)
    for environment in environments:
        environment.close()
    return [episode.total for episode in done]


def compare(
    student: SpikingExecutor, files: dict[str, Path], simulator: str, inputs: dict[str, list], spikes: dict[str, list]
) -> dict[str, Any]:
    """Feed another simulator what the chip was given; count equal spikes."""
    other = NirExecutor(student, files, simulator)
    other.reset(len(spikes["act"][0]))
    rows = {}
    for function, name in COMPARED.items():
        module = other.modules[function]
        module.spikes.clear()
        for given in inputs[function]:
            other.call(function, given)
        ours, theirs = np.stack(spikes[function]), np.stack(module.spikes)
        rows[name] = {"chip": int(ours.sum()), "other": int(theirs.sum()), "possible": ours.size}
        for decisions in WINDOWS:
            a, b = (spiking[: decisions and decisions * student.networks[function].steps] for spiking in (ours, theirs))
            rows[name]["all" if decisions is None else str(decisions)] = float((a & b).sum() / (a | b).sum())
    return rows


def draw_graph(seed: int) -> nir.NIRGraph:
    """Two populations of 30 CubaLIF in a row, the first with weights to itself, as a small trained network has them."""
    random = np.random.default_rng(seed)
    inputs, size = 20, 30

    def neurons() -> nir.CubaLIF:
        ones = np.ones(size)
        tau_syn, tau_mem = DT * random.uniform(2, 10) * ones, DT * random.uniform(5, 30) * ones
        return nir.CubaLIF(
            tau_syn=tau_syn, tau_mem=tau_mem, r=tau_mem / DT, w_in=tau_syn / DT, v_leak=0 * ones, v_threshold=ones
        )

    def weights(columns: int, scale: float) -> nir.Linear:
        return nir.Linear(weight=scale * random.normal(0.2, 1, (size, columns)) / np.sqrt(columns))

    nodes = {
        "input": nir.Input({"input": np.array([inputs])}),
        "a": weights(inputs, 0.15),
        "first": neurons(),
        "again": weights(size, 0.05),
        "b": weights(size, 0.15),
        "second": neurons(),
        "output": nir.Output({"output": np.array([size])}),
    }
    row = ["input", "a", "first", "b", "second", "output"]
    edges = [*itertools.pairwise(row), ("first", "again"), ("again", "first")]
    return nir.NIRGraph(nodes=nodes, edges=edges)


def measure_imports() -> list[dict[str, Any]]:
    """Import random graphs and compare with floating point, by width of weights."""
    rows = []
    for bits in (4, 6, 8, 9):
        counts = np.zeros(3, np.int64)
        for seed in range(RANDOM_GRAPHS):
            imported = quantise(discretise(draw_graph(seed)), weight_bits=bits)
            spikes = (np.random.default_rng(seed).random((GRAPH_STEPS, 4, 20)) < 0.2) * 1.0
            found = agreement(imported, {"input": spikes})
            counts += found.expected, found.found, found.equal
        expected, here, equal = counts.tolist()
        rows.append({"bits": bits, "expected": expected, "found": here, "equal": equal})
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--episodes", type=int, default=20)
    arguments = parser.parse_args()
    student = load(arguments.bundle)
    assert isinstance(student, SpikingExecutor)
    with tempfile.TemporaryDirectory() as folder:
        files = export_bundle(arguments.bundle, Path(folder))
        inputs, spikes, returns = record(student, arguments.episodes)
        results: dict[str, Any] = {
            "env": student.interface.task.env,
            "episodes": arguments.episodes,
            "decisions": sum(len(given["a"]) for given in inputs["observe"]),
            "chip": {"return": float(np.mean(returns)), "interval": confidence_interval(np.array(returns))},
            "versions": versions(),
            "others": {},
        }
        for simulator in ("snnTorch", "Norse"):
            totals = play(NirExecutor(student, files, simulator), arguments.episodes)
            results["others"][simulator] = {
                "spikes": compare(student, files, simulator, inputs, spikes),
                "return": float(np.mean(totals)),
                "interval": confidence_interval(np.array(totals)),
            }
            print(simulator, results["others"][simulator], flush=True)
    results["imports"] = {"graphs": RANDOM_GRAPHS, "steps": GRAPH_STEPS, "rows": measure_imports()}
    print(results["imports"])
    write_results("nir", results)


if __name__ == "__main__":
    main()
