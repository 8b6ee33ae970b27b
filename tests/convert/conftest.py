"""Bundles of the small run, converted once, and a small run on disk."""

import numpy as np
import pytest
import torch

from nmbrl.convert import onnx
from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import Lowered, lower_model
from nmbrl.convert.loihi.rehearsal import Rehearsal
from nmbrl.convert.tflite_lower import lower
from nmbrl.targets.interface import Normalisation, Task
from nmbrl.train.config import LearnerConfig, TrainingConfig
from nmbrl.train.models.architectures import build_model
from nmbrl.train.run import RunDirectory, pack_model


@pytest.fixture(scope="session")
def tflite_bundle(small_c):
    return small_c[1]


@pytest.fixture(scope="session")
def floats(discrete_run):
    """Float .tflite models of the discrete run by function."""
    return {function: lower(discrete_run.model, function) for function in discrete_run.model.interface.functions}


@pytest.fixture(scope="session")
def onnx_bundle(discrete_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "bundle"
    onnx.convert(discrete_run, path)
    return path


@pytest.fixture(scope="session")
def run_path(tmp_path_factory):
    """A run on disk whose model has random weights."""
    path = tmp_path_factory.mktemp("runs") / "pole"
    config = TrainingConfig(env="CartPole-v1", terminates=True, learner=LearnerConfig(hidden_size=8, width=8))
    task = Task(env="CartPole-v1", action_repeat=1, observation_size=4, action_kind="discrete", action_size=2)
    torch.manual_seed(0)
    model = build_model(config.learner, task, True).eval()
    normalisation = Normalisation(mean=(0.0, 0.1, 0.2, 0.3), std=(1.0, 2.0, 0.5, 1.0))
    model.interface = model.interface.model_copy(update={"normalisation": normalisation})
    random = np.random.default_rng(0)
    directory = RunDirectory(path)
    directory.write_config(config)
    directory.write_model(pack_model(model))
    directory.write_calibration(
        {
            "o": np.cumsum(random.normal(0, 0.3, (2, 31, 4)), axis=1).astype(np.float32),
            "a": np.eye(2, dtype=np.float32)[random.integers(2, size=(2, 30))],
            "r": np.ones((2, 30), np.float32),
            "c": np.ones((2, 30), np.float32),
        }
    )
    return path


@pytest.fixture(scope="module")
def lowered(small_run) -> Lowered:
    return lower_model(small_run.model, compute_samples(small_run.model, small_run.calibration).inputs)


@pytest.fixture(scope="module")
def rehearsal(small_run) -> Rehearsal:
    return Rehearsal(small_run.model, small_run.calibration)
