import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from .host_board import FIRMWARE, HostBoard, compile_host, firmware_arguments


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


@pytest.fixture(scope="session")
def host_firmware(small_c: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware with the small model as a library of this machine."""
    library = tmp_path_factory.mktemp("firmware") / "firmware.so"
    return compile_host(library, "-O2", "-shared", "-fPIC", *firmware_arguments(small_c[0]))


@pytest.fixture
def host_board(host_firmware: Path) -> Iterator[HostBoard]:
    """A board in this process, just started."""
    link = HostBoard(host_firmware)
    yield link
    link.close()
