"""One row of a report: what a run or bundle returned, cost and predicted, each number with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.evaluation import RESAMPLES, Evaluation, confidence_interval
from nmbrl.runtime.fidelity import action_error, beliefs, open_loop_error, policy_actions
from nmbrl.runtime.report_document import COUNTED, MEASURED, QUANTITIES, Energy, OpenLoop, Quantity, Row, Series
from nmbrl.targets.bundle import Bundle
from nmbrl.targets.costs import estimates
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor

# Episodes of the reference, of each kind of start, that every row is compared on.
RECORDED = 4
# Fewest episodes that a mean is quoted from without a warning.
ENOUGH_EPISODES = 20
# Targets that this host is, not ones that it stands in for.
HOST_TARGETS = ("pytorch", "onnx")
BOOTSTRAP = "95 % interval, percentile bootstrap over episodes"


@dataclass
class Subject:
    """A run or bundle that was opened.

    Attributes:
        name: what the report calls it.
        path: its directory.
        executor: runs it.
        bundle: its manifest; None for a run.
    """

    name: str
    path: Path
    executor: Executor
    bundle: Bundle | None


@dataclass
class Recording:
    """Episodes that every row is compared on.

    Attributes:
        name: the row that they are of.
        is_float: whether that row computes in float32, so that it is what others are compared with.
        evaluation: of that row.
        episodes: recorded, some from native and some from varied starts.
        actions: what that row's policy does along them.
    """

    name: str
    is_float: bool
    evaluation: Evaluation
    episodes: list[Episode]
    actions: Array

    @property
    def description(self) -> str:
        """What was recorded, in words."""
        decisions = sum(len(episode.actions) for episode in self.episodes)
        return f"{len(self.episodes)} episodes ({decisions:,} decisions) of {self.name}, half from varied starts"


def record(subject: Subject, evaluation: Evaluation, is_float: bool) -> Recording:
    """Keep the first episodes of an evaluation for comparisons."""
    episodes = evaluation.native[:RECORDED] + evaluation.varied[:RECORDED]
    actions = policy_actions(subject.executor, beliefs(subject.executor, episodes))
    return Recording(subject.name, is_float, evaluation, episodes, actions)


def make_row(subject: Subject, evaluation: Evaluation, recording: Recording, command: str) -> Row:
    """Collect everything about one run or bundle.

    Args:
        subject: what was evaluated.
        evaluation: its closed loop.
        recording: episodes to compare on.
        command: repeats the closed loop.

    Raises:
        NmbrlError: if it predicts something that is not a finite number.
    """
    executor = subject.executor
    states = beliefs(executor, recording.episodes)
    quantities = {**_returns(evaluation), **_latency(evaluation), **_costs(subject, evaluation)}
    if recording.is_float:
        quantities |= _kept(evaluation, recording.evaluation)
        quantities |= _action_errors(policy_actions(executor, states), recording, executor)
    return Row(
        name=subject.name,
        path=str(subject.path),
        target=executor.target,
        architecture=executor.interface.architecture,
        quantities={name: quantities[name] for name in QUANTITIES if name in quantities},
        energy=_energy(executor, evaluation),
        returns=Series(values=tuple(evaluation.returns.tolist()), unit="return", source=MEASURED),
        returns_varied=Series(values=tuple(evaluation.returns_varied.tolist()), unit="return", source=MEASURED),
        open_loop=_open_loop(executor, recording, states),
        provenance=_provenance(subject),
        command=command,
    )


def _returns(evaluation: Evaluation) -> dict[str, Quantity]:
    found = {}
    for name, returns in (("return", evaluation.returns), ("return_varied", evaluation.returns_varied)):
        low, high = confidence_interval(returns)
        few = "" if len(returns) >= ENOUGH_EPISODES else f"only {len(returns)} episodes: the interval is a rough one"
        found[name] = Quantity(
            value=returns.mean(), unit="return", source=MEASURED, low=low, high=high, range_of=BOOTSTRAP, note=few
        )
    return found


def _kept(evaluation: Evaluation, reference: Evaluation) -> dict[str, Quantity]:
    """Return as a share of the reference's, with the same episodes of both resampled together; only if that is > 0."""
    pairs = {
        "kept": (evaluation.returns, reference.returns),
        "kept_varied": (evaluation.returns_varied, reference.returns_varied),
    }
    found = {}
    for name, (returns, floats) in pairs.items():
        if floats.mean() <= 0:
            continue
        chosen = np.random.default_rng(0).integers(len(returns), size=(RESAMPLES, len(returns)))
        low, high = np.percentile(100 * returns[chosen].mean(axis=1) / floats[chosen].mean(axis=1), [2.5, 97.5])
        found[name] = Quantity(
            value=100 * returns.mean() / floats.mean(),
            unit="%",
            source=MEASURED,
            low=low,
            high=high,
            range_of=f"{BOOTSTRAP}, paired with the reference's",
        )
    return found


def _latency(evaluation: Evaluation) -> dict[str, Quantity]:
    milliseconds = evaluation.decision_ms
    statistics = {
        "latency": np.median(milliseconds),
        "latency_p95": np.percentile(milliseconds, 95),
        "latency_max": milliseconds.max(),
    }
    note = "" if evaluation.target in HOST_TARGETS else "of an interpreter or simulator, not of the target's hardware"
    return {name: Quantity(value=value, unit="ms", source=MEASURED, note=note) for name, value in statistics.items()}


def _costs(subject: Subject, evaluation: Evaluation) -> dict[str, Quantity]:
    executor, bundle = subject.executor, subject.bundle
    parameters = executor.interface.parameters
    found = {"parameters": Quantity(value=parameters, unit="", source=COUNTED)}
    if bundle is None:
        note = "4 bytes a parameter; a run also holds what training needs"
        found["bytes"] = Quantity(value=4 * parameters, unit="B", source=COUNTED, note=note)
    else:
        size = sum((subject.path / name).stat().st_size for name in bundle.files)
        found["bytes"] = Quantity(
            value=size, unit="B", source=MEASURED, note="all files of the bundle but its manifest"
        )
        found |= _on_device(executor.target, bundle.measured)
    found["macs"] = Quantity(
        value=_macs(executor, evaluation.counts), unit="", source=COUNTED, note="if computed densely"
    )
    counts = dict(evaluation.counts)
    if "packets" in counts:
        counts["hops"] = counts["hops_east_west"] + counts["hops_north_south"]
    for name in ("synaptic_operations", "neuron_updates", "messages", "packets", "hops", "steps"):
        if name in counts:
            found[name] = Quantity(value=counts[name], unit="", source=COUNTED)
    return found


def _on_device(target: str, measured: Mapping[str, Any]) -> dict[str, Quantity]:
    """What the conversion recorded of the device's memory, over all functions."""
    names = {"arena_bytes": ("ram", "B", "tensor arenas")}
    if target == "loihi":
        names |= {
            "bytes": ("synaptic_memory", "B", "synapses"),
            "neurons": ("neurons", "", "neurons"),
            "cores": ("cores", "", "cores"),
        }
    found = {}
    for recorded, (name, unit, what) in names.items():
        sizes = measured.get(recorded)
        if isinstance(sizes, Mapping):
            note = f"{what}: " + ", ".join(f"{function} {size:,}" for function, size in sizes.items())
            found[name] = Quantity(value=sum(sizes.values()), unit=unit, source="recorded by the conversion", note=note)
    return found


def _macs(executor: Executor, counts: Mapping[str, float]) -> float:
    return sum(macs * counts.get(function, 0.0) for function, macs in executor.macs.items())


def _energy(executor: Executor, evaluation: Evaluation) -> tuple[Energy, ...]:
    return tuple(
        Energy(
            name=estimate.name,
            value=estimate.joules,
            unit="J",
            source=f"{COUNTED} x constant ({estimate.source})",
            low=estimate.low,
            high=estimate.high,
            range_of=estimate.range_of,
            leaves_out=estimate.leaves_out,
        )
        for estimate in estimates(executor.target, _macs(executor, evaluation.counts), evaluation.counts)
    )


def _action_errors(actions: Array, recording: Recording, executor: Executor) -> dict[str, Quantity]:
    discrete = executor.interface.task.action_kind == "discrete"
    error = action_error(actions, recording.actions, discrete)
    what = "share of decisions that differ" if discrete else "absolute difference of actions in [-1, 1]"
    note = f"{what}, from {recording.name} over {error.decisions:,} recorded decisions"
    values = {"action_error": error.mean, "action_error_max": error.largest}
    return {name: Quantity(value=value, unit="", source=MEASURED, note=note) for name, value in values.items()}


def _open_loop(executor: Executor, recording: Recording, states: list[Array]) -> OpenLoop:
    error = open_loop_error(executor, recording.episodes, states)
    if not (np.isfinite(error.observation).all() and np.isfinite(error.reward).all()):
        raise NmbrlError("it predicts something that is not a finite number: its weights are unusable")
    return OpenLoop(
        observation=tuple(error.overall.tolist()),
        dimensions=tuple(tuple(dimensions) for dimensions in error.observation.tolist()),
        reward=tuple(error.reward.tolist()),
        still=tuple(error.overall_still.tolist()),
        samples=tuple(error.samples.tolist()),
    )


def _provenance(subject: Subject) -> dict[str, str]:
    bundle = subject.bundle
    if bundle is None:
        return subject.executor.provenance
    source = bundle.provenance
    options = ", ".join(f"{name} {value}" for name, value in source.options.items())
    return {
        "run": source.run,
        "seed of the training": str(source.seed),
        "revision": source.revision,
        "converted with": ", ".join(f"{name} {version}" for name, version in source.versions.items()),
        **({"options": options} if options else {}),
    }
