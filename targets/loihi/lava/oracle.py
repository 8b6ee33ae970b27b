"""Runs a network in Lava, in a process of its own with a time limit, and gives every message of every population."""

import contextlib
import importlib.util
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import ARRIVING, GIVEN, LIF, Input, Network
from nmbrl.targets.loihi.storage import encode_network

# Seconds for Lava to import and build; and for one step.
START_LIMIT = 180.0
STEP_LIMIT = 5.0


class LavaOracle:
    """A network in Lava, one lane.

    Args:
        network: what to run.
        rows: most steps that one `run` takes.

    Raises:
        NmbrlError: if Lava is not installed, fails or takes too long (it waits for ever where a model raises).
    """

    def __init__(self, network: Network, rows: int) -> None:
        if importlib.util.find_spec("lava.magma") is None:
            raise NmbrlError("the simulator lava needs Lava: pip install 'nmbrl[loihi]', or choose --simulator fast")
        self._directory = Path(tempfile.mkdtemp(prefix="nmbrl-lava-"))
        self._names = [population.name for population in network.populations]
        self._row = 0
        self._values: dict[str, np.ndarray] = {}
        self._messages: dict[str, np.ndarray] = {}
        self._hosts: dict[str, np.ndarray] = {}
        self._records: dict[str, np.ndarray] = {}
        self._network = network
        for file, content in encode_network(network, "network").items():
            (self._directory / file).write_bytes(content)
        for index, population in enumerate(network.populations):
            if isinstance(population, Input):
                self._values[population.name] = self._share(f"value.{index}.npy", (population.size,))
            if isinstance(population, LIF):
                shape = (3 + network.horizon(population.name), 1 + population.size)
                self._hosts[population.name] = self._share(f"host.{index}.npy", shape)
                self._records[population.name] = self._share(f"record.{index}.npy", (rows, 2, population.size))
            self._messages[population.name] = self._share(f"messages.{index}.npy", (rows, population.size))
        self._errors = (self._directory / "errors.txt").open("wb")
        # A group of its own: Lava forks a process for each of its own, and all have to end.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "nmbrl.targets.loihi.lava.child", str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._await("start", START_LIMIT)

    def run(self, values: dict[str, Integers], steps: int) -> dict[str, Integers]:
        """Run steps.

        Args:
            values: what the host gives (size,) by place, before the first of them.
            steps: how many.

        Returns:
            By population its messages (steps, size), and by ``population/u`` and ``population/v`` the variables of
            leaky neurons after each step.

        Raises:
            NmbrlError: see the class.
        """
        for place, value in values.items():
            self._write(*self._network.locate(place, GIVEN), value)
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(f"{steps}\n".encode())
            self._child.stdin.flush()
        # The first run also compiles the network and forks its processes.
        self._await("run", STEP_LIMIT * steps + (START_LIMIT if self._row == 0 else 0.0))
        rows = (self._row + np.arange(steps)) % len(next(iter(self._messages.values())))
        self._row += steps
        found = {name: np.array(messages[rows]) for name, messages in self._messages.items()}
        for name, record in self._records.items():
            found[f"{name}/u"], found[f"{name}/v"] = np.moveaxis(record[rows], 1, 0)
        return found

    def close(self) -> None:
        """End Lava and all its processes."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._errors.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> "LavaOracle":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, name: str, variable: str, value: Integers) -> None:
        if name not in self._hosts:
            self._values[name][:] = value
            return
        behind = variable.startswith(ARRIVING)
        row = 3 + int(variable[len(ARRIVING) :] or 0) if behind else (GIVEN, "u", "v").index(variable)
        self._hosts[name][row, 1:] = value
        self._hosts[name][row, 0] = 1

    def _share(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.lib.format.open_memmap(self._directory / name, mode="w+", dtype=np.int32, shape=shape)

    def _await(self, what: str, limit: float) -> None:
        """Wait for the child's next line."""
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            end = time.monotonic() + limit
            while not selector.select(min(1.0, max(0.0, end - time.monotonic()))) and time.monotonic() < end:
                # Where a model raises, Lava says so and waits for ever.
                if b"Traceback" in (self._directory / "errors.txt").read_bytes():
                    self._fail(f"Lava failed to {what}")
            ready = selector.select(0)
        if not ready:
            self._fail(f"Lava did not {what} within {limit:.0f} s")
        if not self._child.stdout.readline():
            self._fail(f"Lava ended instead of a {what}")

    def _fail(self, problem: str) -> None:
        self._errors.flush()
        lines = (self._directory / "errors.txt").read_text(errors="replace").strip().splitlines()
        self.close()
        raise NmbrlError(f"{problem}{': ' + lines[-1] if lines else ''}")
