"""How far a target's functions are from the PyTorch model's, function by function, on the same inputs."""

import numpy as np

from nmbrl.convert.calibration import Samples
from nmbrl.targets.interface import Executor

Errors = dict[str, dict[str, dict[str, float]]]


def measure_errors(executor: Executor, reference: Executor, samples: Samples) -> Errors:
    """Compare every output of every function on all samples.

    Returns:
        ``{function: {output: {"worst", "mean", "range"}}}``: largest and mean absolute difference, and the largest
        absolute value of the reference's output; rounded to six significant digits.
    """
    errors: Errors = {}
    for function, inputs in samples.inputs.items():
        actual, expected = executor.call(function, inputs), reference.call(function, inputs)
        errors[function] = {}
        for name in expected:
            difference = np.abs(actual[name].astype(np.float64) - expected[name])
            errors[function][name] = {
                "worst": _rounded(difference.max()),
                "mean": _rounded(difference.mean()),
                "range": _rounded(np.abs(expected[name]).max()),
            }
    return errors


def worst(errors: Errors) -> float:
    """Return the largest error of all, relative to its output's range or to 1 where that is smaller."""
    return max(entry["worst"] / max(entry["range"], 1.0) for outputs in errors.values() for entry in outputs.values())


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
