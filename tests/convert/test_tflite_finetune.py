"""Fine-tuning for rounding: repeatable, in the file's own scales, kept only where it helps."""

from dataclasses import replace

import numpy as np
import pytest

from nmbrl.convert import tflite, tflite_finetune
from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.drift import Drift
from nmbrl.convert.tflite_finetune import fine_tune, improvement, split_episodes, with_weights
from nmbrl.convert.tflite_graph import read_graph
from nmbrl.convert.tflite_simulate import Simulation
from nmbrl.targets import NmbrlError
from nmbrl.targets.bundle import read_bundle


@pytest.fixture(scope="module")
def one_episode(discrete_run):
    """A run with one recorded episode, which then both teaches and judges."""
    return replace(discrete_run, calibration={name: values[:1] for name, values in discrete_run.calibration.items()})


@pytest.fixture(scope="module")
def plain(one_episode, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "bundle"
    tflite.convert(one_episode, path)
    return path


@pytest.fixture(scope="module")
def tuned(one_episode, tmp_path_factory):
    path = tmp_path_factory.mktemp("tuned") / "bundle"
    tflite.convert(one_episode, path, finetune=150, seed=3)
    return path


def contents(path):
    return {function: (path / record.file).read_bytes() for function, record in read_bundle(path).functions.items()}


def test_errors_fall(tuned):
    bundle = read_bundle(tuned)
    assert bundle.provenance.options == {"finetune": 150, "seed": 3}
    tuning = bundle.measured["finetuning"]
    assert tuning["kept"] and tuning["improvement"] > 1.01
    assert tuning["episodes"] == {"learning": 1, "judging": 1}
    assert bundle.measured["drift"] == tuning["after"], "what is kept is what was judged"


def test_scales_stay_and_weights_change(plain, tuned):
    assert read_bundle(tuned).functions == read_bundle(plain).functions
    for function, content in contents(tuned).items():
        before, after = read_graph(contents(plain)[function]), read_graph(content)
        assert after.nodes == before.nodes
        for name in after.steps.keys() - after.constants.keys():
            assert after.steps[name] == before.steps[name]
        changed = [n for n, values in after.constants.items() if not np.array_equal(values, before.constants[n])]
        layers = {name for node in after.nodes if node.operator == "FULLY_CONNECTED" for name in node.inputs[1:]}
        assert changed and set(changed) <= layers
        assert len(content) == len(contents(plain)[function]), "the weights that were replaced are gone"


def tune(run, floats, plain, seed):
    simulation = Simulation(floats, contents(plain))
    fine_tune(run.model, simulation, run.calibration, compute_samples(run.model, run.calibration), 3, seed)
    return with_weights(floats, simulation)


def test_a_seed_decides_everything(one_episode, floats, plain):
    first, again, other = (tune(one_episode, floats, plain, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_weights_that_were_not_tuned_are_written_back_as_they_were(floats, plain):
    for function, content in with_weights(floats, Simulation(floats, contents(plain))).items():
        before, after = read_graph(floats[function]), read_graph(content)
        assert before.nodes == after.nodes and before.constants.keys() == after.constants.keys()
        for name, values in before.constants.items():
            np.testing.assert_array_equal(after.constants[name], values)


def test_what_does_not_help_is_thrown_away(one_episode, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite_finetune, "RATE", 0.5)
    bundle = tflite.convert(one_episode, tmp_path / "b", finetune=3)
    tuning = bundle.measured["finetuning"]
    assert not tuning["kept"] and tuning["improvement"] < 1
    assert tuning["after"]["observation_5"] > tuning["before"]["observation_5"]
    assert bundle.files == read_bundle(plain).files


def test_the_last_quarter_of_the_episodes_judges(discrete_run):
    arrays = {"o": np.arange(8)[:, None, None] * np.ones((8, 5, 3)), "a": np.ones((8, 4, 2))}
    split = split_episodes(arrays)
    assert split.learning["o"][:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert split.judging["o"][:, 0, 0].tolist() == [6, 7]
    one = split_episodes({name: values[:1] for name, values in arrays.items()})
    assert len(one.learning["a"]) == len(one.judging["a"]) == 1


def test_the_improvement_is_a_geometric_mean():
    before = Drift(np.full(15, 0.4), np.ones(15), action=0.1, value=3.0)
    assert improvement(before, before) == pytest.approx(1)
    assert improvement(before, replace(before, action=0.05)) == pytest.approx(2 ** (1 / 5))
    assert improvement(before, replace(before, observation=np.full(15, 0.8))) == pytest.approx(2 ** (-3 / 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"finetune": -1}, "--finetune is -1"), ({"seed": 3}, "--seed is the seed of --finetune")],
)
def test_options_out_of_range(discrete_run, tmp_path, options, message):
    with pytest.raises(NmbrlError, match=message):
        tflite.convert(discrete_run, tmp_path / "b", **options)
