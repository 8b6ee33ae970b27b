"""Frames of every bad sort into the firmware on this machine, under the address and undefined-behaviour sanitizers."""

import subprocess
import time
from pathlib import Path
from typing import Any

from nmbrl.targets.compiler import FLOAT_FLAGS, run_compiler
from nmbrl.targets.errors import NmbrlError

ROOT = Path(__file__).parents[1]
FIRMWARE = ROOT / "hil" / "firmware"
HARNESS = ROOT / "tests" / "hil"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-g")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# The compiler that ships the sanitizers' libraries.
COMPILER = ("gcc",)


def build_fuzzer(program: Path, bundle: Path | None, frame: Path = FIRMWARE / "frame.c") -> Path:
    """Compile `fuzz_firmware.c` with the firmware.

    Args:
        program: to write.
        bundle: directory of a C bundle; None for firmware without a model.
        frame: the codec.
    """
    sources = [HARNESS / "fuzz_firmware.c", HARNESS / "host_board.c", FIRMWARE / "loop.c", frame]
    flags = [*FLAGS, *SANITIZERS, *FLOAT_FLAGS, f"-I{FIRMWARE}"]
    if bundle is None:
        sources.append(FIRMWARE / "no_model.c")
    else:
        sources += [FIRMWARE / "controller.c", *sorted(bundle.glob("*.c"))]
        flags += ["-DNMBRL_WITH_MODEL", f"-I{bundle}"]
    run_compiler([*flags, *map(str, sources), "-o", str(program)], COMPILER)
    return program


def fuzz(program: Path, frames: int, seed: int) -> dict[str, Any]:
    """Send that many frames; return what the fuzzer counted (its head says what it checks), and the seconds it took.

    Raises:
        NmbrlError: with the first complaint of the sanitizer or the fuzzer.
    """
    begun = time.monotonic()
    done = subprocess.run([program, str(frames), str(seed)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip("= ")] or [f"status {done.returncode}"]
        raise NmbrlError(f"fuzzing with seed {seed}: {lines[0]}")
    counts = dict(line.split() for line in done.stdout.splitlines())
    return {"seed": seed, **{name: int(count) for name, count in counts.items()}, "seconds": time.monotonic() - begun}
