"""Links: bytes to and from a board, over a serial port or to an emulator."""

import os
import select
import time
from abc import ABC, abstractmethod

from nmbrl.targets.errors import NmbrlError


class LinkLostError(NmbrlError):
    """The other end is gone: a port unplugged, an emulator ended."""


class Link(ABC):
    """A stream of bytes in both directions that may lose, change and delay them."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    @abstractmethod
    def read(self, timeout: float) -> bytes:
        """Return what has arrived, waiting up to `timeout` seconds for a first byte; empty if none came."""

    @abstractmethod
    def restart_board(self) -> None:
        """Restart the board from outside, as its reset button would."""

    def close(self) -> None:  # noqa: B027 - a link may have nothing to release
        """Release the port or end the emulator."""


class SerialLink(Link):
    """A board at a serial port.

    Args:
        port: device name, e.g. ``/dev/ttyACM0``.
        baud: symbols a second.

    Raises:
        NmbrlError: if the port cannot be opened, or pyserial is not installed.
    """

    def __init__(self, port: str, baud: int = 115200) -> None:
        try:
            import serial
        except ModuleNotFoundError as error:
            raise NmbrlError("a serial port needs pyserial: pip install 'nmbrl[hil]'") from error
        try:
            self._port = serial.Serial(port, baud, timeout=0)
        except (serial.SerialException, ValueError) as error:
            raise NmbrlError(
                f"cannot open {port}: {error}; see the ports with python -m serial.tools.list_ports"
            ) from error
        self._errors = (serial.SerialException, OSError)

    def write(self, data: bytes) -> None:
        """See `Link.write`."""
        try:
            self._port.write(data)
        except self._errors as error:
            raise LinkLostError(f"{self._port.port} is gone: {error}") from error

    def read(self, timeout: float) -> bytes:
        """See `Link.read`."""
        try:
            self._port.timeout = max(timeout, 0)
            first = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except self._errors as error:
            raise LinkLostError(f"{self._port.port} is gone: {error}") from error

    def restart_board(self) -> None:
        """Pulse DTR, which boards with a serial bootloader wire to their reset."""
        self._port.dtr = False
        time.sleep(0.05)
        self._port.dtr = True

    def close(self) -> None:
        """See `Link.close`."""
        self._port.close()


class DescriptorLink(Link):
    """A link over file descriptors (a socket, FIFOs), which it closes; subclasses know how to restart the board."""

    def __init__(self, from_board: int, to_board: int) -> None:
        self._from_board = from_board
        self._to_board = to_board

    def write(self, data: bytes) -> None:
        """See `Link.write`."""
        try:
            while data:
                data = data[os.write(self._to_board, data) :]
        except OSError as error:
            raise LinkLostError(f"the board is gone: {error.strerror}") from error

    def read(self, timeout: float) -> bytes:
        """See `Link.read`."""
        ready, _, _ = select.select([self._from_board], [], [], max(timeout, 0))
        if not ready:
            return b""
        try:
            data = os.read(self._from_board, 65536)
        except OSError as error:
            raise LinkLostError(f"the board is gone: {error.strerror}") from error
        if not data:
            raise LinkLostError("the board is gone: it closed the connection")
        return data

    def close(self) -> None:
        """See `Link.close`."""
        for descriptor in {self._from_board, self._to_board}:
            os.close(descriptor)
