"""Quantities: what shares one scale."""

import numpy as np

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.quantities import quantity, shared_ranges
from nmbrl.train.deployed import TorchExecutor


def test_a_state_an_observation_and_what_aliases_them_are_one(small_run):
    interface = small_run.model.interface
    assert {quantity(interface, "observe", name, False) for name in ("x", "o")} == {"x"}
    assert quantity(interface, "imagine", "x", True) == "x"
    assert quantity(interface, "observe", "h", True) == quantity(interface, "value", "h", False) == "h"
    assert quantity(interface, "imagine", "r", True) == "r"


def test_logits_are_no_action(small_run):
    interface = small_run.model.interface
    expected = "logits" if small_run.model.discrete else "a"
    assert quantity(interface, "act", "a", True) == expected
    assert quantity(interface, "observe", "a", False) == "a"


def test_ranges_cover_every_place(small_run):
    reference = TorchExecutor(small_run.model)
    samples = compute_samples(small_run.model, small_run.calibration)
    ranges = shared_ranges(reference, samples)
    for function, inputs in samples.inputs.items():
        for output, named in ((False, inputs), (True, reference.call(function, inputs))):
            for name, values in named.items():
                seen = ranges[quantity(reference.interface, function, name, output)]
                assert seen.low <= values.min() and values.max() <= seen.high
    observations = np.concatenate([samples.inputs["imagine"]["x"], samples.inputs["observe"]["o"]])
    assert ranges["x"].low <= observations.min()
