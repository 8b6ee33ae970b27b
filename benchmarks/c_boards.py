"""What the C runtime costs on the emulated boards: instructions a MAC and a decision, exact counts of QEMU -icount."""

from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.hil.board import find_board
from nmbrl.hil.build import build_firmware
from nmbrl.hil.client import Client
from nmbrl.hil.executor import BoardExecutor
from nmbrl.hil.qemu import QemuLink, instructions
from nmbrl.targets.bundle import Bundle, read_bundle
from nmbrl.targets.load import load

BOARDS = ("mps2-an386", "mps2-an500", "mps3-an547")
ROWS = 24


def measure_board(name: str, path: Path) -> dict[str, Any]:
    """Return instructions of every function on `ROWS` rows at once, and how many integers differ from the host's."""
    bundle, board, host = read_bundle(path), find_board(name), load(path)
    link = QemuLink(board, build_firmware(board, path, semihosting=True), semihosting=True)
    try:
        return _measure(bundle, BoardExecutor(bundle, Client(link)), host)
    finally:
        link.close()


def _measure(bundle: Bundle, board: BoardExecutor, host: Any) -> dict[str, Any]:
    tick_hz = board.client.connect().tick_hz
    random = np.random.default_rng(0)
    measured: dict[str, Any] = {}
    for function in ("observe", "imagine", "act", "value"):
        sizes = bundle.interface.input_sizes(function)
        given = {name: random.integers(-128, 128, (ROWS, size), np.int8) for name, size in sizes.items()}
        board.ticks[function] = 0
        made, expected = board.call_integers(function, given), host.call_integers(function, given)
        counted = instructions(board.ticks[function], tick_hz)
        macs = bundle.measured["macs"][function]
        measured[function] = {
            "instructions_a_row": counted / ROWS,
            "macs": macs,
            "instructions_a_mac": counted / ROWS / macs,
            "differences": int(sum((made[name] != expected[name]).sum() for name in made)),
        }
    return measured
