"""The tutorial from its first line to its last, with as few frames as it takes."""

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path

import pytest

from nmbrl.targets.bundle import read_bundle

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.py"


def test_it_is_short() -> None:
    assert len(TUTORIAL.read_text().splitlines()) < 40


@pytest.mark.parametrize("frames", ["0", "3", "many"])
def test_too_few_frames_are_one_line(
    frames: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tutorial.py", "--frames", frames])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TUTORIAL), run_name="__main__")
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_from_an_environment_to_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tutorial.py", "--frames", "400", "--out", str(tmp_path)])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(TUTORIAL), run_name="__main__")
    assert read_bundle(tmp_path / "c").interface.task.env == "Pendulum-v1"
    text = printed.getvalue()
    means = [float(mean) for mean in re.findall(r"mean return (-[\d.]+)", text)]
    assert len(means) == 2 and all(-3300 < mean < 0 for mean in means)
    board = re.search(r"on the board: returns \[(.+)\]", text)
    assert board and len(board[1].split(",")) == 3
    assert re.search(r"[\d,]+ instructions a decision", text)
