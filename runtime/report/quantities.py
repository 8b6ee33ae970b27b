"""The numbers of a row: return, cost, energy and latency, each with its source."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nmbrl.runtime.evaluation import RESAMPLES, confidence_interval
from nmbrl.runtime.fidelity import action_error
from nmbrl.runtime.report.document import Estimate, Quantity
from nmbrl.runtime.report.record import Record
from nmbrl.runtime.report.subject import Subject
from nmbrl.runtime.report.world import Followed
from nmbrl.targets.costs import estimates
from nmbrl.targets.interface import Task

# Fewest episodes that a mean is quoted from without a warning.
ENOUGH_EPISODES = 20
# Targets that this host is, not ones that it stands in for.
HOST_TARGETS = ("pytorch", "onnx")
BOOTSTRAP = "95 % interval, percentile bootstrap over episodes"
CONVERSION = "the conversion"
BOARD = "the board's record"


def returns(record: Record) -> dict[str, Quantity]:
    """Mean returns with their intervals."""
    found = {}
    for name, values in (("return", record.returns), ("return_varied", record.returns_varied)):
        low, high = confidence_interval(np.array(values))
        few = "" if len(values) >= ENOUGH_EPISODES else f"only {len(values)} episodes: the interval is a rough one"
        mean = float(np.mean(values))
        found[name] = Quantity(
            value=mean, unit="return", source="measured", low=low, high=high, range_of=BOOTSTRAP, note=few
        )
    return found


def kept(record: Record, reference: Record) -> dict[str, Quantity]:
    """Return as a share of the reference's, with the same episodes of both resampled together; only if that is > 0."""
    pairs = {
        "kept": (record.returns, reference.returns),
        "kept_varied": (record.returns_varied, reference.returns_varied),
    }
    found = {}
    for name, (ours, floats) in pairs.items():
        mine, theirs = np.array(ours), np.array(floats)
        if theirs.mean() <= 0:
            continue
        chosen = np.random.default_rng(0).integers(len(mine), size=(RESAMPLES, len(mine)))
        low, high = np.percentile(100 * mine[chosen].mean(axis=1) / theirs[chosen].mean(axis=1), [2.5, 97.5])
        found[name] = Quantity(
            value=100 * mine.mean() / theirs.mean(),
            unit="%",
            source="measured",
            low=low,
            high=high,
            range_of=f"{BOOTSTRAP}, paired with the reference's",
        )
    return found


def host_latency(record: Record) -> dict[str, Quantity]:
    """What a decision took on this host; nothing for a board, whose emulator's time says nothing."""
    if record.mode is not None:
        return {}
    names = {"host_latency": "median", "host_latency_p95": "p95", "host_latency_max": "max"}
    note = "" if record.target in HOST_TARGETS else "of what stands in for the target here, not of its hardware"
    return {
        name: Quantity(value=record.decision_ms[statistic] / 1e3, unit="s", source="measured", note=note)
        for name, statistic in names.items()
    }


def sizes(subject: Subject, record: Record) -> dict[str, Quantity]:
    """Memory that the model takes where it runs."""
    found = {}
    if subject.executor is not None:
        parameters = subject.executor.interface.parameters
        found["parameters"] = Quantity(value=parameters, unit="", source="counted")
    if record.firmware is not None:
        note = "the linked firmware: model, planner, protocol, drivers; RAM with the stack's section"
        for name in ("flash", "ram"):
            found[name] = Quantity(value=record.firmware[name], unit="B", source="counted", by=BOARD, note=note)
    if subject.bundle is not None:
        size = sum((subject.path / name).stat().st_size for name in subject.bundle.files)
        note = "all files but the manifest"
        found["bundle"] = Quantity(value=size, unit="B", source="counted", note=note)
        found |= _on_device(subject.bundle.measured, "chip" if record.chip else "")
    return found


def _on_device(measured: Mapping[str, Any], kind: str) -> dict[str, Quantity]:
    """What the conversion recorded of the device's memory, over all functions."""
    memory = measured.get("memory")
    if memory:
        return _linked({what: amount["value"] for what, amount in memory.items() if amount["unit"] == "bytes"})
    names = {"arena_bytes": ("ram", "B", "tensor arenas of an interpreter, a function")}
    if kind == "chip":
        names |= {
            "bytes": ("synaptic_memory", "B", "synapses"),
            "neurons": ("neurons", "", "neurons"),
            "cores": ("cores", "", "cores"),
        }
    elif "arena_bytes" in measured:
        names["bytes"] = ("flash", "B", "the models; the interpreter comes on top")
    found = {}
    for recorded, (name, unit, what) in names.items():
        amounts = measured.get(recorded)
        if isinstance(amounts, Mapping):
            note = f"{what}: " + ", ".join(f"{function} {size:,}" for function, size in amounts.items())
            found[name] = Quantity(value=sum(amounts.values()), unit=unit, source="counted", by=CONVERSION, note=note)
    return found


def _linked(memory: Mapping[str, int]) -> dict[str, Quantity]:
    """Flash and RAM of generated C on the cores that it was linked for; the largest is quoted."""
    cores = {what[what.rindex("(") :] for what in memory if what.startswith("flash, code (")}

    def amounts(kind: str, shared: tuple[str, ...]) -> list[int]:
        """Bytes on each core: its own entries, and those that are the same on all."""
        common = sum(size for what, size in memory.items() if what.startswith(shared))
        return [
            common + sum(size for what, size in memory.items() if what.startswith(kind) and what.endswith(core))
            for core in sorted(cores)
        ]

    constants = tuple(what for what in memory if what.startswith("flash") and "(Cortex" not in what)
    found = {}
    for name, bytes_of, note in (
        ("flash", amounts("flash", constants), "code and constants of model and planner"),
        ("ram", amounts("RAM", ("RAM, planner",)), "scratch, work areas, planner, deepest stack"),
    ):
        if bytes_of:
            found[name] = Quantity(
                value=max(bytes_of),
                unit="B",
                source="counted",
                by=CONVERSION,
                low=min(bytes_of),
                high=max(bytes_of),
                range_of="the cores that it was linked for",
                note=note,
            )
    return found


def operations(subject: Subject, record: Record) -> dict[str, Quantity]:
    """Operations and events of a decision."""
    found = {}
    counts = dict(record.counts_per_decision)
    if subject.executor is not None:
        note = "if computed densely"
        found["macs"] = Quantity(value=macs(subject, record), unit="", source="counted", note=note)
    if "packets" in counts:
        counts["hops"] = counts["hops_east_west"] + counts["hops_north_south"]
    for name in ("synaptic_operations", "neuron_updates", "messages", "packets", "hops", "steps"):
        if name in counts:
            found[name] = Quantity(value=counts[name], unit="", source="counted")
    if record.instructions:
        decision = record.instructions["decision"]
        found["instructions"] = Quantity(
            value=decision["mean"],
            unit="",
            source="counted",
            by=BOARD,
            high=decision["max"],
            note=f"mean; at most {decision['max']:,.0f}; by the emulator, exact to a tick of the board's clock",
        )
    return found


def macs(subject: Subject, record: Record) -> float:
    """Multiply-accumulates of a decision."""
    assert subject.executor is not None
    counts = record.counts_per_decision
    return sum(number * counts.get(function, 0.0) for function, number in subject.executor.macs.items())


def action_errors(ours: Followed, reference: Followed, name: str, task: Task) -> dict[str, Quantity]:
    """Difference of actions from float's on the recorded episodes."""
    discrete = task.action_kind == "discrete"
    error = action_error(ours.actions, reference.actions, discrete)
    what = "share of decisions that differ" if discrete else "absolute difference of actions in [-1, 1]"
    note = f"{what}, from {name} over {error.decisions:,} recorded decisions"
    values = {"action_error": error.mean, "action_error_max": error.largest}
    return {key: Quantity(value=value, unit="", source="measured", note=note) for key, value in values.items()}


def energies(subject: Subject, record: Record) -> tuple[Estimate, ...]:
    """Energy of a decision by each published model; none was measured."""
    if record.instructions:
        energy = record.instructions["estimated"].get("energy")
        return (_range(energy, f"{record.core}, instructions", "J"),) if energy else ()
    if subject.executor is None:
        return ()
    return tuple(
        Estimate(
            name=estimate.name,
            value=estimate.joules,
            unit="J",
            source="modelled",
            reference=estimate.source,
            low=estimate.low,
            high=estimate.high,
            range_of=estimate.range_of,
            leaves_out=estimate.leaves_out,
        )
        for estimate in estimates(subject.target, macs(subject, record), record.counts_per_decision)
    )


def latencies(record: Record, host: Mapping[str, Quantity]) -> tuple[Estimate, ...]:
    """Latency of a decision: by models of hardware that is not here, then as measured on this host."""
    found = []
    if record.instructions:
        time = record.instructions["estimated"].get("time")
        found += [_range(time, f"{record.core}, instructions", "s")] if time else []
    for model in (record.chip or {}).get("latency", ()):
        found.append(
            Estimate(
                name=model["name"],
                value=model["seconds"],
                unit="s",
                source="modelled",
                reference=model["source"],
                low=model["low"],
                high=model["high"],
                range_of=model["range_of"],
                leaves_out=model["leaves_out"],
            )
        )
    if "host_latency" in host:
        median = host["host_latency"]
        found.append(
            Estimate(
                name="on this host" + (", not on the target's hardware" if median.note else ""),
                value=median.value,
                unit="s",
                source="measured",
                high=host["host_latency_p95"].value,
                range_of="95th percentile",
                note=median.note,
                leaves_out="sensors and actuators",
            )
        )
    return tuple(found)


def _range(bounds: Mapping[str, Any], name: str, unit: str) -> Estimate:
    """An estimate of which only bounds are known, quoted by the upper one."""
    return Estimate(
        name=name,
        value=bounds["high"],
        unit=unit,
        source="modelled",
        by=BOARD,
        reference=bounds["source"],
        low=bounds["low"],
        high=bounds["high"],
        range_of="cycles an instruction and what a cycle costs; the value is the upper end",
        leaves_out="the wire, flash wait states and caches, sensors and actuators, sleep between decisions",
    )
