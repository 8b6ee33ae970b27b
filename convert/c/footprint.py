"""What a generated model takes on a device: constants, buffers, and the work of one decision, known before it runs."""

from collections.abc import Iterable
from typing import Any

from nmbrl.convert.c.boundary import MAX_BATCH, Sources
from nmbrl.convert.c.device import device_sizes
from nmbrl.convert.c.steps import Add, Dense, Map, Multiply, Softmax, Step
from nmbrl.targets.c import CExecutor
from nmbrl.targets.c_planner import model_calls

# The usual search: 32 fresh samples an iteration, beside which 8 elites are kept.
SEARCH: dict[str, Any] = {"samples": 32, "horizon": 6, "iterations": 3, "elites": 8, "policy_samples": 3,
          "temperature": 0.5, "std_start": 0.5, "std_floor": 0.05, "correlation": 0.5, "margin": 0.0}  # fmt: skip


def footprint(sources: Sources, executor: CExecutor) -> dict[str, dict[str, Any]]:
    """Return amounts by name, each with its unit.

    Code, variables and stack depend on core and compiler: they are those of `nmbrl.convert.c.device`.
    """
    constants = sources.printer.constants.bytes
    amounts = {f"flash, {purpose}": (size, "bytes") for purpose, size in constants.items()}
    amounts["RAM, scratch"] = sources.printer.scratch * MAX_BATCH, "bytes"
    planner = executor.open_planner("cem", SEARCH)
    amounts["RAM, planner (32 samples, horizon 6, 8 elites)"] = planner.size, "bytes"
    for core, size in device_sizes(executor.sources).items():
        amounts[f"flash, code ({core})"] = size.code, "bytes"
        amounts[f"RAM, scratch and work areas of kernels ({core})"] = size.variables, "bytes"
        amounts[f"RAM, stack of a call at most ({core})"] = size.stack, "bytes"
    macs = {name: lowered.macs for name, lowered in sources.lowered.items()}
    work = {name: operations(lowered.steps) for name, lowered in sources.lowered.items()}
    amounts["MACs of a decision (CEM, 3 iterations), at most"] = decision(macs), "MACs"
    amounts["integer operations of a decision, at most"] = decision(work), "operations"
    return {name: {"value": value, "unit": unit} for name, (value, unit) in amounts.items()}


def decision(cost: dict[str, int]) -> int:
    """Return the cost of observing and deciding with the search `SEARCH`, given that of a call of each function."""
    calls = {"observe": 1, **model_calls("cem", SEARCH)}
    return sum(count * cost.get(function, 0) for function, count in calls.items())


# Operations of an element: multiply and add of a MAC; to rescale: bias, product, two roundings and shifts, zero point,
# two limits; a look-up, a load or a store counts as one.
RESCALE, LOOK_UP = 9, 1


def operations(steps: Iterable[Step]) -> int:
    """Return a bound on the integer operations of one row: no kernel's work depends on the data."""
    return sum(_operations(step) for step in steps)


def _operations(step: Step) -> int:
    mapped = LOOK_UP if step.table is not None else 0
    size = step.output.size
    match step:
        case Dense():
            return 2 * step.macs + step.input.size + size * (RESCALE + mapped + 1)
        case Add():
            return size * (2 + 2 * LOOK_UP + 1 + RESCALE + mapped + 1)
        case Multiply():
            return size * (2 + 3 + RESCALE + mapped + 1)
        case Map():
            return size * (2 + mapped)
        case Softmax():
            # Largest, sum, quotient; and 60 for the reciprocal.
            return size * (2 + 5 + RESCALE) + 60
    raise TypeError(step)
