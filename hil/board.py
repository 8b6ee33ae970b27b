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
        sources: C files, in the board's folder or shared ones in ``hil/boards/``.
        port: C file that drives its serial port, found in the same way, where semihosting can take its place; a board
            without it drives its port in its own sources.
        qemu: how to emulate it; None if only the real board exists.
        folder: where its files are.
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
    folder: Path


def board_names() -> list[str]:
    """Names of all boards."""
    return sorted(path.parent.name for path in BOARDS.glob(f"*/{DESCRIPTION}"))


def find_board(name: str) -> Board:
    """Return the board of that name, or the one in that folder if the name has a slash in it.

    Raises:
        NmbrlError: if there is none, or its description is wrong.
    """
    folder = Path(name).resolve() if "/" in name else BOARDS / name
    path = folder / DESCRIPTION
    if not path.is_file():
        if "/" in name:
            raise NmbrlError(f"{name} is no board's folder: there is no {DESCRIPTION} in it (docs/add-a-board.md)")
        raise NmbrlError(f"no board {name!r}; there are {', '.join(board_names())}; a folder of yours needs a slash")
    try:
        return Board(name=folder.name, folder=folder, **tomllib.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise NmbrlError(f"{path} is wrong: {where}: {first['msg'].lower()}") from error
    except (OSError, ValueError, TypeError) as error:
        raise NmbrlError(f"{path} is wrong: {str(error).splitlines()[0]}") from error
