import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "hil" / "firmware"


def compile_host(output: Path, *arguments: str | Path) -> Path:
    """Build C sources for this machine with the compiler that builds the firmware."""
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    done = subprocess.run([*command, *map(str, arguments), "-o", str(output)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


class CDecoder(ctypes.Structure):
    """`nmbrl_frame_decoder` of frame.h."""

    _fields_ = (
        ("raw", ctypes.c_uint8 * 2055),
        ("length", ctypes.c_size_t),
        ("code", ctypes.c_uint8),
        ("left", ctypes.c_uint8),
        ("too_long", ctypes.c_uint8),
        ("kind", ctypes.c_uint8),
        ("sequence", ctypes.c_uint16),
        ("body", ctypes.POINTER(ctypes.c_uint8)),
        ("body_length", ctypes.c_size_t),
    )


@pytest.fixture(scope="session")
def c_frames(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The firmware's frame.c as a library of this machine."""
    library = compile_host(tmp_path_factory.mktemp("c") / "frame.so", "-O2", "-shared", "-fPIC", FIRMWARE / "frame.c")
    loaded = ctypes.CDLL(str(library))
    loaded.nmbrl_crc32.restype = ctypes.c_uint32
    loaded.nmbrl_crc32.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    loaded.nmbrl_frame_encode.restype = ctypes.c_size_t
    loaded.nmbrl_frame_encode.argtypes = [
        ctypes.c_uint8,
        ctypes.c_uint16,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
    ]
    loaded.nmbrl_frame_push.argtypes = [ctypes.POINTER(CDecoder), ctypes.c_uint8]
    return loaded
