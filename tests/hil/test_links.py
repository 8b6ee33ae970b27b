"""A serial port, played by a pseudo-terminal with the firmware at its other end."""

import os
import select
import threading
import tty
from collections.abc import Iterator

import numpy as np
import pytest

from nmbrl.hil.client import Client
from nmbrl.hil.controller import BoardController
from nmbrl.hil.links import LinkLostError, SerialLink
from nmbrl.targets.errors import NmbrlError

from .host_board import HostBoard


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
