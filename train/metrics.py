"""What a training reports as it goes: lines of JSON, and TensorBoard events."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from nmbrl.targets.errors import NmbrlError
from nmbrl.train.run import METRICS

EVENTS = "events"


class Means:
    """Means of figures over the updates since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one update."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the means and begin anew."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means


class MetricsLog:
    """Writes ``metrics.jsonl`` and TensorBoard events of a run.

    Args:
        directory: of the run.
        frames: where training continues; events from there on that a killed training wrote are hidden.
    """

    def __init__(self, directory: Path, frames: int) -> None:
        self._path = directory / METRICS
        self._events = SummaryWriter(str(directory / EVENTS), purge_step=frames + 1 if frames else None)

    @property
    def size(self) -> int:
        """Bytes of ``metrics.jsonl`` so far."""
        return self._path.stat().st_size if self._path.exists() else 0

    def write(self, kind: str, frames: int, figures: Mapping[str, Any]) -> None:
        """Add a line ``{"kind": kind, "frames": frames, **figures}``; its numbers are also events at `frames`.

        Raises:
            NmbrlError: if it cannot be written.
        """
        line = json.dumps({"kind": kind, "frames": frames, **figures})
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
            for name, value in figures.items():
                if isinstance(value, (int, float)) and math.isfinite(value):
                    self._events.add_scalar(name if "/" in name else f"{kind}/{name}", value, frames)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Write out what is buffered.

        Raises:
            NmbrlError: if it cannot be written.
        """
        try:
            self._events.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> NmbrlError:
        return NmbrlError(f"cannot write {self._path.parent}: {error.strerror or error}; its checkpoint is unchanged")
