"""Boards that firmware can be built for: one folder each in ``hil/boards/`` (docs/add-a-board.md)."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Frozen

BOARDS = Path(__file__).parent / "boards"
DESCRIPTION = "board.toml"


class Emulation(Frozen):
    """How QEMU emulates a board.

    Attributes:
        machine: QEMU's name of it.
    """

    machine: str


class Board(Frozen):
    """The content of a board's ``board.toml``.

    Attributes:
        name: of the folder.
        description: one line for people.
        core: the processor, e.g. ``Cortex-M4``; what instructions cost depends on it.
        target: the compiler's target triple.
        cpu: the compiler's name of the core with its extensions.
        flags: further arguments for the compiler.
        sources: C files of the board, relative to its folder.
        port: C file that drives its serial port, relative to its folder, where semihosting can take its place; a
            board without it drives its port in its own sources.
        qemu: how to emulate it; None if only the real board exists.
    """

    name: str
    description: str
    core: str
    target: str
    cpu: str
    flags: tuple[str, ...] = ()
    sources: tuple[str, ...]
    port: str | None = None
    qemu: Emulation | None = None

    @property
    def folder(self) -> Path:
        """Where the board's files are."""
        return BOARDS / self.name


def board_names() -> list[str]:
    """Names of all boards."""
    return sorted(path.parent.name for path in BOARDS.glob(f"*/{DESCRIPTION}"))


def find_board(name: str) -> Board:
    """Return the board of that name.

    Raises:
        NmbrlError: if there is none, or its description is wrong.
    """
    if name not in board_names():
        raise NmbrlError(f"no board {name!r}; there are {', '.join(board_names())}")
    path = BOARDS / name / DESCRIPTION
    try:
        return Board(name=name, **tomllib.loads(path.read_text()))
    except (ValidationError, ValueError, TypeError) as error:
        raise NmbrlError(f"{path} is wrong: {str(error).splitlines()[0]}") from error
