"""Keys and pictures of the interactive mode, and a session at a pseudo-terminal."""

import os
import tty
from pathlib import Path

import numpy as np
import pytest

from nmbrl.hil.evaluation import Setting
from nmbrl.hil.interactive import Hand, StopError, drive, read_keys
from nmbrl.hil.picture import WIDTH, cart_pole, draw_plant
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Task
from nmbrl.targets.load import load

from .host_board import HostBoard
from .plant import plant_for

BOX = Task(env="plant", action_repeat=1, observation_size=1, action_kind="box", action_size=2)
DISCRETE = Task(env="plant", action_repeat=1, observation_size=1, action_kind="discrete", action_size=3)
CARTPOLE = "dm_control/cartpole-swingup-v0"


def test_a_push_is_added_for_some_decisions() -> None:
    hand = Hand(BOX, strength=0.5, lasting=2)
    board = np.array([0.2, 0.3], np.float32)
    hand.press("right")
    changed = [hand.change(board) for _ in range(3)]
    np.testing.assert_allclose(changed, [[0.7, 0.3], [0.7, 0.3], [0.2, 0.3]], rtol=1e-6)
    hand.press("left")
    np.testing.assert_allclose(hand.change(np.array([-0.9, 0], np.float32)), [-1, 0])


def test_driving_leaves_the_board_aside() -> None:
    hand = Hand(BOX, strength=0.5)
    hand.press("drive")
    np.testing.assert_array_equal(hand.change(np.array([0.9, 0.9], np.float32)), [0, 0])
    hand.press("left")
    np.testing.assert_array_equal(hand.change(np.array([0.9, 0.9], np.float32)), [-0.5, 0])
    hand.press("drive")
    assert not hand.driving


def test_a_push_chooses_among_discrete_actions() -> None:
    hand = Hand(DISCRETE, lasting=1)
    middle = np.array([0, 1, 0], np.float32)
    np.testing.assert_array_equal(hand.change(middle), middle)
    hand.press("right")
    np.testing.assert_array_equal(hand.change(middle), [0, 0, 1])
    hand.press("left")
    np.testing.assert_array_equal(hand.change(middle), [1, 0, 0])


def test_quit_ends() -> None:
    with pytest.raises(StopError):
        Hand(BOX).press("quit")


def test_keys_are_read_in_order() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    assert read_keys(slave) == []
    os.write(master, b"a\x1b[Cx\x1b[Dmrdq")
    assert read_keys(slave) == ["left", "right", "left", "drive", "restart", "right", "quit"]
    os.close(master)
    os.close(slave)


def test_the_cart_pole_is_drawn_where_it_is() -> None:
    upright = draw_plant(CARTPOLE, np.array([0, 1, 0, 0, 0], np.float32), np.zeros(1, np.float32))
    middle = WIDTH // 2
    assert upright[0][middle] == "o"
    assert upright[6][middle - 2 : middle + 3] == "#####"
    hanging = draw_plant(CARTPOLE, np.array([0, -1, 0, 0, 0], np.float32), np.zeros(1, np.float32))
    assert hanging[12][middle] == "o"
    right = draw_plant(CARTPOLE, np.array([0.9, 0, 1, 0, 0], np.float32), np.zeros(1, np.float32))
    assert right[6].index("#") > middle
    assert right[6].rindex("o") > right[6].rindex("#")
    assert all(len(line) == WIDTH for line in right)


def test_cart_pole_is_read_off_either_library() -> None:
    assert cart_pole("CartPole-v1", np.array([1.2, 0, 0.1, 0])) == (0.5, pytest.approx(0.1))
    assert cart_pole(CARTPOLE, np.array([0.9, np.cos(2), np.sin(2), 0, 0])) == (0.5, pytest.approx(2))
    assert cart_pole("Pendulum-v1", np.zeros(3)) is None


def test_other_plants_are_bars() -> None:
    lines = draw_plant("Pendulum-v1", np.array([0.5, -2.0], np.float32), np.array([1.0], np.float32))
    assert [line.split()[0] for line in lines] == ["o0", "o1", "a0"]
    assert "==|" in lines[1]
    assert "|==" in lines[2]
    assert all(len(line) == WIDTH for line in lines)


def test_a_session_at_a_terminal(
    host_board: HostBoard, small_c: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load(small_c[0]).interface.task
    master, slave = os.openpty()
    tty.setraw(slave)
    with os.fdopen(slave, "rb") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        os.write(master, b"drq")
        drive(host_board, task, Setting(env=plant_for(task), deadline_s=0.01))
    os.close(master)


def test_without_a_terminal_it_says_so(host_board: HostBoard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stdin").touch()
    with (tmp_path / "stdin").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(NmbrlError, match="--interactive needs a terminal"):
            drive(host_board, BOX, Setting())
