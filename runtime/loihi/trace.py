"""What single neurons did in an episode: every message, and the state of chosen neurons, step by step."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmbrl.runtime.closed_loop import run_episodes
from nmbrl.runtime.environment import Environment, check_task
from nmbrl.runtime.planners import Planner
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.limits import Integers

# Neurons whose state is recorded where none are chosen: the first so many of each population.
FIRST = 4
# State variables that stand for a membrane: of a neuron that integrates, and of one that sends changes.
MEMBRANE = ("v", "accumulator 0", "given")


@dataclass(frozen=True)
class Trace:
    """One lane of an episode, in the order in which networks ran.

    Attributes:
        messages: of each population, as ``function/population``: int32 (steps, neurons).
        potentials: of each recorded population, the potentials (steps, chosen neurons), int32.
        neurons: which neurons those are, (chosen,).
        decisions: decision in which each step was, of each function, (steps,).
    """

    messages: dict[str, np.ndarray]
    potentials: dict[str, np.ndarray]
    neurons: dict[str, np.ndarray]
    decisions: dict[str, np.ndarray]

    def silent(self) -> np.ndarray:
        """Return the share of the neurons that sent nothing in each decision (decisions,), over all populations."""
        count = 1 + max(int(steps.max()) for steps in self.decisions.values())
        sent, possible = np.zeros(count), np.zeros(count)
        for name, messages in self.messages.items():
            decisions = self.decisions[name.split("/")[0]]
            calls = np.unique(decisions)
            for decision in calls:
                # Once, however often: spiking neurons may in every step, and all do in every call of a search.
                sent[decision] += np.count_nonzero(messages[decisions == decision].any(axis=0))
            np.add.at(possible, calls, messages.shape[1])
        return 1 - sent / np.maximum(possible, 1)

    def save(self, path: Path) -> None:
        """Write an npz: ``messages/...``, ``potentials/...``, ``neurons/...`` and ``decisions/...``.

        Raises:
            NmbrlError: if it cannot be written.
        """
        groups = {name: getattr(self, name) for name in ("messages", "potentials", "neurons", "decisions")}
        arrays = {f"{group}/{name}": array for group, parts in groups.items() for name, array in parts.items()}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        write_bytes(path, stream.getvalue())


class Tracer:
    """Records what the networks of an executor do in their first lane from now on.

    Args:
        executor: what runs; its calls go through here until `close`.
        chosen: neurons to record the potentials of, as ``function/population`` or ``function/population:1,5,7``; none
            for the first few of every population.

    Raises:
        NmbrlError: if there is no such population or neuron.
    """

    def __init__(self, executor: LoihiExecutor, chosen: tuple[str, ...] = ()) -> None:
        self.executor = executor
        self.neurons = _parse(executor, chosen)
        self._observed = executor.counts["observe"]
        self._messages: dict[str, list[np.ndarray]] = {}
        self._potentials: dict[str, list[np.ndarray]] = {}
        self._decisions: dict[str, list[int]] = {}
        executor.on_step = self._record

    def close(self) -> None:
        """Stop recording."""
        self.executor.on_step = None

    def trace(self) -> Trace:
        """Return what was recorded.

        Raises:
            NmbrlError: if nothing ran.
        """
        if not self._messages:
            raise NmbrlError("nothing was computed on Loihi that could be traced")
        return Trace(
            {name: np.stack(rows) for name, rows in self._messages.items()},
            {name: np.stack(rows) for name, rows in self._potentials.items()},
            {name: neurons for name, neurons in self.neurons.items() if name in self._potentials},
            {function: np.array(decisions) for function, decisions in self._decisions.items()},
        )

    def _record(self, function: str, messages: dict[str, Integers]) -> None:
        self._decisions.setdefault(function, []).append(self.executor.counts["observe"] - self._observed - 1)
        for population in self.executor.networks[function].populations:
            name = f"{function}/{population.name}"
            sent = messages.get(population.name)
            row = np.zeros(population.size, np.int32) if sent is None else sent[0].copy()
            self._messages.setdefault(name, []).append(row)
            if name in self.neurons:
                variable = next(v for v in MEMBRANE if v in population.variables)
                state = self.executor.read_state(function, f"{population.name}/{variable}")
                self._potentials.setdefault(name, []).append(state[0, self.neurons[name]].copy())


def record_trace(
    planner: Planner,
    executor: LoihiExecutor,
    environment: Environment,
    seed: int,
    chosen: tuple[str, ...] = (),
    varied: bool = False,
) -> Trace:
    """Run one episode and record it.

    Args:
        planner: decides, with `executor`'s model.
        executor: what runs the model.
        environment: the plant.
        seed: of the episode.
        chosen: see `Tracer`.
        varied: whether a random prefix goes before.

    Raises:
        NmbrlError: if the environment does not fit, or see `Tracer`.
    """
    check_task(executor.interface.task, environment)
    executor.forget()
    tracer = Tracer(executor, chosen)
    try:
        run_episodes(planner, [environment], [seed], [varied])
        return tracer.trace()
    finally:
        tracer.close()


def _parse(executor: LoihiExecutor, chosen: tuple[str, ...]) -> dict[str, np.ndarray]:
    sizes = {
        f"{function}/{population.name}": population.size
        for function, network in executor.networks.items()
        for population in network.populations
        if any(variable in population.variables for variable in MEMBRANE)
    }
    if not chosen:
        return {name: np.arange(min(FIRST, size)) for name, size in sizes.items()}
    neurons = {}
    for text in chosen:
        name, _, indices = text.partition(":")
        if name not in sizes:
            raise NmbrlError(f"no population {name!r} to trace; choose from {', '.join(sizes)}")
        try:
            picked = [int(part) for part in indices.split(",")] if indices else list(range(min(FIRST, sizes[name])))
        except ValueError:
            raise NmbrlError(f"{text}: give neurons as {name}:0,3,5") from None
        if not all(0 <= index < sizes[name] for index in picked):
            raise NmbrlError(f"{text}: {name} has neurons 0 to {sizes[name] - 1}")
        neurons[name] = np.array(picked)
    return neurons
