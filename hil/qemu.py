"""Boards emulated by QEMU: the firmware's serial port is a socket or FIFOs, and time is counted in instructions.

QEMU has no timing model: with ``-icount`` the emulated clock advances by a fixed time for every instruction, so that
the board's ticks are exact instruction counts and no latencies.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from nmbrl.hil.board import Board
from nmbrl.hil.links import DescriptorLink, LinkLostError
from nmbrl.targets.errors import NmbrlError

PROGRAM = "qemu-system-arm"
# An instruction takes 2^6 ns of emulated time: between one and three ticks of these boards' clocks, so that a count of
# ticks tells the count of instructions.
ICOUNT_SHIFT = 6
TIMEOUT_S = 20.0


def instructions(ticks: float, tick_hz: int) -> float:
    """Turn a difference of the board's ticks into instructions, exact to a tick at either end."""
    return ticks * 1e9 / (tick_hz * 2**ICOUNT_SHIFT)


def check_emulation(board: Board) -> str:
    """Return QEMU's name of a board.

    Raises:
        NmbrlError: if the board has no emulation, or QEMU is missing.
    """
    if board.qemu is None:
        raise NmbrlError(f"{board.name} has no emulation; connect the board and give its --port")
    if shutil.which(PROGRAM) is None:
        raise NmbrlError(f"emulating a board needs {PROGRAM}: sudo apt-get install qemu-system-arm")
    return board.qemu.machine


class QemuLink(DescriptorLink):
    """Starts firmware on an emulated board and is the link to its serial port.

    Args:
        board: must have an emulation.
        firmware: ELF file.
        semihosting: whether the firmware was built to talk through FIFOs instead of the UART.
        arguments: further arguments for QEMU.

    Raises:
        NmbrlError: if QEMU is missing or does not start.
    """

    def __init__(
        self, board: Board, firmware: Path, semihosting: bool = False, arguments: tuple[str, ...] = ()
    ) -> None:
        machine = check_emulation(board)
        self._semihosting = semihosting
        self._folder = tempfile.TemporaryDirectory(prefix="nmbrl-")
        folder = Path(self._folder.name)
        control = _listen(folder / "control")
        if semihosting:
            os.mkfifo(folder / "to")
            os.mkfifo(folder / "from")
            # Opened for both directions, so that neither side waits for the other and a restart breaks nothing.
            super().__init__(os.open(folder / "from", os.O_RDWR), os.open(folder / "to", os.O_RDWR))
            port = ["-serial", "none", "-semihosting-config", f"enable=on,target=native,arg={folder}"]
        else:
            serial = _listen(folder / "serial")
            port = ["-serial", f"unix:{folder}/serial"]
        self._process = subprocess.Popen(
            [
                *(PROGRAM, "-M", machine, "-kernel", str(firmware)),
                *("-display", "none", "-monitor", "none", "-icount", f"shift={ICOUNT_SHIFT}"),
                *("-qmp", f"unix:{folder}/control", *port, *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stderr=(folder / "complaint").open("w"),
        )
        try:
            if not semihosting:
                connection = self._accept(serial).detach()
                super().__init__(connection, connection)
            self._control = self._accept(control)
            self._command("qmp_capabilities")
        except LinkLostError as error:
            self._process.kill()
            self._process.wait()
            complaint = (folder / "complaint").read_text().strip().splitlines()
            raise NmbrlError(f"{PROGRAM} does not start: {(complaint or [str(error)])[0]}") from error

    def restart_board(self) -> None:
        """Reset the emulated machine; what its serial port held is lost."""
        self._command("system_reset")

    def close(self) -> None:
        """End the emulator; it is asked first, so that its plugins can finish."""
        try:
            self._command("quit")
            self._process.wait(TIMEOUT_S)
        except (LinkLostError, subprocess.TimeoutExpired):
            self._process.kill()
        super().close()
        self._process.wait()
        self._control.close()
        self._folder.cleanup()

    def _accept(self, listener: socket.socket) -> socket.socket:
        with listener:
            deadline = time.monotonic() + TIMEOUT_S
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    return listener.accept()[0]
                except TimeoutError:
                    continue
        raise LinkLostError(f"no connection in {TIMEOUT_S:.0f} s")

    def _command(self, name: str) -> None:
        """Run one command of the QEMU Machine Protocol, whose answers are lines; greeting and events are left aside."""
        deadline = time.monotonic() + TIMEOUT_S
        answers = b""
        try:
            self._control.sendall(json.dumps({"execute": name}).encode() + b"\n")
            while b'"return"' not in answers:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise LinkLostError(f"{PROGRAM} is gone or does not answer to {name}")
                if self._semihosting:
                    # Waiting for a byte from its FIFO the emulator does nothing else: wake it.
                    self.write(b"\0")
                if select.select([self._control], [], [], 0.001 if self._semihosting else 0.1)[0]:
                    answers += self._control.recv(65536)
        except OSError as error:
            raise LinkLostError(f"{PROGRAM} is gone: {error.strerror}") from error


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    listener.settimeout(0.1)
    return listener
