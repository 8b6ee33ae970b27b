"""The C compiler of this machine: the system's own, or the one that `ziglang` (PyPI) brings."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from nmbrl.targets.errors import NmbrlError

# Floats as IEEE 754 says, one operation at a time; sqrt as an instruction.
FLOAT_FLAGS = ("-ffp-contract=off", "-fno-math-errno")
FLAGS = ("-std=c99", "-O3", "-Wall", "-Wextra", *FLOAT_FLAGS)
LIBRARY_FLAGS = ("-march=native", "-shared", "-fPIC")


@cache
def find_compiler() -> tuple[str, ...]:
    """Return the command of a C compiler: $CC, else cc, gcc or clang, else zig's.

    Raises:
        NmbrlError: if there is none.
    """
    if os.environ.get("CC"):
        return tuple(shlex.split(os.environ["CC"]))
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return (found,)
    if find_spec("ziglang"):
        return sys.executable, "-m", "ziglang", "cc"
    raise NmbrlError("there is no C compiler: install gcc, or pip install 'nmbrl[c]'")


def run_compiler(arguments: Iterable[str], compiler: tuple[str, ...] | None = None) -> str:
    """Run the compiler; return what it wrote to standard error.

    Raises:
        NmbrlError: with the first error, if it fails.
    """
    command = [*(compiler or find_compiler()), *arguments]
    done = _run(command)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise NmbrlError(f"{Path(command[0]).name} fails: {lines[0] if lines else f'status {done.returncode}'}")
    return done.stderr


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NmbrlError(f"cannot run the C compiler {command[0]}: {error.strerror or error}") from error


def build_library(sources: dict[str, str], flags: tuple[str, ...] = ()) -> Path:
    """Compile C sources to a shared library for this machine, or return the one that was built before.

    Args:
        sources: content of every .c and .h file, by name.
        flags: further compiler flags.

    Returns:
        The library, in the user's cache, named after everything it depends on.

    Raises:
        NmbrlError: if there is no compiler, or it fails.
    """
    compiler = find_compiler()
    every = (*FLAGS, *LIBRARY_FLAGS, *flags)
    key = hashlib.sha256(repr((sorted(sources.items()), every, compiler, _machine(compiler))).encode()).hexdigest()
    cache_directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nmbrl"
    library = cache_directory / f"{key[:32]}.so"
    if library.exists():
        return library
    try:
        cache_directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_directory) as directory:
            built = compile_library(sources, Path(directory), every, compiler)
            os.replace(built, library)
    except OSError as error:
        raise NmbrlError(f"cannot write {library}: {error.strerror or error}; set XDG_CACHE_HOME") from error
    return library


def compile_library(
    sources: dict[str, str], directory: Path, flags: tuple[str, ...], compiler: tuple[str, ...] | None = None
) -> Path:
    """Write sources to a directory and compile them to a shared library in it.

    Raises:
        NmbrlError: if the compiler fails.
    """
    for name, text in sources.items():
        (directory / name).write_text(text)
    library = directory / "library.so"
    units = [str(directory / name) for name in sorted(sources) if name.endswith(".c")]
    run_compiler([*flags, *units, "-o", str(library)], compiler)
    return library


@cache
def _machine(compiler: tuple[str, ...]) -> str:
    """What native code depends on beside its source: compiler version and processor."""
    version = _run([*compiler, "--version"]).stdout
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        processor = platform.processor()
    return f"{version} {platform.machine()} {processor}"
