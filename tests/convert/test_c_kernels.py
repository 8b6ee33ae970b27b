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
from nmbrl.targets.compiler import FLAGS as HOST_FLAGS
from nmbrl.targets.compiler import run_compiler

CHECK = Path(__file__).with_name("kernels.c")
# What the check needs of a board, on this machine.
HOST = """
#include <stdio.h>
#include <stdlib.h>
#include "hal.h"
void nmbrl_hal_init(void) {}
void nmbrl_hal_write(const uint8_t *data, size_t length) { fwrite(data, 1, length, stdout); }
size_t nmbrl_hal_read(uint8_t *data, size_t size) { (void)data, (void)size, exit(0); }
"""


def write_kernels(folder: Path) -> list[Path]:
    """Write the kernels and what the check draws numbers with; return all that is to compile."""
    sources = runtime_sources()
    needed = {*kernel_sources(), "random.c", "real.c", "nmbrl_random.h", "nmbrl_real.h"}
    for file in needed:
        (folder / file).write_text(sources[file])
    return [CHECK, *(folder / file for file in sorted(needed) if file.endswith(".c"))]


def build(name: str, folder: Path) -> Path:
    """Link the check, the kernels and what a board starts with."""
    board = find_board(name)
    units = [*write_kernels(folder), FIRMWARE / "libc" / "string.c"]
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


@pytest.mark.parametrize("flags", [("-DNMBRL_PORTABLE",), ("-mavx2",), ("-march=native",)], ids=lambda flags: flags[0])
def test_kernels_of_this_machine_are_equal_to_plain_c(flags: tuple[str, ...], tmp_path: Path) -> None:
    if "-mavx2" in flags and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("a processor without AVX2")
    (tmp_path / "host.c").write_text(HOST)
    units = [*write_kernels(tmp_path), tmp_path / "host.c"]
    arguments = [*HOST_FLAGS, *flags, f"-I{FIRMWARE}", f"-I{tmp_path}", *units, "-o", tmp_path / "check"]
    run_compiler([str(argument) for argument in arguments])
    done = subprocess.run([tmp_path / "check"], capture_output=True, check=True)
    compared, differing = map(int, done.stdout.split())
    assert compared > 2_000_000
    assert differing == 0
