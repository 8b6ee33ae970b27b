"""A serial port, played by a pseudo-terminal with the firmware at its other end."""

import json
import os
import select
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.hil.client import Client
from nmbrl.hil.command import main
from nmbrl.hil.controller import BoardController
from nmbrl.hil.links import LinkLostError, SerialLink
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load

from .host_board import HostBoard
from .plant import plant_for


@pytest.fixture
def port(host_board: HostBoard) -> Iterator[str]:
    """A device name behind which the firmware answers."""
    master, slave = os.openpty()
    tty.setraw(slave)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            if select.select([master], [], [], 0.01)[0]:
                host_board.write(os.read(master, 4096))
                os.write(master, host_board.read(0))

    thread = threading.Thread(target=serve)
    thread.start()
    yield os.ttyname(slave)
    done.set()
    thread.join()
    os.close(slave)
    os.close(master)


def test_a_board_at_a_serial_port_decides(port: str) -> None:
    link = SerialLink(port)
    controller = BoardController(Client(link), "policy")
    assert controller.identity.name == "host"
    controller.reset(0)
    decision = controller.decide(np.zeros(controller.model.action_size, np.float32), np.ones(3, np.float32))
    assert np.isfinite(decision.action).all()
    link.close()


def test_the_command_closes_the_loop_at_a_serial_port(port: str, small_c: tuple[Path, Path], tmp_path: Path) -> None:
    env = plant_for(load(small_c[0]).interface.task)
    figures = {}
    for name, more in (("sound", ()), ("faulty", ("--faults", "loss=0.02,bitflip=1e-4"))):
        command = [small_c[0], "--port", port, "--env", env, "--episodes", 1, "--json", tmp_path / name, *more]
        done = CliRunner().invoke(main, [str(argument) for argument in command])
        assert done.exit_code == 0, done.output
        figures[name] = json.loads((tmp_path / name).read_text())
    assert figures["sound"]["target"] == f"c on {port}"
    assert figures["sound"]["returns"] == figures["faulty"]["returns"]
    assert figures["faulty"]["faults"]["injected"]["frames_lost"] > 0


def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(NmbrlError, match=r"cannot open /dev/ttyNowhere: .*; see the ports"):
        SerialLink("/dev/ttyNowhere")


def test_a_port_that_goes_away_is_noticed() -> None:
    master, slave = os.openpty()
    link = SerialLink(os.ttyname(slave))
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkLostError, match="is gone"):
        for _ in range(3):
            link.write(b"\0")
            link.read(0.01)
    link.close()


def test_silence_is_said_in_one_line() -> None:
    master, slave = os.openpty()
    link = SerialLink(os.ttyname(slave))
    with pytest.raises(NmbrlError, match="does not answer within 0 s: is it flashed"):
        Client(link, timeout=0.01, attempts=2).connect(timeout=0.02)
    link.close()
    os.close(slave)
    os.close(master)
