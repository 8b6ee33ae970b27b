"""Planning the scratch memory of a function: rows that are alive at the same time do not overlap, others share."""

from dataclasses import dataclass

from nmbrl.convert.c.steps import Lowered, Slot


@dataclass(frozen=True)
class Placed:
    """A scratch slot in memory.

    Attributes:
        slot: what lies there; it owns its memory.
        offset: first byte, of a row.
        first: step that writes it first.
        last: step that reads it last.
    """

    slot: Slot
    offset: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """The scratch memory of a function.

    Attributes:
        placed: every scratch slot, by its first step.
        row_size: bytes of a row of all of them.
    """

    placed: tuple[Placed, ...]
    row_size: int

    def offset(self, slot: Slot) -> int:
        """Return the first byte of a slot that owns its memory."""
        return next(placed.offset for placed in self.placed if placed.slot is slot)


def plan_memory(function: Lowered) -> Plan:
    """Place every scratch slot: largest first, at the lowest offset that is free during its life."""
    lives: dict[Slot, tuple[int, int]] = {}
    for position, step in enumerate(function.steps):
        for slot in (*step.inputs, step.output):
            if slot.storage.kind == "scratch":
                first, _ = lives.get(slot.storage, (position, position))
                lives[slot.storage] = (first, position)
    placed: list[Placed] = []
    for slot, (first, last) in sorted(lives.items(), key=lambda item: (-item[0].size, item[1])):
        offset = 0
        for other in sorted(placed, key=lambda entry: entry.offset):
            together = first <= other.last and other.first <= last
            if together and offset < other.offset + other.slot.size and other.offset < offset + slot.size:
                offset = other.offset + other.slot.size
        placed.append(Placed(slot, offset, first, last))
    row_size = max((entry.offset + entry.slot.size for entry in placed), default=0)
    return Plan(tuple(sorted(placed, key=lambda entry: (entry.first, entry.offset))), row_size)


def memory_map(function: Lowered, plan: Plan) -> list[str]:
    """Describe a plan, a line a slot."""
    lines = [f"{function.name}: {plan.row_size} bytes a row, of {sum(entry.slot.size for entry in plan.placed)} in all"]
    for entry in plan.placed:
        end = entry.offset + entry.slot.size
        lines.append(
            f"  {entry.offset:5d} .. {end - 1:5d}  steps {entry.first:3d} .. {entry.last:3d}  {entry.slot.name}"
        )
    return lines
