"""The named quantities of an interface: what must have one scale wherever it enters or leaves a function."""

from dataclasses import dataclass

from nmbrl.convert.calibration import Samples
from nmbrl.targets.interface import Executor, Interface


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of a quantity."""

    low: float
    high: float

    def union(self, other: "Range") -> "Range":
        """Return the range that covers both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def quantity(interface: Interface, function: str, name: str, output: bool) -> str:
    """Return the quantity that an input or output stands for.

    A state segment is one quantity on both sides of every function; an aliased output is what it aliases, so an
    observation shares the segment that holds it. The action is one quantity where it is a box; the logits of discrete
    actions are not the one-hot action that functions take. All other outputs are quantities of one function.
    """
    if name == "a" and output and interface.task.action_kind == "discrete":
        return "logits"
    equal = {frozenset(pair) for passed in interface.aliases.values() for pair in passed.items()}
    same = {name}
    while grown := {other for pair in equal if pair & same for other in pair} - same:
        same |= grown
    return min(same, key=lambda member: (member in ("a", "o"), member))


def shared_ranges(reference: Executor, samples: Samples) -> dict[str, Range]:
    """Return the range of every quantity over the inputs and the PyTorch outputs of all functions."""
    interface = reference.interface
    ranges: dict[str, Range] = {}
    for function, inputs in samples.inputs.items():
        outputs = reference.call(function, inputs)
        for output, arrays in ((False, inputs), (True, outputs)):
            for name, array in arrays.items():
                key = quantity(interface, function, name, output)
                seen = Range(float(array.min()), float(array.max()))
                ranges[key] = ranges[key].union(seen) if key in ranges else seen
    return ranges
