"""Exact instruction counts on an emulated board: of the model's functions by its clock, of the code by a plugin."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.hil.client import Client
from nmbrl.hil.executor import FUNCTIONS, BoardExecutor
from nmbrl.hil.qemu import instructions
from nmbrl.targets.bundle import Bundle
from nmbrl.targets.compiler import build_library
from nmbrl.targets.errors import NmbrlError

PLUGIN = Path(__file__).parent / "emulator" / "count.c"
# Rows that advance together in the C runtime (NMBRL_MAX_BATCH).
BATCH = 24


def count_functions(bundle: Bundle, client: Client) -> dict[str, dict[str, Any]]:
    """Count the instructions of the model's functions on random int8 rows, exact to a tick of the board's clock.

    Returns:
        For each function its MACs a row, and instructions a row, of one row alone and of `BATCH` rows together.
    """
    executor = BoardExecutor(bundle, client)
    tick_hz = client.connect().tick_hz
    random = np.random.default_rng(0)
    counted: dict[str, dict[str, Any]] = {}
    for function in FUNCTIONS:
        counted[function] = {"macs": bundle.measured["macs"][function]}
        for name, rows in (("single", 1), ("batch", BATCH)):
            before = executor.ticks[function]
            sizes = bundle.interface.input_sizes(function)
            executor.call_integers(
                function, {given: random.integers(-128, 128, (rows, size), np.int8) for given, size in sizes.items()}
            )
            counted[function][name] = instructions(executor.ticks[function] - before, tick_hz) / rows
    return counted


class CodeCounter:
    """Has QEMU count the executed instructions of every function of the firmware.

    Functions that the compiler has inlined count as those that they are part of.

    Args:
        folder: for the counts; it must stay until they are read.

    Raises:
        NmbrlError: if the plugin does not compile.
    """

    def __init__(self, folder: Path) -> None:
        self._counts = folder / "counts"
        self._plugin = build_library({PLUGIN.name: PLUGIN.read_text()})

    @property
    def arguments(self) -> tuple[str, ...]:
        """What QEMU is to be started with."""
        # A comma would begin the plugin's next argument.
        file, out = (str(path).replace(",", ",,") for path in (self._plugin, self._counts))
        return "-plugin", f"{file},out={out}"

    def read(self) -> dict[str, int]:
        """Instructions by function since the emulator was started, most first; once it has ended.

        Raises:
            NmbrlError: if the emulator did not end by itself and left no counts.
        """
        try:
            lines = self._counts.read_text().splitlines()
        except FileNotFoundError as error:
            raise NmbrlError("the emulator ended without writing its counts") from error
        counts: Counter[str] = Counter()
        for line in lines:
            count, _, name = line.partition(" ")
            counts[name] += int(count)
        return dict(counts.most_common())
