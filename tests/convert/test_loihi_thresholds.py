"""Thresholds that are chosen from calibration data, on a small model with random weights."""

import numpy as np
import pytest

from nmbrl.convert.loihi import choose_thresholds, convert
from nmbrl.convert.loihi.sensitivity import measure_sensitivities
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.train.deployed import TorchExecutor


def executor(run, lowered, networks):
    return LoihiExecutor(run.model.interface, dict(run.model.macs), lowered.functions, networks)


def test_the_float_model_has_no_error_and_rounding_has_a_small_one(small_run, lowered, rehearsal):
    for group in rehearsal.GROUPS:
        assert rehearsal.error(group, TorchExecutor(small_run.model)) == 0
        assert 0 < rehearsal.error(group, executor(small_run, lowered, lowered.emit())) < 0.1


def test_sensitivities_before_a_linear_layer_are_its_weights(small_run, lowered, rehearsal):
    found = measure_sensitivities(lowered.graphs, rehearsal)
    (hidden,) = (node.name for node in lowered.graphs["value"].nodes if node.kind == "relu")
    weights, output = small_run.model.critic[-1].weight.detach().numpy()[0], lowered.graphs["value"].outputs["v"]
    # Values are in standard deviations. Random directions leave an error, but the same one for all.
    ratio = found["value", hidden] / np.abs(weights)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert found["value", output][0] == pytest.approx(ratio[0], rel=1e-3)


def test_sensitivities_are_derivatives_of_the_whole_run(small_run, lowered, rehearsal, monkeypatch):
    """An offset of one of the observed state's neurons lasts: through the recurrence, decision by decision."""
    found = measure_sensitivities(lowered.graphs, rehearsal)
    reference = TorchExecutor(small_run.model)
    output, call, step = lowered.graphs["observe"].outputs["h"], reference.call, 1e-3
    for neuron in (0, 7):

        def moved(function, inputs, neuron=neuron):
            outputs = call(function, inputs)
            if function == "observe":
                outputs = {**outputs, "h": outputs["h"] + step * np.eye(12, dtype=np.float32)[neuron]}
            return outputs

        monkeypatch.setattr(reference, "call", moved)
        slope = rehearsal.error("control", reference) / step
        assert found["observe", output][neuron] == pytest.approx(slope, rel=0.5)


def test_a_larger_budget_sends_less_and_is_kept(small_run, lowered, rehearsal):
    exact = 1 - rehearsal.sent(executor(small_run, lowered, lowered.emit()))
    unsent = [exact]
    for budget in (0.02, 0.1):
        choice = choose_thresholds(small_run.model, small_run.calibration, lowered, error_budget=budget)
        chosen = executor(small_run, lowered, choice.networks)
        for group, error in choice.errors.items():
            assert error == pytest.approx(rehearsal.error(group, executor(small_run, lowered, choice.networks)))
            assert error <= budget or not any(
                part.thresholds.any()
                for function in rehearsal.GROUPS[group]
                if function in choice.networks
                for part in choice.networks[function].populations
            )
        assert choice.sent == rehearsal.sent(chosen)
        unsent.append(1 - choice.sent)
    assert exact < unsent[1] < unsent[2]
    thresholds = [part.thresholds for network in choice.networks.values() for part in network.populations]
    assert any(len(set(vector.tolist())) > 1 for vector in thresholds)


def test_a_bundle_leaves_as_many_messages_unsent_as_asked(small_run, tmp_path):
    bundle = convert(small_run, tmp_path / "bundle", sparsity=0.4)
    assert bundle.measured["thresholds"]["not_sent"] >= 0.4
    assert bundle.provenance.options["sparsity"] == 0.4
    loaded = load(tmp_path / "bundle")
    assert any(part.thresholds.any() for part in loaded.networks["act"].populations)


def test_what_cannot_be_is_one_line(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr("nmbrl.convert.loihi.thresholds.BUDGETS", (1e-9,))
    with pytest.raises(NmbrlError, match="out of reach"):
        convert(small_run, tmp_path / "a", sparsity=0.985)
    with pytest.raises(NmbrlError, match=r"sparsity is 1\.5"):
        convert(small_run, tmp_path / "a", sparsity=1.5)
    with pytest.raises(NmbrlError, match="give one of"):
        convert(small_run, tmp_path / "a", sparsity=0.5, error_budget=0.1)
