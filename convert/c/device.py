"""Generated sources compiled for the cores of the emulated boards: code, memory and the deepest stack, as linked."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nmbrl.convert.c.thumb import Program, read_program
from nmbrl.targets.errors import NmbrlError

# The compiler's names of the cores, as hil/boards has them.
CORES = {
    "Cortex-M4": "cortex_m4+vfp4d16sp",
    "Cortex-M7": "cortex_m7+fp_armv8d16",
    "Cortex-M55": "cortex_m55+mve_fp",
}
# What an application calls: nmbrl.h.
ENTRIES = ("nmbrl_configure", "nmbrl_reset", "nmbrl_update", "nmbrl_plan")
FLAGS = (
    *("-target", "thumb-freestanding-eabihf", "-std=c99", "-O2", "-ffreestanding", "-fno-builtin"),
    *("-fno-unwind-tables", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections", "-fstack-size-section"),
    *("-Wl,--gc-sections", f"-Wl,-e,{ENTRIES[-1]}", *(f"-Wl,-u,{name}" for name in ENTRIES[:-1])),
)
STRING_H = """#include <stddef.h>
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
"""


@dataclass(frozen=True)
class DeviceSize:
    """What a model and its planner take on a core, in bytes.

    Attributes:
        code: instructions.
        constants: weights, tables, parameters.
        variables: scratch memory and the kernels' work areas; without the planner.
        stack: the most that an entry point takes, by the call graph; interrupts come on top.
    """

    code: int
    constants: int
    variables: int
    stack: int


def device_sizes(sources: dict[str, str]) -> dict[str, DeviceSize]:
    """Return what generated sources take on each of `CORES`; nothing where `ziglang` is not installed.

    Args:
        sources: content of every .c and .h file, by name.

    Raises:
        NmbrlError: if they do not compile, recur, or call through a pointer.
    """
    if find_spec("ziglang") is None:
        return {}
    return {core: _measure(sources, core) for core in CORES}


def _measure(sources: dict[str, str], core: str) -> DeviceSize:
    program = build_program(sources, core)
    return DeviceSize(
        code=program.sizes[".text"],
        constants=program.sizes[".rodata"],
        variables=program.ram,
        stack=program.worst_stack(ENTRIES),
    )


def build_program(sources: dict[str, str], core: str) -> Program:
    """Compile and link sources for a core, without anything that starts them.

    Raises:
        NmbrlError: if they do not compile.
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for name, text in {**sources, "string.h": STRING_H}.items():
            (folder / name).write_text(text)
        units = sorted(name for name in sources if name.endswith(".c"))
        command = [sys.executable, "-m", "ziglang", "cc", f"-mcpu={CORES[core]}", *FLAGS, "-isystem", ".", *units]
        done = subprocess.run([*command, "-o", "program.elf"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[-200:])
            raise NmbrlError(f"the sources do not compile for {core}: {first}")
        return read_program(folder / "program.elf")
