"""What a closed loop on Loihi comes to: counts of a decision, where they fall on the chip, and what they cost.

NeuroBench's quantities bear its names (Yik et al. 2025, Nature Communications 16; github.com/NeuroBench).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmbrl.runtime.closed_loop import Episode, run_episodes
from nmbrl.runtime.environment import Environment, check_task
from nmbrl.runtime.evaluation import LANES, SEED_STRIDE, confidence_interval
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.costs import loihi
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.chips import LOIHI_2, find_chip
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.latency import latencies
from nmbrl.targets.loihi.network import Network

LOIHI_2_LABEL = (
    "Loihi 2 has no published energy or time of a single operation: all figures use constants of Loihi 1, one of the "
    "times scaled by ratios that Intel states"
)
QUANTITIES = ("messages", "synaptic_operations", "neuron_updates")


@dataclass(frozen=True)
class Tally:
    """Counts of a closed loop.

    Attributes:
        executor: what ran, with its networks and placement.
        planner: what decided.
        seed: of the first episode.
        episodes: as they went.
        counts: of one decision; names as in `LoihiExecutor`.
        messages: of one call of each function that was called, by step and neuron (steps, neurons).
        silent: share of possible messages that were not sent in the k-th decision of the episodes.
    """

    executor: LoihiExecutor
    planner: str
    seed: int
    episodes: list[Episode]
    counts: dict[str, float]
    messages: dict[str, np.ndarray]
    silent: list[float]

    def to_json(self) -> dict[str, Any]:
        """Everything that the counts come to, as plain data."""
        chip = find_chip(self.executor.placement.chip)
        returns = np.array([episode.total for episode in self.episodes])
        return {
            "chip": chip.name,
            "label": LOIHI_2_LABEL if chip is LOIHI_2 else f"constants of {chip.name}",
            "env": self.executor.interface.task.env,
            "planner": self.planner,
            "seed": self.seed,
            "episodes": len(self.episodes),
            "mean_return": float(returns.mean()),
            "interval": confidence_interval(returns),
            "decisions": sum(len(episode.actions) for episode in self.episodes),
            "per_decision": {name: total for name, total in self.counts.items() if "/" not in name},
            "populations": self.populations(),
            "cores": self.cores(),
            "busiest": self.busiest(),
            "sparsity_over_time": self.silent,
            "energy": [estimate.model_dump() for estimate in loihi(self.counts)],
            "latency": [estimate.model_dump() for estimate in self.latencies()],
            "neurobench": self.neurobench(),
        }

    def populations(self) -> list[dict[str, Any]]:
        """Counts a decision of each population, and the share of its possible messages that it did not send."""
        networks = {function: self.executor.networks[function] for function in self.messages}
        return count_populations(networks, self.counts)

    def cores(self) -> list[dict[str, Any]]:
        """Counts a decision of each core."""
        rows = []
        for function, messages in self.messages.items():
            traffic = self.executor.routes[function].trace(messages)
            for index, core in enumerate(traffic.cores):
                row: dict[str, Any] = {"core": int(core), "function": function}
                for name in (*QUANTITIES, "packets_out", "packets_in"):
                    row[name] = float(getattr(traffic, name)[:, index].sum() * self.counts[function])
                rows.append(row)
        return rows

    def busiest(self) -> dict[str, Any]:
        """The core with the most synaptic operations in one step of a call, mean over calls."""
        rows = []
        for function, messages in self.messages.items():
            traffic = self.executor.routes[function].trace(messages)
            step, index = np.unravel_index(traffic.synaptic_operations.argmax(), traffic.synaptic_operations.shape)
            rows.append(
                {
                    "core": int(traffic.cores[index]),
                    "function": function,
                    "step": int(step),
                    "synaptic_operations": float(traffic.synaptic_operations[step, index]),
                }
            )
        return max(rows, key=lambda row: row["synaptic_operations"])

    def latencies(self) -> tuple[Any, ...]:
        """Modelled times of a decision; see `nmbrl.targets.loihi.latency`."""
        routes = self.executor.routes
        traffic = {function: routes[function].trace(messages) for function, messages in self.messages.items()}
        return latencies(routes, traffic, {function: self.counts[function] for function in traffic})

    def neurobench(self) -> dict[str, Any]:
        """NeuroBench's quantities, of a decision where they count work.

        What graded messages do at synapses are multiply-accumulates, what spikes do are accumulates. An activation is a
        message of a neuron in a call, as each can send once in it, or in a step where neurons run on. Each function's
        network has parameters of its own; weights of 0 are parameters as well.
        """
        binary = all(part.binary for network in self.executor.networks.values() for part in network.synapses)
        operations = self.counts["synaptic_operations"]
        networks = self.executor.networks
        placed = sum(core.synaptic_bits for core in self.executor.placement.cores)
        weights = [part.weights for network in networks.values() for part in network.synapses]
        elements = sum(matrix.size for matrix in weights)
        connected = sum(int(np.count_nonzero(matrix)) for matrix in weights)
        return {
            "Footprint": placed // 8,
            "ParameterCount": elements + sum(map(_constants, networks.values())),
            "ConnectionSparsity": 1 - connected / elements,
            "ActivationSparsity": 1 - self.counts["messages"] / self.counts["possible_messages"],
            "SynapticOperations": {
                "Effective_MACs": 0.0 if binary else operations,
                "Effective_ACs": operations if binary else 0.0,
                "Dense": sum(
                    self.counts[function]
                    * networks[function].turns
                    * sum(p.weights.size for p in networks[function].synapses)
                    for function in self.messages
                ),
            },
            "MembraneUpdates": self.counts["neuron_updates"],
        }


def count_populations(networks: dict[str, Network], counts: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return counts of each population, and the share of its possible messages that it did not send.

    Args:
        networks: of each function that was called.
        counts: of a decision, or of any number of them; names as in `LoihiExecutor`.
    """
    rows = []
    for function, network in networks.items():
        for population in network.populations:
            row: dict[str, Any] = {"function": function, "population": population.name, "neurons": population.size}
            row |= {name: counts[f"{name}/{function}/{population.name}"] for name in QUANTITIES}
            row["sparsity"] = 1 - row["messages"] / (population.size * network.turns * counts[function])
            rows.append(row)
    return rows


def _constants(network: Network) -> int:
    """Number of biases and entries of tables, which a network in PyTorch would have as parameters."""
    return sum(
        getattr(population, name).size
        for population in network.populations
        for name in population.arrays
        if name == "values" or (name.startswith("bias") and name != "bias_exp")
    )


def count(
    executor: LoihiExecutor,
    planner: str = "policy",
    episodes: int = 20,
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> Tally:
    """Run a freshly opened model closed loop from native starts, and count.

    Args:
        executor: what runs the model.
        planner: a name in `nmbrl.runtime.planners.PLANNERS`.
        episodes: how many, side by side in lanes that keep their networks' state from one episode to the next.
        seed: of the first episode.
        options: fields of `PlannerOptions`.

    Raises:
        NmbrlError: if the environment does not fit, a name or option is wrong, or nothing was computed on Loihi.
    """
    task = executor.interface.task
    searcher = make_planner(planner, executor, **(options or {}))
    environments: list[Environment] = []
    sent, possible = Counter[int](), Counter[int]()
    seen = {"messages": 0, "possible_messages": 0}

    def progress(running: Sequence[Episode], lanes: int) -> None:
        decision = max(len(episode.actions) for episode in running) - 1
        for tally, name in ((sent, "messages"), (possible, "possible_messages")):
            tally[decision] += executor.counts[name] - seen[name]
            seen[name] = executor.counts[name]

    done: list[Episode] = []
    try:
        for _ in range(min(LANES, episodes)):
            environments.append(make_environment(task.env, task.action_repeat, {}))
            check_task(task, environments[-1])
        for first in range(0, episodes, LANES):
            seeds = [seed + SEED_STRIDE * k for k in range(first, min(first + LANES, episodes))]
            done += run_episodes(searcher, environments[: len(seeds)], seeds, [False] * len(seeds), progress)
    finally:
        for environment in environments:
            environment.close()
    decisions = sum(len(episode.actions) for episode in done)
    if not executor.counts["possible_messages"]:
        raise NmbrlError(f"{task.env}: no function was computed on Loihi")
    called = {function: executor.counts[function] for function in executor.networks if executor.counts[function]}
    return Tally(
        executor=executor,
        planner=planner,
        seed=seed,
        episodes=done,
        counts={name: total / decisions for name, total in sorted(executor.counts.items())},
        messages={function: executor.messages[function] / calls for function, calls in called.items()},
        silent=[1 - sent[decision] / possible[decision] for decision in sorted(possible)],
    )
