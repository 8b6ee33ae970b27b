import json

import imageio.v3 as imageio
import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.runtime.run_command import main

from .plants import POINT_MASS


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments):
    """The one line with which the command refuses, having exited with status 2."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.output
    return lines[0]


def test_figures_are_printed_and_written(point_mass_bundle, tmp_path):
    file = tmp_path / "figures" / "run.json"
    result = run(point_mass_bundle(skill=0.5), "--episodes", 3, "--seed", 2, "--planner", "mppi", "--json", file)
    assert result.exit_code == 0, result.output
    figures = json.loads(file.read_text())
    assert (figures["planner"], figures["env"], figures["seed"]) == ("mppi", POINT_MASS, 2)
    assert len(figures["returns"]) == len(figures["returns_varied"]) == figures["episodes"] == 3
    assert f"{figures['mean_return']:.1f}" in result.stdout
    assert f"{figures['decision_ms']['median']:.2f} ms median" in result.stdout


def test_the_same_seed_gives_the_same_returns_and_another_does_not(point_mass_bundle, tmp_path):
    bundle = point_mass_bundle(skill=0.5)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(bundle, "--episodes", 2, "--planner", "cem", "--seed", seed, "--json", tmp_path / name)
    a, b, c = (json.loads((tmp_path / name).read_text())["returns"] for name in "abc")
    assert a == b != c


def test_planner_options_reach_the_planner(point_mass_bundle, tmp_path):
    file = tmp_path / "run.json"
    sizes = ("--samples", 10, "--horizon", 2, "--iterations", 1, "--elites", 3, "--policy-samples", 2)
    assert run(point_mass_bundle(), "--episodes", 1, "--planner", "cem", *sizes, "--json", file).exit_code == 0
    counts = json.loads(file.read_text())["counts_per_decision"]
    assert counts["imagine"] == 11 * 2 + 3
    run(point_mass_bundle(), "--episodes", 1, "--planner", "cem", *sizes, "--no-adapt", "--json", file)
    assert json.loads(file.read_text())["counts_per_decision"]["imagine"] == 11 * 2


def test_a_changed_plant_is_named_and_matters(point_mass_bundle, tmp_path):
    bundle = point_mass_bundle()
    for name, extra in (("plain", ()), ("late", ("--perturb", "delay=4"))):
        assert run(bundle, "--episodes", 2, "--json", tmp_path / name, *extra).exit_code == 0
    plain, late = (json.loads((tmp_path / name).read_text()) for name in ("plain", "late"))
    assert (plain["perturbation"], late["perturbation"]) == ({}, {"delay": 4.0})
    assert late["mean_return"] < plain["mean_return"]


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_film_shows_the_first_episode(point_mass_bundle, tmp_path, ending):
    file = tmp_path / f"film.{ending}"
    result = run(point_mass_bundle(), "--episodes", 1, "--video", file)
    assert result.exit_code == 0, result.output
    pictures = imageio.imread(file, index=None if ending == "mp4" else ...)[..., :3]
    # A GIF holds a picture that does not change once, for longer.
    assert pictures.shape[1:] == (48, 64, 3) and (len(pictures) == 40 if ending == "mp4" else len(pictures) > 1)
    # The white line is the mass: it goes from its start to the middle.
    columns = pictures[:, 24, :, 0].astype(int).argmax(axis=1)
    assert abs(columns[-1] - 32) <= 1 and np.ptp(columns) >= 2


def test_bad_input_is_one_clear_line(point_mass_bundle, tmp_path):
    bundle = point_mass_bundle()
    assert "does not exist" in refused(tmp_path / "nothing")
    assert "neither a run" in refused(tmp_path)
    assert "Pendulum-v1 does not fit the model" in refused(bundle, "--env", "Pendulum-v1")
    assert "cannot make environment 'NoSuch-v0'" in refused(bundle, "--env", "NoSuch-v0")
    assert "unknown perturbation 'wind'" in refused(bundle, "--perturb", "wind=3")
    assert "has no pole_length to change" in refused(bundle, "--perturb", "pole_length=2")
    assert "--samples is no option of the policy" in refused(bundle, "--samples", 9)
    assert "9 elites of 8 samples" in refused(bundle, "--planner", "cem", "--samples", 8, "--elites", 9)
    assert "must end in .mp4 or .gif" in refused(bundle, "--video", tmp_path / "film.avi")
    assert "--simulator is no option of target exact" in refused(bundle, "--simulator", "fast")
    (bundle / "model.bin").write_bytes(b"exacu")
    assert "is damaged" in refused(bundle)


def test_wrong_choices_are_refused_by_name(point_mass_bundle):
    result = run(point_mass_bundle(), "--planner", "cma")
    assert result.exit_code == 2 and "'cma' is not one of 'policy', 'cem', 'mppi', 'shooting'" in result.stderr


def test_a_film_that_cannot_be_made_leaves_the_figures(point_mass_bundle, tmp_path, monkeypatch):
    def no_display(self):
        raise RuntimeError("gladLoadGL error")

    monkeypatch.setattr("tests.runtime.plants.PointMass.render", no_display, raising=True)
    file = tmp_path / "run.json"
    result = run(point_mass_bundle(), "--episodes", 1, "--json", file, "--video", tmp_path / "film.gif")
    assert result.exit_code == 2 and "nothing can draw here (gladLoadGL error)" in result.stderr
    assert json.loads(file.read_text())["episodes"] == 1 and not (tmp_path / "film.gif").exists()


def test_figures_that_cannot_be_written_are_an_error_after_they_were_printed(point_mass_bundle, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run(point_mass_bundle(), "--episodes", 1, "--json", tmp_path / "file" / "run.json")
    assert result.exit_code == 2 and "cannot write" in result.stderr and "return, native starts" in result.stdout
