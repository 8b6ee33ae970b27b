import io
import math

import numpy as np
import pytest
import readme_picture
from click.testing import CliRunner
from PIL import Image
from readme_picture import PICTURES, film

from .plants import PointMass


def test_pictures_are_of_the_decisions_asked_for(point_mass_bundle):
    decisions = [1, 5, 9]
    shown, seconds = film(point_mass_bundle(), 3, decisions)
    assert (shown.target, seconds) == ("exact", pytest.approx(0.1))
    plant = PointMass()
    for picture, decision in zip(shown.pictures, decisions, strict=True):
        plant.state = shown.episode.observations[decision]
        np.testing.assert_array_equal(picture, plant.render())


def test_the_picture_is_a_small_png(point_mass_bundle, tmp_path):
    path, out = point_mass_bundle(), tmp_path / "picture.png"
    done = CliRunner().invoke(readme_picture.main, [str(path), str(path), "--out", str(out), "--decisions", "10"])
    assert done.exit_code == 0, done.output
    with Image.open(io.BytesIO(out.read_bytes())) as picture:
        assert picture.format == "PNG"
        assert math.isclose(picture.width, (1.5 + PICTURES * 1.25) * 150, abs_tol=1)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
    assert out.stat().st_size < 400_000


def test_an_episode_that_is_too_short_is_one_line(point_mass_bundle, tmp_path):
    command = [str(point_mass_bundle()), "--out", str(tmp_path / "x.png"), "--decisions", "50"]
    done = CliRunner().invoke(readme_picture.main, command)
    assert done.exit_code == 2
    assert "ends after 40 decisions; give fewer --decisions" in done.stderr
