"""The kernels of each core, run on its emulated board, against their definitions in plain C: no element differs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmbrl.convert.c.sources import kernel_sources, runtime_sources
from nmbrl.hil.board import BOARDS, find_board
from nmbrl.hil.build import FIRMWARE, FLAGS
from nmbrl.hil.qemu import QemuLink

CHECK = Path(__file__).with_name("kernels.c")


def build(name: str, folder: Path) -> Path:
    """Link the check, the kernels and what a board starts with."""
    board = find_board(name)
    sources = {**runtime_sources(), **kernel_sources()}
    needed = {*kernel_sources(), "random.c", "real.c", "nmbrl_random.h", "nmbrl_real.h"}
    for file in needed:
        (folder / file).write_text(sources[file])
    units = [CHECK, *(folder / file for file in sorted(needed) if file.endswith(".c")), FIRMWARE / "libc" / "string.c"]
    units += [path if (path := board.folder / source).is_file() else BOARDS / source for source in board.sources]
    units.append(BOARDS / "semihosting" / "port.c")
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", board.target, f"-mcpu={board.cpu}", *FLAGS),
        *("-isystem", FIRMWARE / "libc", f"-I{FIRMWARE}", f"-I{BOARDS}/cortex_m", f"-I{BOARDS}/cmsdk", f"-I{folder}"),
        *("-T", board.folder / "board.ld", *units, "-o", folder / "check.elf"),
    ]
    subprocess.run(list(map(str, command)), check=True, cwd=BOARDS)
    return folder / "check.elf"


@pytest.mark.parametrize("name", ["mps2-an386", "mps2-an500", "mps3-an547"])
def test_kernels_of_a_core_are_equal_to_plain_c(name: str, tmp_path: Path) -> None:
    link = QemuLink(find_board(name), build(name, tmp_path), semihosting=True)
    said, end = b"", time.monotonic() + 120
    while not said.endswith(b"\n") and time.monotonic() < end:
        said += link.read(1.0)
    link.close()
    compared, differing = map(int, said.split())
    assert compared > 2_000_000
    assert differing == 0
