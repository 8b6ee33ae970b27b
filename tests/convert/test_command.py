"""nmbrl-convert: what it writes and prints, and one line for everything that is wrong."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.convert import tflite
from nmbrl.convert.command import drift_lines, main
from nmbrl.targets import load
from nmbrl.targets.bundle import read_bundle
from nmbrl.train.run import CALIBRATION, MODEL, open_run


def run_command(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_converts_a_run_on_disk(run_path, tmp_path):
    result = run_command(run_path, "--target", "tflite", "--out", tmp_path / "b")
    assert result.exit_code == 0, result.output
    bundle = read_bundle(tmp_path / "b")
    assert bundle.target == "tflite" and bundle.provenance.run == open_run(run_path).id
    for function in bundle.functions:
        assert f"tflite: {function}: lower" in result.output
        assert f"{bundle.measured['arena_bytes'][function]:,}" in result.output
    assert "from float, open loop: observations" in result.output
    assert "LiteRT" not in result.output and "Warning" not in result.output
    executor, reference = load(tmp_path / "b"), load(run_path)
    observation = open_run(run_path).calibration["o"][:, 3]
    states = [ex.observe(ex.reset(2), np.zeros((2, 2), np.float32), observation) for ex in (executor, reference)]
    np.testing.assert_allclose(*states, atol=0.05)
    tflite.convert(open_run(run_path), tmp_path / "again")
    first, again = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("b", "again"))
    assert first == again, "the same run converts to the same bytes"
    assert first.keys() == {"bundle.json", *(f"{name}.tflite" for name in bundle.functions)}


def test_the_bundle_goes_beside_the_run_by_default(run_path, tmp_path):
    shutil.copytree(run_path, tmp_path / "pole")
    result = run_command(tmp_path / "pole", "--target", "onnx")
    assert result.exit_code == 0, result.output
    assert read_bundle(tmp_path / "pole-onnx").target == "onnx"


def check_refused(result, message):
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ") and message in lines[-1]
    assert len(lines) == 1 and "Traceback" not in result.output


def test_an_unknown_target(run_path):
    check_refused(run_command(run_path, "--target", "abacus"), "no target 'abacus'; choose from onnx, tflite")


def test_an_option_of_another_target(run_path):
    result = run_command(run_path, "--target", "onnx", "--method", "lif")
    check_refused(result, "--method is no option of target onnx")


def test_an_option_is_set_in_one_way(run_path):
    result = run_command(run_path, "--target", "tflite", "--set", "finetune=many")
    check_refused(result, "--set finetune: give --finetune")


def test_options_of_tflite(run_path):
    check_refused(run_command(run_path, "--target", "tflite", "--int16", "some"), "choose from state, all")
    check_refused(run_command(run_path, "--target", "tflite", "--finetune", "-1"), "--finetune is -1")
    check_refused(
        run_command(run_path, "--target", "onnx", "--sensitivity"), "--sensitivity is no option of target onnx"
    )


def test_says_what_fine_tuning_changed():
    # As bundle.json has them: sorted by name, not by number.
    drift = {"observation_15": 0.5, "observation_1": 0.01, "reward_1": 9.0, "action": 0.05, "value": 2.0}
    tuning = {"before": drift, "after": drift | {"observation_15": 0.25}, "improvement": 1.149, "kept": True}
    tuning["episodes"] = {"learning": 6, "judging": 2}
    first, second = drift_lines({"drift": drift, "finetuning": tuning})
    assert first == (
        "from float, open loop: observations 0.01 after 1, 0.5 after 15 decisions (standard deviations), "
        "action 0.05, value 2"
    )
    assert second.startswith("fine-tuning on 6 episodes, judged on 2: observations 0.01 after 1, 0.5 after 15")
    assert second.endswith("errors fell by a factor of 1.15, kept")
    assert list(drift_lines({"macs": {}})) == []


def test_a_missing_run(tmp_path):
    check_refused(run_command(tmp_path / "none", "--target", "onnx"), "does not exist")
    check_refused(run_command(tmp_path, "--target", "onnx"), "is no run")


@pytest.mark.parametrize("name", [MODEL, CALIBRATION])
def test_a_damaged_run(run_path, tmp_path, name):
    shutil.copytree(run_path, tmp_path / "r")
    content = bytearray((tmp_path / "r" / name).read_bytes())
    (tmp_path / "r" / name).write_bytes(content[: len(content) // 2])
    result = run_command(tmp_path / "r", "--target", "tflite", "--out", tmp_path / "b")
    check_refused(result, name)
    assert not (tmp_path / "b").exists()


def test_a_directory_in_the_way(run_path, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    result = run_command(run_path, "--target", "tflite", "--out", tmp_path / "mine")
    check_refused(result, "exists and is not a bundle")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
