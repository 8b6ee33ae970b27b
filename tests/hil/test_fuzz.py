"""The firmware under the address and undefined-behaviour sanitizers, fed with what no host would send."""

import subprocess
from pathlib import Path

import pytest

from .host_board import FIRMWARE, LOOP, compile_host, firmware_arguments

# The million of the project's bar takes minutes: `fuzz_firmware.c` is run with it by hand.
FRAMES = 20_000
FUZZER = Path(__file__).parent / "fuzz_firmware.c"
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def fuzzer(small_c: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("fuzz") / "fuzz"
    arguments = ("-DNMBRL_WITH_MODEL", FUZZER, *firmware_arguments(small_c[0]))
    return compile_host(program, *SANITIZERS, *arguments, compiler=("gcc",))


@pytest.mark.parametrize("seed", [0, 1])
def test_no_frame_harms_or_silences_the_firmware(fuzzer: Path, seed: int) -> None:
    done = subprocess.run([fuzzer, str(FRAMES), str(seed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{FRAMES} frames\n"


def test_the_sanitizers_are_on(tmp_path: Path) -> None:
    """A decoder without its bound must be caught: else the test above could not fail."""
    frame = LOOP[0].read_text()
    bound = "if (decoder->length < NMBRL_MAX_FRAME) {"
    assert frame.count(bound) == 1
    (tmp_path / "frame.c").write_text(frame.replace(bound, "if (decoder->length < 100 * NMBRL_MAX_FRAME) {"))
    sources = (FUZZER, *LOOP[1:], tmp_path / "frame.c", FIRMWARE / "no_model.c")
    program = compile_host(tmp_path / "fuzz", *SANITIZERS, f"-I{FIRMWARE}", *sources, compiler=("gcc",))
    done = subprocess.run([program, "2000", "0"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "runtime error" in done.stderr or "AddressSanitizer" in done.stderr
