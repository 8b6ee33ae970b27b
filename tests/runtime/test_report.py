"""The report's command on bundles of exact models, whose returns and errors can be computed by hand."""

import html
import json
import re
import sys
from types import ModuleType

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.runtime.report import Settings, make_report
from nmbrl.runtime.report_command import main
from nmbrl.runtime.report_document import Report
from nmbrl.runtime.report_page import render_page
from nmbrl.runtime.report_text import interval, text
from nmbrl.targets.bundle import Function, Provenance, Tensor, write_bundle
from nmbrl.targets.costs import LOIHI_COUNTS
from nmbrl.targets.load import TARGETS, Target

from .plants import POINT_MASS, A, B, PointMass, PointMassModel, Q, R, riccati

REWARDED = "nmbrl_tests/RewardedPointMass-v0"
BONUS = 50.0


class RewardedPointMass(PointMass):
    """The point mass with so much reward a step that returns are positive."""

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + BONUS, *rest


gymnasium.register(REWARDED, RewardedPointMass, order_enforce=False, disable_env_checker=True)


class CountingModel(PointMassModel):
    """Stands for any target, and counts spikes where that target does."""

    EVENTS = LOIHI_COUNTS

    def __init__(self, target, spikes=0, broken=False, **options):
        super().__init__(**options)
        self.target, self._spikes, self._broken = target, spikes, broken

    def call(self, function, inputs):
        if self._broken:
            raise RuntimeError("the arena is too small\nand more")
        if self._spikes:
            self.counts.update({name: self._spikes * len(inputs["x"]) for name in self.EVENTS})
        return super().call(function, inputs)


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Writes a real bundle of a `CountingModel` that reports itself as any target."""
    module = ModuleType("nmbrl_tests_any_target")
    module.open_executor = lambda path, bundle, **options: CountingModel(**bundle.details)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TARGETS, "any", Target(module.__name__, "dev"))
    tensor = Tensor(name="x", size=2, dtype="float32")

    def write(name, target, measured=None, task_env=REWARDED, **details):
        write_bundle(
            tmp_path / name,
            {"model.bin": b"exact"},
            target="any",
            interface=PointMassModel(task_env=task_env).interface,
            functions={"act": Function(file="model.bin", inputs=(tensor,), outputs=(tensor,))},
            provenance=Provenance(run="0123456789abcdef", revision="r1", versions={"onnx": "1.2"}, seed=7),
            measured=measured or {},
            details={"target": target, "task_env": task_env, **details},
        )
        return tmp_path / name

    return write


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


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


def test_returns_kept_and_costs_by_hand(bundle, tmp_path):
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
    assert int8.quantities["bytes"].value == len(b"exact")
    # The model does not know of the bonus; nothing else is wrong with it.
    assert int8.open_loop.reward[0] == pytest.approx(BONUS, rel=1e-5)
    assert max(int8.open_loop.observation) < 1e-4
    assert int8.provenance["run"] == "0123456789abcdef"


def test_spikes_are_priced_a_decision(bundle):
    recorded = {"bytes": {"act": 300, "value": 50}, "neurons": {"act": 9}}
    report = make_report([bundle("chip", "loihi", recorded, spikes=100)], Settings(episodes=2))
    davies, fitted, _ = report.rows[0].energy
    quantities = report.rows[0].quantities
    assert quantities["messages"].value == 100
    assert (quantities["synaptic_memory"].value, quantities["neurons"].value) == (350, 9)
    assert davies.value == pytest.approx(100 * (23.6 + 81 + 1.7 + 3.0 + 4.0) * 1e-12)
    assert "Davies" in davies.source and "SANA-FE" in fitted.source


def test_without_float_nothing_is_kept(bundle):
    report = make_report([bundle("chip", "loihi", spikes=1), bundle("int8", "tflite")], Settings(episodes=2))
    assert report.reference is None
    for row in report.rows:
        assert not {"kept", "kept_varied", "action_error"} & set(row.quantities)
        assert row.open_loop.observation


def test_no_share_of_a_negative_return(bundle):
    paths = [bundle("float", "onnx", task_env=POINT_MASS), bundle("int8", "tflite", task_env=POINT_MASS)]
    report = make_report(paths, Settings(episodes=2))
    assert all("kept" not in row.quantities for row in report.rows)
    assert all("action_error" in row.quantities for row in report.rows)


def test_every_number_has_a_unit_and_a_source(bundle, tmp_path):
    paths = [bundle("float", "onnx"), bundle("int8", "tflite"), bundle("chip", "loihi", spikes=3)]
    assert invoke(*paths, "--episodes", 2, "--json", tmp_path / "report.json").exit_code == 0
    found = list(numbers(json.loads((tmp_path / "report.json").read_text())))
    assert len(found) > 30
    for number in found:
        assert number["source"] in ("measured", "counted", "recorded by the conversion") or re.fullmatch(
            r"counted x constant \(.{20,}\)", number["source"]
        )
        assert isinstance(number["unit"], str)
        assert "joule" not in number["source"] and (number["unit"] != "J" or "constant" in number["source"])


def test_the_page_shows_the_document_and_needs_nothing_else(bundle, tmp_path):
    paths = [bundle("<float> & co", "onnx"), bundle("chip", "loihi", spikes=3)]
    done = invoke(*paths, "--episodes", 2, "--json", tmp_path / "report.json", "--out", tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text()
    report = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert page == render_page(report)
    embedded = re.search(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    assert json.loads(embedded.group(1)) == json.loads((tmp_path / "report.json").read_text())
    shown = html.unescape(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    for row in report.rows:
        assert row.name in shown
        for quantity in (*row.quantities.values(), *row.energy):
            assert text(quantity) in shown
            assert interval(quantity) in shown
        for energy in row.energy:
            assert energy.source in shown and energy.leaves_out in shown
    assert "<float>" not in page
    assert not re.search(r'(src|href)\s*=\s*"(?!#)', page) and "@import" not in page and "url(http" not in page
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert page.count('role="img"') == 2


def test_one_damaged_bundle_does_not_cost_the_others(bundle, tmp_path):
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


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"task_env": POINT_MASS}, "a report compares models of one environment"),
        ({"task_env": REWARDED, "broken": True}, "the arena is too small"),
    ],
)
def test_nothing_to_report_is_one_line(bundle, tmp_path, other, said):
    first = bundle("first", "onnx", broken=True)
    done = invoke(first, bundle("other", "tflite", **other), "--episodes", 1, "--json", tmp_path / "report.json")
    assert done.exit_code == 2
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.json").exists()


def test_wrong_use_is_one_line(bundle, tmp_path):
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
            row["quantities"] = {name: q for name, q in row["quantities"].items() if not name.startswith("latency")}
        return document

    assert untimed() == untimed()
