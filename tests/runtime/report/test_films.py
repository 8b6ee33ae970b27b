"""Films: the right episode, predictions drawn where they belong, and what is said where nothing can draw."""

import os
import subprocess
import sys

import gymnasium
import imageio.v3 as imageio
import numpy as np
import pytest

from nmbrl.runtime.environment import Environment
from nmbrl.runtime.report import films
from nmbrl.runtime.report.gather import Settings, gather
from nmbrl.runtime.report.pose import find_plant, pose
from nmbrl.targets import NmbrlError


def read(content):
    return imageio.imread(content, extension=".mp4", plugin="FFMPEG", index=None)


def white_column(pictures):
    return pictures[:, 24, :, 0].astype(int).argmax(axis=1)


def test_rows_that_act_alike_share_a_film_of_the_shown_episode(bundle):
    paths = [bundle("float", "onnx"), bundle("half", "tflite", skill=0.5), bundle("same", "c", skill=0.5)]
    gathered = gather([str(path) for path in paths], Settings(episodes=2))
    made = gathered.films
    assert not made.failures
    assert made.typical["half"] == made.typical["same"] != made.typical["float"]
    assert set(made.typical) == set(made.worst) == {"float", "half", "same"}
    pictures = read(made.typical["float"])
    assert pictures.shape == (41, 48, 64, 3)
    # The white line is the mass: its column is its place, from the start on.
    environment = Environment(gathered.report.env)
    shown = gathered.report.typical
    start = environment.reset(shown.seed, varied=shown.varied)
    assert abs(white_column(pictures)[0] - (32 + 16 * start[0])) <= 1.5


def test_a_prediction_is_drawn_where_the_model_believes_the_mass_to_be(bundle):
    path = bundle("float", "onnx")
    gathered = gather([str(path)], Settings(episodes=2))
    real = read(gathered.films.typical["float"])[1:]
    drawn = read(gathered.films.predicted["float"])
    # An exact model: nothing orange beside the white line, but for the bar at the bottom.
    assert len(drawn) == len(real) == 40
    assert np.abs(drawn[:, :40].astype(int) - real[:, :40]).mean() < 6


def test_the_overlay_is_orange_only_where_the_prediction_is():
    background = np.zeros((20, 30, 3), np.uint8)
    real, predicted = background.copy(), background.copy()
    real[:, 5:8] = 200
    predicted[:, 20:23] = 200
    drawn = films.overlay(real, predicted, background, 0.5)
    np.testing.assert_array_equal(drawn[:17, 5:8], real[:17, 5:8])
    red, green, blue = drawn[:17, 20:23].reshape(-1, 3).mean(axis=0)
    assert red > green > blue + 50
    assert not drawn[:17, 9:19].any()
    np.testing.assert_array_equal(drawn[-1, :15], np.tile(films.GHOST.astype(np.uint8), (15, 1)))
    assert not drawn[-1, 15:20].any()
    np.testing.assert_array_equal(films.overlay(real, real, background, 0.0), real)


@pytest.mark.parametrize(
    "env", ["dm_control/cartpole-swingup-v0", "dm_control/reacher-easy-v0", "Pendulum-v1", "Acrobot-v1"]
)
def test_a_plant_takes_the_pose_that_is_observed(env):
    environment = Environment(env, 2)
    environment.reset(3)
    plant = find_plant(environment)
    start = plant.get()
    random = np.random.default_rng(0)
    for _ in range(5):
        seen, *_ = environment.step(environment.random_action(random))
    found = plant.get()
    pose(plant, seen, start)
    np.testing.assert_allclose(plant.observe(), seen, atol=2e-3)
    # And the pose does not disturb a plant that is there already.
    np.testing.assert_allclose(pose(plant, seen, found), found, atol=1e-3)
    environment.close()


def test_a_plant_without_a_state_is_one_line():
    class Blind(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def __init__(self, render_mode=None):
            self.render_mode = render_mode

    gymnasium.register("nmbrl_tests/Blind-v0", Blind, order_enforce=False, disable_env_checker=True)
    with pytest.raises(NmbrlError, match="cannot be put into a predicted pose"):
        find_plant(Environment("nmbrl_tests/Blind-v0"))


def test_without_a_codec_the_report_is_made_without_films(bundle, invoke, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio.v3", None)
    out = tmp_path / "report.html"
    done = invoke(bundle("float", "onnx"), "--episodes", 1, "--out", out, films=True)
    assert done.exit_code == 2
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: a video needs imageio") and "pip install 'nmbrl[video]'" in line
    assert "a video needs imageio" in out.read_text() and "<video" not in out.read_text()


def test_without_egl_and_osmesa_it_is_one_line():
    script = """
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.video import picture
environment = Environment("dm_control/cartpole-swingup-v0", render=True)
environment.reset(0)
try:
    picture(environment)
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = {**os.environ, "MUJOCO_GL": "off"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "install libegl1 or libosmesa6" in done.stdout, done.stderr
