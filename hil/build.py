"""Builds firmware: a board's sources, the message loop and, with a model, the bundle's; cached by content."""

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nmbrl.hil.board import BOARDS, Board
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes

FIRMWARE = Path(__file__).parent / "firmware"
# -ffp-contract=off keeps every product rounded on its own: the planner computes what the host's build computes.
FLAGS = (
    *("-std=c99", "-O2", "-g", "-ffreestanding", "-fno-builtin", "-fno-unwind-tables", "-ffp-contract=off"),
    *("-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
)
SUFFIXES = (".c", ".h", ".ld", ".s", ".S")
# Types and flags of ELF sections.
PROGBITS, WRITABLE, ALLOCATED = 1, 1, 2
SOURCES = ("frame.c", "loop.c", "main.c", "libc/string.c")


def cache_folder() -> Path:
    """Where built firmware is kept: ``$NMBRL_CACHE``, else ``nmbrl`` in the user's cache folder."""
    if "NMBRL_CACHE" in os.environ:
        return Path(os.environ["NMBRL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nmbrl"


def build_firmware(
    board: Board, model: Path | None = None, semihosting: bool = False, options: Iterable[str] = ()
) -> Path:
    """Build the firmware of a board, unless the same sources were built before.

    Args:
        board: what to build for.
        model: directory of a bundle of target c, which holds all sources of the model and its planner; None gives
            firmware that answers but has nothing to run, which is what bringing up a board begins with.
        semihosting: talk through the emulator instead of the UART (see ``boards/semihosting/port.c``).
        options: further arguments for the compiler.

    Returns:
        The ELF file.

    Raises:
        NmbrlError: if the compiler is missing or refuses the sources.
    """
    sources = [FIRMWARE / name for name in SOURCES] + [_find_source(board, name) for name in board.sources]
    if board.port is not None:
        sources.append(_find_source(board, "semihosting/port.c" if semihosting else board.port))
    elif semihosting:
        raise NmbrlError(f"{board.name} talks through its UART only")
    includes = [FIRMWARE, BOARDS / "cortex_m", BOARDS / "cmsdk"]
    system = [FIRMWARE / "libc"]
    if model is None:
        sources.append(FIRMWARE / "no_model.c")
    else:
        # The compiler runs in another folder.
        sources += [FIRMWARE / "controller.c", *sorted(model.resolve().glob("*.c"))]
        includes.append(model.resolve())
    arguments = [
        *("-target", board.target, f"-mcpu={board.cpu}"),
        *FLAGS,
        *board.flags,
        *options,
        *(argument for folder in system for argument in ("-isystem", str(folder))),
        *(f"-I{folder}" for folder in includes),
        *("-T", str(board.folder / "board.ld")),
        *map(str, sources),
    ]
    folders = {path.parent for path in sources} | {*includes, *system, board.folder}
    firmware = cache_folder() / "firmware" / f"{board.name}-{_digest(arguments, folders)}.elf"
    if not firmware.is_file():
        write_bytes(firmware, _compile(arguments, board))
    return firmware


def firmware_sizes(firmware: Path) -> dict[str, int]:
    """Return what a linked ELF file of 32 bits takes on the board, in bytes.

    ``flash``: code, constants and initial values; ``ram``: variables and the section for the stack.
    """
    data = firmware.read_bytes()
    offset, size, count = *struct.unpack_from("<I", data, 32), *struct.unpack_from("<2H", data, 46)
    sizes = {"flash": 0, "ram": 0}
    for index in range(count):
        _, kind, flags, _, _, length = struct.unpack_from("<6I", data, offset + index * size)
        if flags & ALLOCATED:
            sizes["flash"] += length if kind == PROGBITS else 0
            sizes["ram"] += length if flags & WRITABLE else 0
    return sizes


def _find_source(board: Board, name: str) -> Path:
    """A file of the board's own folder, or one that boards share."""
    for folder in (board.folder, BOARDS):
        if (folder / name).is_file():
            return folder / name
    raise NmbrlError(f"{board.name}: there is no {name} in {board.folder}, and none that boards share")


def _digest(arguments: list[str], folders: Iterable[Path]) -> str:
    """A name for what the compiler would make of these arguments, from the content of all files it may read."""
    digest = hashlib.sha256(repr((sys.version_info[:2], _compiler_version(), arguments)).encode())
    for path in sorted(file for folder in folders for file in folder.iterdir() if file.suffix in SUFFIXES):
        digest.update(f"{path}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _compiler_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ziglang")
    except PackageNotFoundError as error:
        raise NmbrlError("building firmware needs a compiler: pip install 'nmbrl[hil]'") from error


def _compile(arguments: list[str], board: Board) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "firmware.elf"
        command = [sys.executable, "-m", "ziglang", "cc", *arguments, "-o", str(output)]
        # Linker scripts include each other relative to the working directory.
        done = subprocess.run(command, capture_output=True, text=True, cwd=BOARDS)
        if done.returncode != 0:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
            raise NmbrlError(f"the firmware for {board.name} does not compile: {first}")
        return output.read_bytes()
