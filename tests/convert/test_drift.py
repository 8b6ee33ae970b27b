"""The drift: known departures from the float model are measured as what they are."""

import numpy as np
import pytest

from nmbrl.convert.drift import DriftMeter
from nmbrl.targets import NmbrlError
from nmbrl.train.deployed import TorchExecutor


class Shifted(TorchExecutor):
    """The float model with constants added to what imagining, acting and valuing give."""

    def call(self, function, inputs):
        outputs = dict(super().call(function, inputs))
        shifts = {"imagine": {"x": 0.25, "r": -2.0}, "act": {"a": 0.5}, "value": {"v": 3.0}}
        for name, shift in shifts.get(function, {}).items():
            outputs[name] = outputs[name] + np.float32(shift)
        return outputs


def test_the_float_model_does_not_depart_from_itself(small_run):
    reference = TorchExecutor(small_run.model)
    drift = DriftMeter(reference, small_run.calibration).measure(TorchExecutor(small_run.model))
    assert set(drift.at().values()) == {0.0}


def test_a_known_departure(small_run):
    drift = DriftMeter(TorchExecutor(small_run.model), small_run.calibration).measure(Shifted(small_run.model))
    # Half of the 40 recorded decisions; the normalisation restores what is in standard deviations.
    assert drift.observation.shape == drift.reward.shape == (20,)
    assert drift.observation[0] == pytest.approx(0.25, rel=1e-3)
    assert drift.observation[1] == pytest.approx(0.5, rel=0.2), "residual predictions add up"
    assert drift.reward[0] == pytest.approx(2.0, rel=1e-3)
    assert drift.action == pytest.approx(0.5, rel=1e-4) and drift.value == pytest.approx(3.0, rel=1e-4)
    assert drift.at().keys() == {
        *(f"{name}_{ahead}" for name in ("observation", "reward") for ahead in (1, 5, 15)),
        "action",
        "value",
    }


def test_rollouts_begin_at_the_executors_own_beliefs(small_run):
    class Forgetful(TorchExecutor):
        def call(self, function, inputs):
            outputs = dict(super().call(function, inputs))
            return {name: 0 * values for name, values in outputs.items()} if function == "observe" else outputs

    drift = DriftMeter(TorchExecutor(small_run.model), small_run.calibration).measure(Forgetful(small_run.model))
    assert drift.action == drift.value == 0, "those are judged at the float model's beliefs"
    assert drift.reward[0] > 1e-3 and drift.observation[4] > 1e-3


def test_trajectories_that_do_not_fit_are_an_error(small_run):
    with pytest.raises(NmbrlError, match="does not fit the model"):
        DriftMeter(TorchExecutor(small_run.model), {**small_run.calibration, "o": np.zeros((2, 41, 7), np.float32)})
