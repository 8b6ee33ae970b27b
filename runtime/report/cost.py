"""Where a row's cost goes: layers, populations, cores, memory, instructions, and what happened on the wire."""

import re
from collections.abc import Mapping
from typing import Any

from nmbrl.runtime.report.document import Cost, Part, Slot, Wire
from nmbrl.runtime.report.record import Record
from nmbrl.runtime.report.subject import Subject

MEMORY_MAP = "memory.txt"
LABELS = {"flash": "flash", "ram": "RAM"}
_FUNCTION = re.compile(r"^(\w+): \d+ bytes a row")
_SLOT = re.compile(r"^\s+(\d+) \.\.\s*(\d+)\s+steps\s+(\d+) \.\.\s*(\d+)\s+(\S+)$")


def break_down(subject: Subject, record: Record) -> Cost:
    """Collect what is known of where a decision's cost goes."""
    chip = record.chip or {}
    instructions = record.instructions or {}
    return Cost(
        layers=_layers(subject, record.counts_per_decision),
        populations=tuple(_part(row, "population") for row in chip.get("populations", ())),
        cores=tuple(_part(row, "core") for row in chip.get("cores", ())),
        memory=_memory(subject, record),
        slots=_slots(subject),
        functions=tuple(
            Part(function=name, name=name, counts={key: float(value) for key, value in counted.items()})
            for name, counted in (instructions.get("functions") or {}).items()
        ),
        code=instructions.get("code") or {},
        wire=_wire(record),
    )


def _layers(subject: Subject, counts: Mapping[str, float]) -> tuple[Part, ...]:
    if subject.executor is None:
        return ()
    return tuple(
        Part(function=function, name=layer, counts={"macs": macs * counts[function]})
        for function, layers in sorted(subject.executor.layers.items())
        if counts.get(function)
        for layer, macs in sorted(layers.items())
    )


def _part(row: Mapping[str, Any], name: str) -> Part:
    counts = {key: float(value) for key, value in row.items() if key not in (name, "function")}
    return Part(function=row["function"], name=str(row[name]), counts=counts)


def _memory(subject: Subject, record: Record) -> dict[str, int]:
    """Bytes by what they hold: of C code as the conversion linked it for each core, of firmware as it was built."""
    if record.firmware is not None:
        return {f"{LABELS[kind]}, firmware": size for kind, size in record.firmware.items()}
    recorded = subject.bundle.measured.get("memory", {}) if subject.bundle is not None else {}
    return {what: int(amount["value"]) for what, amount in recorded.items() if amount["unit"] == "bytes"}


def _slots(subject: Subject) -> tuple[Slot, ...]:
    if subject.bundle is None or MEMORY_MAP not in subject.bundle.files:
        return ()
    slots, function = [], ""
    for line in (subject.path / MEMORY_MAP).read_text().splitlines():
        if heading := _FUNCTION.match(line):
            function = heading[1]
        elif slot := _SLOT.match(line):
            first_byte, last_byte, first_step, last_step = map(int, slot.groups()[:4])
            slots.append(
                Slot(
                    function=function,
                    name=slot[5],
                    first_byte=first_byte,
                    last_byte=last_byte,
                    first_step=first_step,
                    last_step=last_step,
                )
            )
    return tuple(slots)


def _wire(record: Record) -> Wire | None:
    if record.mode is None:
        return None
    counts = {
        "safe actions": record.safe_actions,
        "safe actions in a row, at most": record.longest_outage,
        "late answers": record.late_answers.get("count", 0),
        "plant overruns": record.plant_overruns,
    }
    for kind, told in record.faults.items():
        counts |= {f"{kind}: {name.replace('_', ' ')}": value for name, value in told.items()}
    return Wire(mode=record.mode, deadline_ms=record.deadline_ms, decisions=record.decisions, counts=counts)
