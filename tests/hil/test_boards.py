"""Every emulated board boots, answers over each of its ports, and survives damage and restarts."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmbrl.convert.c.thumb import read_program
from nmbrl.hil.board import Board, board_names, find_board
from nmbrl.hil.build import build_firmware, firmware_sizes
from nmbrl.hil.client import Client, RefusedError
from nmbrl.hil.frames import Frame, encode_frame
from nmbrl.hil.messages import Kind, Refusal
from nmbrl.hil.qemu import QemuLink
from nmbrl.targets.errors import NmbrlError

EMULATED = [name for name in board_names() if find_board(name).qemu]
PORTS = [(name, "uart") for name in EMULATED] + [(name, "fifo") for name in EMULATED if find_board(name).port]


@pytest.fixture(scope="module", params=PORTS, ids="-".join)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    name, port = request.param
    board = find_board(name)
    link = QemuLink(board, build_firmware(board, semihosting=port == "fifo"), semihosting=port == "fifo")
    yield Client(link)
    link.close()


def test_the_template_is_a_board_too() -> None:
    assert {"mps2-an386", "mps2-an500", "mps3-an547", "template"} == set(EMULATED)


def test_introduces_itself(client: Client) -> None:
    identity = client.connect()
    assert identity.name in EMULATED
    assert identity.tick_hz in (25_000_000, 32_000_000)
    assert identity.max_body == 2048
    assert identity.model is None


def test_answers_ping(client: Client) -> None:
    draw = random.Random(1)
    for length in (0, 1, 20, 253, 254, 255, 1000, 2048):
        body = draw.randbytes(length)
        assert client.request(Kind.PING, body) == body
        assert client.request(Kind.PING, bytes(length)) == bytes(length)


def test_refuses_what_it_cannot_do(client: Client) -> None:
    with pytest.raises(RefusedError) as refused:
        client.request(Kind.DECIDE, bytes(8))
    assert refused.value.reason is Refusal.NO_MODEL
    with pytest.raises(RefusedError) as refused:
        client.request(Kind.STATISTICS, b"too long")
    assert refused.value.reason is Refusal.BAD_LENGTH


def test_is_in_step_after_damage(client: Client) -> None:
    draw = random.Random(2)
    for _ in range(10):
        damaged = bytearray(encode_frame(Frame(Kind.PING, 0, draw.randbytes(50))))
        damaged[draw.randrange(1, len(damaged) - 1)] ^= 1 << draw.randrange(8)
        client.link.write(bytes(damaged) + draw.randbytes(20))
        # With a deadline it is sent once only: the board must take the first.
        assert client.request(Kind.PING, b"still there?", time.monotonic() + 20) == b"still there?"


def test_restarts(client: Client) -> None:
    client.connect()
    starts = client.counts["starts"]
    client.link.restart_board()
    client.connect()
    assert client.counts["starts"] == starts + 1
    client.request(Kind.REBOOT)
    client.connect()
    assert client.counts["starts"] == starts + 2


def test_unknown_board_is_named() -> None:
    with pytest.raises(NmbrlError, match=r"no board 'arduino'; there are .*mps2-an386"):
        find_board("arduino")


def test_missing_emulator_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NmbrlError, match="apt-get install qemu-system-arm"):
        QemuLink(find_board(EMULATED[0]), tmp_path / "firmware.elf")


def test_emulator_that_does_not_start_says_why(tmp_path) -> None:
    with pytest.raises(NmbrlError, match=r"does not start: .*absent.elf"):
        QemuLink(find_board(EMULATED[0]), tmp_path / "absent.elf")


def test_board_that_does_not_compile_says_why() -> None:
    board = Board(**{**find_board(EMULATED[0]).model_dump(), "sources": ("board.c",)})
    with pytest.raises(NmbrlError, match=r"does not compile: .*no start-up code"):
        build_firmware(board)


def test_sizes_of_firmware_are_those_of_its_sections(small_c: tuple[Path, Path]) -> None:
    for name in ("mps2-an386", "mps3-an547"):
        firmware = build_firmware(find_board(name), small_c[0])
        program = read_program(firmware)
        assert firmware_sizes(firmware) == {"flash": program.flash, "ram": program.ram}
        assert program.flash > 10_000
