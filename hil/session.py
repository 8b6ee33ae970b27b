"""A bundle's controller on a board, from building its firmware to the figures: what `nmbrl-hil` does, from Python."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nmbrl.hil.board import Board, board_names, find_board
from nmbrl.hil.build import build_firmware, firmware_sizes
from nmbrl.hil.client import Client
from nmbrl.hil.counting import CodeCounter, count_functions
from nmbrl.hil.evaluation import BoardEvaluation, Setting, evaluate_board
from nmbrl.hil.links import Link, SerialLink
from nmbrl.hil.qemu import QemuLink, check_emulation
from nmbrl.runtime.closed_loop import Progress
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.bundle import Bundle, read_bundle
from nmbrl.targets.c_planner import memory_flags
from nmbrl.targets.errors import NmbrlError

EMULATED = "qemu:"


def run_on_board(
    path: str | Path,
    board: str | None = None,
    setting: Setting | None = None,
    port: str | None = None,
    baud: int = 115200,
    semihosting: bool = False,
    profile: bool = False,
    progress: Progress | None = None,
) -> BoardEvaluation:
    """Run the controller of a bundle on a board, and its environment here.

    Args:
        path: directory of a bundle of target c.
        board: ``qemu:NAME``, which is emulated; None for a real one.
        setting: what is run; None for the defaults.
        port: serial port of a real board that is flashed already.
        baud: of the port.
        semihosting: let an emulated board talk through semihosting instead of its UART.
        profile: count the instructions of every function of emulated firmware.
        progress: see `nmbrl.runtime.closed_loop.run_episodes`.

    Raises:
        NmbrlError: if the bundle is for something else or damaged, the board is unknown, does not answer or holds
            another model, or the environment does not fit.
    """
    path, setting = Path(path), setting or Setting()
    bundle = read_c_bundle(path)
    emulated = find_emulated(board) if port is None else None
    if profile and emulated is None:
        raise NmbrlError("--profile needs an emulated board: a real one does not count instructions")
    with tempfile.TemporaryDirectory(prefix="nmbrl-") as folder:
        counter = CodeCounter(Path(folder)) if profile else None
        arguments = counter.arguments if counter else ()
        with connect(path, setting, emulated, port, baud, semihosting, arguments) as client:
            name = str(port) if emulated is None else emulated.name
            task = bundle.interface.task
            result = evaluate_board(client.link, emulated, f"c on {name}", task, setting, progress)
            if emulated is not None:
                result.functions = count_functions(bundle, client)
        result.code = counter.read() if counter else None
    result.provenance = bundle.provenance.labels()
    if emulated is not None:
        result.firmware = firmware_sizes(build(emulated, path, setting, semihosting))
    return result


def read_c_bundle(path: Path) -> Bundle:
    """Read and verify a bundle that boards can run.

    Raises:
        NmbrlError: if it is damaged, or for something else.
    """
    bundle = read_bundle(path)
    if bundle.target != "c":
        raise NmbrlError(f"{path} is for {bundle.target}; boards run C: nmbrl-convert RUN --target c")
    return bundle


def find_emulated(name: str | None) -> Board:
    """Return the board that ``qemu:NAME`` emulates.

    Raises:
        NmbrlError: if none is named, there is none of that name, or it cannot be emulated here.
    """
    if name is None:
        emulated = ", ".join(EMULATED + board for board in board_names() if find_board(board).qemu)
        raise NmbrlError(f"name a --board ({emulated}) or the --port of a real one")
    if not name.startswith(EMULATED):
        raise NmbrlError(f"give {EMULATED}{name} to emulate it, --firmware FILE to build for it, or --port DEVICE")
    board = find_board(name.removeprefix(EMULATED))
    check_emulation(board)
    return board


def build(board: Board, path: Path, setting: Setting, semihosting: bool = False) -> Path:
    """Build a bundle's firmware with as much memory as the planner needs; return the ELF file."""
    flags = memory_flags((setting.options or PlannerOptions()).model_dump())
    return build_firmware(board, path, semihosting, flags)


@contextmanager
def connect(
    path: Path,
    setting: Setting,
    emulated: Board | None,
    port: str | None = None,
    baud: int = 115200,
    semihosting: bool = False,
    arguments: tuple[str, ...] = (),
) -> Iterator[Client]:
    """Start an emulated board with the bundle's firmware, or open the port of a real one; check that it answers.

    Raises:
        NmbrlError: if it does not, or was flashed with another model than the bundle's.
    """
    link: Link
    if emulated is not None:
        link = QemuLink(emulated, build(emulated, path, setting, semihosting), semihosting, arguments)
    else:
        link = SerialLink(str(port), baud)
    try:
        client = Client(link)
        _check_model(client, path)
        yield client
    finally:
        link.close()


def _check_model(client: Client, path: Path) -> None:
    """Refuse a board that was flashed with another model than the bundle's."""
    identity = client.connect()
    expected = re.search(r'#define NMBRL_MODEL_HASH "(\w+)"', (path / "model.h").read_text())
    if identity.model is None or expected is None or identity.model.hash != expected[1]:
        held = "no model" if identity.model is None else f"model {identity.model.hash[:12]}"
        wanted = "?" if expected is None else expected[1][:12]
        raise NmbrlError(f"the board {identity.name} holds {held}, the bundle {wanted}: build and flash it again")
