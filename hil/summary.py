"""What `nmbrl-hil` prints of an evaluation."""

from collections.abc import Mapping
from typing import Any

from nmbrl.hil.evaluation import BoardEvaluation

# Functions of the firmware that are shown by name.
SHOWN = 12


def summarise(result: BoardEvaluation) -> str:
    """Return the figures that matter most, in lines."""
    figures = result.to_json()
    return "\n".join([*_head(figures), *_instructions(figures), *_safety(figures), *_faults(figures)])


def _head(figures: Mapping[str, Any]) -> list[str]:
    latency = figures["decision_ms"]
    mode = figures["mode"] + ("" if figures["deadline_ms"] is None else f", {figures['deadline_ms']:g} ms a decision")
    return [
        f"{figures['env']}: {figures['target']}, {figures['planner']}, {mode}",
        f"  return, native starts  {figures['mean_return']:8.1f}",
        f"  return, varied starts  {figures['mean_return_varied']:8.1f}",
        f"  answers: {latency['median']:.2f} ms median, {latency['p95']:.2f} ms 95th percentile, link included",
    ]


def _instructions(figures: Mapping[str, Any]) -> list[str]:
    counted = figures["instructions"]
    if not counted:
        return []
    decision = counted["decision"]
    lines = [f"  {decision['mean']:,.0f} instructions a decision, {decision['max']:,.0f} at most (counted; no latency)"]
    for name, bounds in counted["estimated"].items():
        lines.append(f"    {name}: {bounds['low']:.3g} to {bounds['high']:.3g} {bounds['unit']} by a model")
    for name, of in (counted["functions"] or {}).items():
        lines.append(f"    {name}: {of['single']:,.0f} instructions, {of['batch']:,.0f} a row in a batch")
    return lines + _code(counted["code"] or {}, figures["decisions"])


def _code(counts: Mapping[str, int], decisions: int) -> list[str]:
    total = sum(counts.values())
    if not total:
        return []
    lines = [f"  {total:,} instructions since start-up, the wire included, by function of the firmware:"]
    for name, count in list(counts.items())[:SHOWN]:
        lines.append(f"    {name:<24} {count:>15,}  {100 * count / total:5.1f} %")
    return lines


def _safety(figures: Mapping[str, Any]) -> list[str]:
    late, outage = figures["late_answers"], figures["longest_outage"]
    row = f", at most {outage} in a row" if outage else ""
    lines = [f"  {figures['safe_actions']} of {figures['decisions']} decisions were the safe action{row}"]
    if late["count"]:
        by = late["by_ms"]
        lines.append(f"  {late['count']} answers came late, by {by['mean']:.1f} ms on average, {by['max']:.1f} at most")
    if figures["plant_overruns"]:
        lines.append(f"  {figures['plant_overruns']} times this machine was too slow for the plant's own pace")
    return lines


def _faults(figures: Mapping[str, Any]) -> list[str]:
    faults = figures["faults"]
    if not (any(faults["asked"].values()) or figures["safe_actions"]):
        return []
    lines = []
    for name in ("injected", "link", "mended"):
        told = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in sorted(faults[name].items()) if count)
        lines.append(f"  {name}: {told or 'nothing'}")
    return lines
