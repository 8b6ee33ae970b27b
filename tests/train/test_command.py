import pytest
import yaml
from click.testing import CliRunner

from nmbrl.targets.errors import NmbrlError
from nmbrl.train.command import main
from nmbrl.train.presets import PRESETS
from nmbrl.train.run import CALIBRATION, METRICS, MODEL, RunDirectory, open_run
from nmbrl.train.settings import dump_yaml, make_config, merge, parse_assignments

from .conftest import TINY, tiny


def invoke(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | {"frames": 60}))
    return str(path)


def test_options_files_and_assignments_go_over_each_other(settings, tmp_path):
    out = tmp_path / "run"
    arguments = ["--config", settings, "--seed", "7", "--frames", "40", "--out", str(out)]
    result = invoke(*arguments, "--set", "learner.horizon=4", "--set", "frames=60")
    assert result.exit_code == 0, result.output
    config = RunDirectory(out).read_config()
    assert (config.seed, config.frames, config.learner.horizon, config.learner.width) == (7, 60, 4, 8)
    assert f"{out}: 60 frames" in result.output


def test_a_run_is_not_overwritten_and_resumes_with_its_own_settings(settings, tmp_path):
    out = str(tmp_path / "run")
    assert invoke("--config", settings, "--out", out).exit_code == 0
    again = invoke("--config", settings, "--out", out)
    assert again.exit_code == 2
    assert again.output == f"error: {out} exists already: continue it with --resume, or give another --out\n"
    assert invoke("--resume", "--frames", "80", "--out", out).exit_code == 0
    assert RunDirectory(tmp_path / "run").read_checkpoint().counters.frames == 80
    other = invoke("--resume", "--seed", "1", "--out", out)
    assert other.exit_code == 2
    assert "was trained with seed: 0, not 1" in other.output


def test_a_slim_run_opens_and_says_that_it_cannot_resume(settings, tmp_path):
    out = tmp_path / "run"
    assert invoke("--config", settings, "--out", str(out), "--slim").exit_code == 0
    assert {path.name for path in out.iterdir()} == {"config.yaml", MODEL, CALIBRATION, METRICS}
    assert open_run(out).calibration["o"].shape[0] == 3
    again = invoke("--resume", "--frames", "80", "--out", str(out))
    assert (again.exit_code, again.output) == (
        2,
        f"error: {out} was slimmed and cannot be resumed: give another --out\n",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--env", "NoSuch-v0"], "cannot make environment 'NoSuch-v0'"),
        (["--set", "learner.horizn=3"], "learner.horizn: Extra inputs are not permitted"),
        (["--set", "learner.horizon=0"], "learner.horizon: Input should be greater than or equal to 1"),
        (["--set", "learner.horizon"], "give NAME=VALUE"),
        (["--set", "seed=[1"], "is not YAML"),
        (["--config", "missing.yaml"], "cannot read missing.yaml: No such file"),
        (["--set", "planner_options.samples=1"], "samples: Input should be greater than or equal to 4"),
        (["--set", "planner=oracle"], "there is no planner 'oracle'"),
        (["--env", "Blackjack-v1"], "observations must be Box or Dict"),
    ],
)
def test_wrong_use_is_one_line(arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments, "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert expected in result.output
    assert result.output.startswith("error: ") and result.output.count("\n") == 1


def test_a_directory_that_is_something_else_is_left_alone(settings, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    result = invoke("--config", settings, "--out", str(tmp_path), "--resume")
    assert result.exit_code == 2
    assert "exists and is no run" in result.output


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_their_yaml(name):
    config = make_config(PRESETS[name], name)
    assert make_config(yaml.safe_load(dump_yaml(config)), name) == config


def test_settings_merge_by_group():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}}) == {"a": {"b": 5, "c": 2}, "d": 3}
    assert parse_assignments(["a.b=1", "a.c=x", "d=[1, 2]"]) == {"a": {"b": 1, "c": "x"}, "d": [1, 2]}
    with pytest.raises(NmbrlError, match="env: Field required"):
        make_config({}, "settings")
    assert tiny(seed=3).seed == 3


def test_an_unknown_world_model_names_those_there_are(settings, tmp_path):
    for setting, message in (
        ("architecture=abacus", "learner.architecture: there is no world model 'abacus'; choose from gru, rssm\n"),
        ("options={beads: 7}", "error: learner.options.beads is no setting of the world model gru\n"),
    ):
        result = invoke("--config", settings, "--out", str(tmp_path / "run"), "--set", f"learner.{setting}")
        assert result.exit_code == 2
        assert result.output.endswith(message)
