"""The firmware's message loop, controller, model and planner, built for this machine: a board in the test's process."""

import ctypes
import shutil
import subprocess
import sys
from _ctypes import dlclose
from pathlib import Path

from nmbrl.hil.links import Link
from nmbrl.targets.compiler import FLOAT_FLAGS

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "hil" / "firmware"
LOOP = (FIRMWARE / "frame.c", FIRMWARE / "loop.c", Path(__file__).parent / "host_board.c")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")


def compile_host(output: Path, *arguments: str | Path, compiler: tuple[str, ...] = ()) -> Path:
    """Build C sources for this machine, by default with the compiler that builds the firmware."""
    command = compiler or (sys.executable, "-m", "ziglang", "cc")
    done = subprocess.run([*command, *STRICT, *map(str, arguments), "-o", str(output)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def firmware_arguments(bundle: Path) -> list[str | Path]:
    """What to compile and where to look for headers."""
    sources = [*LOOP, FIRMWARE / "controller.c", *sorted(bundle.glob("*.c"))]
    return [*FLOAT_FLAGS, f"-I{FIRMWARE}", f"-I{bundle}", *sources]


class HostBoard(Link):
    """A link to firmware in this process; a restart loads it afresh."""

    def __init__(self, library: Path) -> None:
        self._path = library
        self._library: ctypes.CDLL | None = None
        self._starts = 0
        self._answers = b""
        self._load()

    def _load(self) -> None:
        if self._library is not None:
            dlclose(self._library._handle)
        # A name of its own for each start: else the loader would hand out the old one with its memory.
        self._starts += 1
        copy = self._path.with_name(f"{self._path.stem}-{id(self)}-{self._starts}.so")
        shutil.copy(self._path, copy)
        self._library = ctypes.CDLL(str(copy))
        copy.unlink()
        self._library.host_exchange.restype = ctypes.c_size_t
        self._out = ctypes.create_string_buffer(1 << 16)
        self._library.nmbrl_loop_start()
        self.write(b"")

    def write(self, data: bytes) -> None:
        length = self._library.host_exchange(data, ctypes.c_size_t(len(data)), self._out)
        self._answers += self._out.raw[:length]
        if self._library.host_resets():
            self._load()

    def read(self, timeout: float) -> bytes:
        answers, self._answers = self._answers, b""
        return answers

    def restart_board(self) -> None:
        self._answers = b""
        self._load()

    def close(self) -> None:
        if self._library is not None:
            dlclose(self._library._handle)
            self._library = None
