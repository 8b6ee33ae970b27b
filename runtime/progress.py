"""Progress of a closed loop: a live line on a terminal, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nmbrl.runtime import closed_loop

# Seconds between plain lines.
PERIOD = 10.0


@contextmanager
def episode_progress(total: int) -> Iterator[closed_loop.Progress]:
    """Show how far `total` episodes are; give the callback for `nmbrl.runtime.closed_loop.run_episodes`."""
    ended = 0

    def describe(episodes: Sequence[closed_loop.Episode], running: int) -> str:
        nonlocal ended
        now = ended + len(episodes) - running
        if not running:
            ended = now
        decisions = max(len(episode.actions) for episode in episodes)
        mean = np.mean([episode.total for episode in episodes])
        return f"decision {decisions}, {now} of {total} episodes ended, mean return so far {mean:.1f}"

    if sys.stderr.isatty():
        columns = (BarColumn(pulse_style="cyan"), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as display:
            task = display.add_task("starting", total=None)
            yield lambda episodes, running: display.update(task, description=describe(episodes, running))
        return
    last = time.monotonic()

    def line(episodes: Sequence[closed_loop.Episode], running: int) -> None:
        nonlocal last
        text = describe(episodes, running)
        if time.monotonic() - last > PERIOD:
            last = time.monotonic()
            click.echo(text, err=True)

    yield line
