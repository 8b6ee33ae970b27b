"""The report's command on bundles of exact models, whose returns and errors can be computed by hand."""

import json
import re

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.runtime.environment import Environment
from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.gather import Settings, gather
from nmbrl.runtime.run_command import main as run_main

from ..plants import POINT_MASS, A, B, Q, R, riccati
from .conftest import BONUS


def make_report(paths, settings):
    return gather([str(path) for path in paths], settings).report


def returns_by_hand(skill, seeds):
    """Returns of the policy on the native starts, from the plant's equations alone."""
    gain = skill * riccati()[0][0]
    returns = []
    for seed in seeds:
        state, total = gymnasium.make(POINT_MASS).reset(seed=seed)[0], 0.0
        for _ in range(40):
            action = np.clip(-gain @ state, -1, 1)
            total += BONUS - state @ Q @ state - R[0, 0] * action**2
            state = A @ state + B[:, 0] * action
        returns.append(total)
    return np.array(returns)


def decisions_of_varied(seed):
    """Decisions that are left of the 40 after the random prefix."""
    environment = Environment(POINT_MASS)
    environment.reset(seed, varied=True)
    return 40 - environment.frames


def numbers(document):
    """Every number of a document that stands for a measurement, with what it belongs to."""
    if isinstance(document, dict):
        if "value" in document or "values" in document:
            yield document
        for content in document.values():
            yield from numbers(content)
    elif isinstance(document, list):
        for content in document:
            yield from numbers(content)


def test_returns_kept_and_costs_by_hand(bundle, invoke, tmp_path):
    arena = {"arena_bytes": {"observe": 3000, "act": 2000}}
    paths = [bundle("int8", "tflite", arena, skill=0.5), bundle("float", "onnx")]
    done = invoke(*paths, "--episodes", 3, "--seed", 5, "--json", tmp_path / "report.json")
    assert done.exit_code == 0, done.output
    report = Report.model_validate_json((tmp_path / "report.json").read_text())
    int8, exact = report.rows
    assert (report.reference, int8.name, exact.name) == ("float", "int8", "float")
    seeds = [5, 1005, 2005]
    np.testing.assert_allclose(int8.returns.values, returns_by_hand(0.5, seeds), rtol=1e-6)
    kept = 100 * returns_by_hand(0.5, seeds).mean() / returns_by_hand(1.0, seeds).mean()
    assert int8.quantities["kept"].value == pytest.approx(kept, rel=1e-6)
    assert exact.quantities["kept"].value == 100
    assert exact.quantities["kept"].low == exact.quantities["kept"].high == 100
    assert exact.quantities["action_error_max"].value == 0
    assert int8.quantities["action_error"].value > 0.01
    # A decision calls act once, of 2 multiply-accumulates; observing costs this model nothing.
    assert int8.quantities["macs"].value == 2
    assert int8.energy[0].value == pytest.approx(2 * 416.3e-6 / 264_192)
    assert int8.quantities["ram"].value == 5000
    assert int8.quantities["bundle"].value == len(b"exact")
    # The model does not know of the bonus; nothing else is wrong with it.
    assert int8.prediction.reward[0] == pytest.approx(BONUS, rel=1e-5)
    assert max(int8.prediction.observation) < 1e-4 and max(int8.prediction.one_step) < 1e-4
    assert int8.provenance["run"] == "0123456789abcdef"


def test_traces_are_the_plant_and_its_exact_model(bundle):
    report = make_report([bundle("float", "onnx"), bundle("half", "tflite", skill=0.5)], Settings(episodes=3))
    real = np.array(report.traced.observations)
    prediction = report.rows[1].prediction
    # The model is exact, so both kinds of prediction are what happened next.
    np.testing.assert_allclose(prediction.followed, real[1:], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(prediction.imagined, real[report.traced.anchor + 1 :], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(prediction.imagined_rewards, np.array(report.traced.rewards)[10:] - BONUS, atol=2e-3)
    assert prediction.departs_after is None and max(prediction.departure) == 0
    # What is shown as typical and worst is so: returns of both rows together.
    totals = np.array([(*row.returns.values, *row.returns_varied.values) for row in report.rows]).mean(axis=0)
    shown = {name: getattr(report.rows[1].behaviour, name).returned for name in ("typical", "worst")}
    series = (*report.rows[1].returns.values, *report.rows[1].returns_varied.values)
    assert shown["worst"] == pytest.approx(series[int(totals.argmin())])
    assert shown["typical"] == pytest.approx(series[int(totals.argsort()[3])])
    for shares in report.rows[1].behaviour.visits:
        assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_equal_rows_are_found_equal_bit_for_bit(bundle):
    paths = [bundle("float", "onnx"), bundle("half", "tflite", skill=0.5), bundle("same", "c", skill=0.5)]
    report = make_report(paths, Settings(episodes=2))
    by_pair = {comparison.rows: comparison for comparison in report.comparisons}
    assert len(by_pair) == 3
    same, other = by_pair["half", "same"], by_pair["float", "half"]
    lengths = [40, 40, *(decisions_of_varied(seed) for seed in (0, 1000))]
    assert (same.decisions, same.decisions_differing, same.numbers_differing) == (sum(lengths), 0, 0)
    # Here and there both push as hard as they can.
    assert other.decisions_differing > 0.9 * sum(lengths)
    # Two numbers of state, an action and a value a decision; and what was imagined: 3 numbers for each of the decisions
    # that are left from every fifth one.
    imagined = sum(length - start for length in lengths for start in range(0, length, 5))
    assert other.numbers == same.numbers == 4 * sum(lengths) + 3 * imagined
    # The policy's error is in proportion to the state, which hardly changes from one decision to the next.
    lags = report.rows[1].fidelity.autocorrelation
    assert lags[0] == 1 and lags[1] > 0.3
    assert report.rows[0].fidelity.autocorrelation == ()
    assert sum(report.rows[1].fidelity.action_errors) == pytest.approx(1, abs=1e-3)


def test_the_cheapest_of_those_that_return_as_much_is_named(bundle):
    paths = [bundle("float", "onnx"), bundle("chip", "loihi", spikes=1), bundle("poor", "loihi", skill=-1.0)]
    report = make_report(paths, Settings(episodes=2))
    energy = next(best for best in report.best if best.what == "energy")
    # The third counts no spikes, so that it is free as far as is known, but it fails.
    assert energy.row == "chip" and "of the 2 rows within 1 %" in energy.because
    assert "chip" in energy.front


def test_spikes_are_priced_a_decision(bundle):
    recorded = {"bytes": {"act": 300, "value": 50}, "neurons": {"act": 9}}
    report = make_report([bundle("chip", "loihi", recorded, spikes=100)], Settings(episodes=2))
    davies, fitted, _ = report.rows[0].energy
    assert report.rows[0].quantities["messages"].value == 100
    assert davies.value == pytest.approx(100 * (23.6 + 81 + 1.7 + 3.0 + 4.0) * 1e-12)
    assert "Davies" in davies.reference and "SANA-FE" in fitted.reference


def test_without_float_nothing_is_kept(bundle):
    report = make_report([bundle("chip", "loihi", spikes=1), bundle("int8", "tflite")], Settings(episodes=2))
    assert report.reference is None
    for row in report.rows:
        assert not {"kept", "kept_varied", "action_error"} & set(row.quantities)
        assert row.prediction.observation and not row.prediction.departure


def test_no_share_of_a_negative_return(bundle):
    paths = [bundle("float", "onnx", task_env=POINT_MASS), bundle("int8", "tflite", task_env=POINT_MASS)]
    report = make_report(paths, Settings(episodes=2))
    assert all("kept" not in row.quantities for row in report.rows)
    assert all("action_error" in row.quantities for row in report.rows)


def test_every_number_has_a_unit_and_a_source(bundle, invoke, tmp_path):
    paths = [bundle("float", "onnx"), bundle("int8", "tflite"), bundle("chip", "loihi", spikes=3)]
    assert invoke(*paths, "--episodes", 2, "--json", tmp_path / "report.json").exit_code == 0
    found = list(numbers(json.loads((tmp_path / "report.json").read_text())))
    assert len(found) > 30
    for number in found:
        assert number["source"] in ("measured", "counted", "modelled") and isinstance(number["unit"], str)
        # What others measured is cited, and nothing else is.
        assert bool(re.fullmatch(r".{20,}", number.get("reference", ""))) == (number["source"] == "modelled")
        assert number["unit"] != "J" or number["source"] == "modelled"


def test_one_damaged_bundle_does_not_cost_the_others(bundle, invoke, tmp_path):
    good, damaged = bundle("float", "onnx"), bundle("int8", "tflite")
    (damaged / "model.bin").write_bytes(b"exacT")
    out = tmp_path / "report.html"
    done = invoke(good, damaged, bundle("chip", "loihi", broken=True), "--episodes", 2, "--out", out)
    assert done.exit_code == 2
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: ") and "model.bin is damaged" in error
    assert "RuntimeError: the arena is too small" in error and "and more" not in error
    assert "model.bin is damaged" in out.read_text()
    assert "float" in done.stdout


def test_the_reference_that_fails_leaves_the_others_without_one(bundle):
    report = make_report([bundle("float", "onnx", broken=True), bundle("int8", "tflite")], Settings(episodes=2))
    assert [row.name for row in report.rows] == ["int8"]
    assert report.reference is None


def test_an_interrupted_report_is_made_of_what_there_is(bundle, invoke, tmp_path):
    paths = [bundle("float", "onnx"), bundle("slow", "tflite", interrupts=True), bundle("late", "tflite")]
    files = {name: tmp_path / f"report.{name}" for name in ("html", "json", "md")}
    written = ("--out", files["html"], "--json", files["json"], "--markdown", files["md"])
    done = invoke(*paths, "--episodes", 2, *written)
    assert done.exit_code == 130
    said = "interrupted: slow, late not evaluated"
    assert said in done.stderr.strip().splitlines()[-1]
    report = Report.model_validate_json(files["json"].read_text())
    assert [row.name for row in report.rows] == ["float"] and report.failures == (said,)
    assert said in files["html"].read_text() and said in files["md"].read_text()


def test_what_is_kept_is_not_evaluated_again(bundle, invoke, tmp_path):
    path, keep = bundle("float", "onnx"), tmp_path / "keep"
    first = invoke(path, "--episodes", 2, "--keep", keep, "--json", tmp_path / "1.json")
    again = invoke(path, "--episodes", 2, "--keep", keep, "--json", tmp_path / "2.json")
    assert first.exit_code == again.exit_code == 0
    assert "native and" in first.stderr and "kept in" in again.stderr
    # The very same numbers, times that were measured among them.
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()
    other = invoke(path, "--episodes", 2, "--seed", 1, "--keep", keep)
    bundle("float", "onnx", skill=0.5)
    changed = invoke(path, "--episodes", 2, "--keep", keep)
    assert "kept in" not in other.stderr and "kept in" not in changed.stderr


def test_a_record_is_a_row_like_the_bundle_that_it_is_of(bundle, invoke, tmp_path):
    path, record = bundle("half", "tflite", skill=0.5), tmp_path / "board.json"
    written = ("--episodes", "2", "--json", str(record))
    assert CliRunner().invoke(run_main, [str(path), *written]).exit_code == 0
    report = tmp_path / "report.json"
    done = invoke(f"my board={record}", path, "--episodes", 2, "--json", report)
    assert done.exit_code == 0, done.output
    board, half = Report.model_validate_json(report.read_text()).rows
    assert (board.name, half.name) == ("my board", "half")
    assert board.returns == half.returns and board.behaviour == half.behaviour
    assert board.prediction is None and half.prediction is not None
    comparison = Report.model_validate_json(report.read_text()).comparisons[0]
    assert (comparison.decisions_differing, comparison.numbers) == (0, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 3}, "it is of other episodes: it has seed 3, the report 0"),
        ({"perturbation": {"delay": 1.0}}, "a changed plant (delay), the report none"),
        ({"returns": [1.0, 2.0]}, "played again, its episode 0 returns"),
        ({"returns": [1.0]}, "tells of 2 episodes and holds 1"),
        ({"actions": None}, "is no record of nmbrl-run or nmbrl-hil --json, or an old one: actions"),
        ({"env": POINT_MASS}, "a report compares models of one environment"),
    ],
)
def test_a_record_of_something_else_is_one_line(bundle, invoke, tmp_path, change, said):
    path, record = bundle("float", "onnx"), tmp_path / "board.json"
    assert CliRunner().invoke(run_main, [str(path), "--episodes", "2", "--json", str(record)]).exit_code == 0
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    done = invoke(path, record, "--episodes", 2)
    assert done.exit_code == 2
    assert said in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"task_env": POINT_MASS}, "a report compares models of one environment"),
        ({"broken": True}, "the arena is too small"),
    ],
)
def test_nothing_to_report_is_one_line(bundle, invoke, tmp_path, other, said):
    first = bundle("first", "onnx", broken=True)
    done = invoke(first, bundle("other", "tflite", **other), "--episodes", 1, "--json", tmp_path / "report.json")
    assert done.exit_code == 2
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.json").exists()


def test_wrong_use_is_one_line(bundle, invoke, tmp_path):
    assert invoke().exit_code == 2
    missing = invoke(tmp_path / "nowhere")
    assert (missing.exit_code, "does not exist" in missing.stderr) == (2, True)
    path = bundle("float", "onnx")
    twice = invoke(path, path)
    assert (twice.exit_code, "is given twice" in twice.stderr) == (2, True)


def test_the_same_command_gives_the_same_numbers(bundle):
    paths = [bundle("float", "onnx"), bundle("int8", "tflite", skill=0.9)]

    def untimed():
        document = make_report(paths, Settings(episodes=2)).model_dump(mode="json")
        for row in document["rows"]:
            row["quantities"] = {name: q for name, q in row["quantities"].items() if not name.startswith("host")}
            del row["latency"]
        del document["best"]
        return document

    assert untimed() == untimed()
