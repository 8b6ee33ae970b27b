"""How a training shows itself: a live line on a terminal, a plain line now and then elsewhere."""

import sys
import time
from dataclasses import dataclass
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


@dataclass
class Status:
    """What is shown.

    Attributes:
        frames: collected so far.
        updates: made so far.
        phase: what is going on.
        collected: mean return of the running or last round.
        evaluated: mean return of the last evaluation.
        best: that of the kept policy.
    """

    frames: int = 0
    updates: int = 0
    phase: str = "starting"
    collected: float | None = None
    evaluated: float | None = None
    best: float | None = None


class Display:
    """Shows the status of a training on standard error; a context manager.

    Args:
        frames: at which training ends.
        period: least seconds between plain lines.
    """

    def __init__(self, frames: int, period: float = 10.0) -> None:
        self._frames = frames
        self._period = period
        self._live = sys.stderr.isatty()
        columns = (TextColumn("{task.percentage:3.0f} %"), BarColumn(24), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not self._live)
        self._task = self._progress.add_task("starting", total=frames)
        self._first: tuple[float, int, int] | None = None
        self._printed = time.monotonic()

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, status: Status, force: bool = False) -> None:
        """Show a status; off a terminal only now and then, or if `force` is set."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, status.frames, status.updates
        if self._live:
            self._progress.update(self._task, completed=status.frames, description=self._describe(status, now))
        elif force or now - self._printed > self._period:
            self._printed = now
            click.echo(f"{status.frames} of {self._frames} frames: {self._describe(status, now)}", err=True)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._live:
            self._progress.console.print(line, highlight=False, markup=False)
        else:
            click.echo(line, err=True)

    def _describe(self, status: Status, now: float) -> str:
        assert self._first is not None
        start, frames, updates = self._first
        seconds = now - start
        parts = [status.phase]
        for name, value in (("return", status.collected), ("evaluated", status.evaluated), ("best", status.best)):
            if value is not None:
                parts.append(f"{name} {value:.1f}")
        if status.updates > updates and seconds > 0:
            parts.append(f"{(status.updates - updates) / seconds:.1f} updates/s")
        if status.frames > frames and status.updates > updates:
            left = seconds / (status.frames - frames) * max(0, self._frames - status.frames)
            parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        return ", ".join(parts)
