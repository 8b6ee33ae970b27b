"""Samples for calibration: what the PyTorch model sees when it is run by hand."""

import numpy as np
import pytest
import torch

from nmbrl.convert.calibration import HORIZON, STARTS, compute_samples
from nmbrl.targets import NmbrlError


@pytest.fixture(scope="module")
def samples(small_run):
    return compute_samples(small_run.model, small_run.calibration, seed=3)


def test_observed_states_are_those_of_the_model(small_run, samples):
    model, data = small_run.model, small_run.calibration
    mean, std = (
        np.float32(values) for values in (model.interface.normalisation.mean, model.interface.normalisation.std)
    )
    x, h, a = torch.zeros(2, 3), torch.zeros(2, 12), torch.zeros(2, 2)
    observe, imagine = samples.inputs["observe"], samples.inputs["imagine"]
    for t in range(data["o"].shape[1]):
        o = torch.from_numpy(((data["o"][:, t] - mean) / std).astype(np.float32))
        for name, tensor in (("x", x), ("h", h), ("a", a), ("o", o)):
            np.testing.assert_allclose(observe[name].reshape(2, 41, -1)[:, t], tensor.numpy(), atol=1e-6)
        with torch.inference_mode():
            x, h = o, model.observe(x, h, a, o)[0]
        if t < 40:
            a = torch.from_numpy(data["a"][:, t])
            for name, tensor in (("x", x), ("h", h), ("a", a)):
                actual = imagine[name][: samples.observed].reshape(2, 40, -1)[:, t]
                np.testing.assert_allclose(actual, tensor.numpy(), atol=1e-6)


def test_imagined_states_follow_from_each_other(small_run, samples):
    inputs = {name: values[samples.observed :] for name, values in samples.inputs["imagine"].items()}
    count = 3 * STARTS
    assert len(inputs["x"]) == HORIZON * count
    with torch.inference_mode():
        x, h, *_ = small_run.model.imagine(*(torch.from_numpy(inputs[name][:count]) for name in ("x", "h", "a")))
    np.testing.assert_allclose(inputs["x"][count : 2 * count], x.numpy(), atol=1e-6)
    np.testing.assert_allclose(inputs["h"][count : 2 * count], h.numpy(), atol=1e-6)
    assert np.abs(inputs["a"]).max() <= 1
    if small_run.model.discrete:
        np.testing.assert_array_equal(inputs["a"].sum(axis=1), 1)


def test_every_function_has_samples_of_its_sizes(small_run, samples):
    interface = small_run.model.interface
    for function in interface.functions:
        sizes = {name: values.shape[1] for name, values in samples.inputs[function].items()}
        assert sizes == interface.input_sizes(function)


def test_the_seed_decides(small_run, samples):
    again, other = (compute_samples(small_run.model, small_run.calibration, seed) for seed in (3, 4))
    for name, values in samples.inputs["imagine"].items():
        np.testing.assert_array_equal(values, again.inputs["imagine"][name])
        assert (values != other.inputs["imagine"][name]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: {"o": data["o"]}, "no array 'a'"),
        (lambda data: {**data, "o": data["o"][:, :-1]}, "does not fit"),
        (lambda data: {**data, "a": data["a"][..., :1]}, "does not fit"),
        (lambda data: {name: values[:0] for name, values in data.items()}, "does not fit"),
        (lambda data: {**data, "o": np.where(data["o"] == data["o"][1, 2, 0], np.nan, data["o"])}, "not finite"),
    ],
    ids=["missing", "shorter", "narrower", "empty", "nan"],
)
def test_unfit_trajectories_are_one_error(small_run, change, message):
    with pytest.raises(NmbrlError, match=message):
        compute_samples(small_run.model, change(small_run.calibration))
