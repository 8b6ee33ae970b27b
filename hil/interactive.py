"""Watching a board at work in the terminal, and a hand on the plant: keys push it, or drive it instead of the board."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from nmbrl.hil.client import Client
from nmbrl.hil.closed_loop import Loop
from nmbrl.hil.controller import BoardController
from nmbrl.hil.evaluation import SEED_STRIDE, Setting
from nmbrl.hil.faults import Faults, FaultyLink
from nmbrl.hil.links import Link
from nmbrl.hil.picture import draw_plant
from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.environment import check_task
from nmbrl.runtime.perturbation import make_environment
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Task

# Pace of an onlooker, when no deadline is given.
PACE_S = 0.05
KEYS = {
    b"\x1b[D": "left",
    b"a": "left",
    b"\x1b[C": "right",
    b"d": "right",
    b"m": "drive",
    b"r": "restart",
    b"q": "quit",
}
HELP = "left, right: push   m: drive by hand or let the board drive   r: new episode   q: quit"


class StopError(Exception):
    """The onlooker ends the session."""


@dataclass
class Hand:
    """What keys do to actions.

    Attributes:
        task: its kind and size of actions; keys move the first dimension, or the choice of a discrete action.
        strength: of a push on a box action.
        lasting: decisions that a push lasts.
        driving: whether the board's action is left aside.
        restarting: whether the episode is to end.
    """

    task: Task
    strength: float = 0.7
    lasting: int = 3
    driving: bool = False
    restarting: bool = False
    _push: float = 0.0
    _left: int = 0

    def press(self, key: str) -> None:
        """Take a key: a value of `KEYS`.

        Raises:
            StopError: on ``quit``.
        """
        if key == "quit":
            raise StopError
        if key == "drive":
            self.driving = not self.driving
        elif key == "restart":
            self.restarting = True
        else:
            self._push = -self.strength if key == "left" else self.strength
            self._left = self.lasting

    def change(self, action: Array) -> Array:
        """Return the action that the plant gets: the board's and the hand's together, or the hand's alone."""
        push, self._left = (self._push, self._left - 1) if self._left else (0.0, 0)
        if self.task.action_kind == "discrete":
            if not push and not self.driving:
                return action
            chosen = 0 if push <= 0 else self.task.action_size - 1
            return np.eye(self.task.action_size, dtype=np.float32)[chosen]
        changed = np.zeros_like(action) if self.driving else action.copy()
        changed[0] = np.clip(changed[0] + push, -1.0, 1.0)
        return changed


@contextmanager
def _keyboard() -> Iterator[int]:
    """Give the terminal's descriptor with keys arriving at once and unseen."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    # At once: keys that were typed ahead are kept.
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_keys(descriptor: int) -> list[str]:
    """Return the keys of `KEYS` that were pressed since the last call, in order."""
    if not select.select([descriptor], [], [], 0)[0]:
        return []
    typed = os.read(descriptor, 64)
    pressed = []
    while typed:
        code = next((code for code in KEYS if typed.startswith(code)), typed[:1])
        typed = typed[len(code) :]
        if code in KEYS:
            pressed.append(KEYS[code])
    return pressed


def check_terminal() -> None:
    """Refuse to go on without a terminal.

    Raises:
        NmbrlError: if there is none.
    """
    if not sys.stdin.isatty():
        raise NmbrlError("--interactive needs a terminal")


def drive(link: Link, task: Task, setting: Setting) -> str:
    """Run episodes in real time before an onlooker's eyes until they quit.

    Returns:
        What happened, in a line.

    Raises:
        NmbrlError: if there is no terminal, or the board is gone.
    """
    check_terminal()
    faulty = FaultyLink(link, setting.faults or Faults(), setting.seed)
    controller = BoardController(Client(faulty), setting.planner, setting.options, setting.watchdog_s)
    returns: list[float] = []
    hand = Hand(task)
    env = setting.env or task.env
    with (
        closing(make_environment(env, task.action_repeat, setting.perturbation or {})) as environment,
        _keyboard() as descriptor,
        Live(console=Console(), auto_refresh=False, transient=True) as live,
    ):
        check_task(task, environment)
        loop = Loop(controller, environment, setting.deadline_s or PACE_S, before_decision=faulty.before_decision)

        def show(episode: Episode) -> None:
            for key in read_keys(descriptor):
                hand.press(key)
            title = f"{env} on {controller.identity.name}, {'by hand' if hand.driving else setting.planner}"
            state = f"return {episode.total:7.1f}   safe actions {loop.log.fallbacks}   decision {len(episode.actions)}"
            picture = "\n".join(draw_plant(env, episode.observations[-1], episode.actions[-1]))
            live.update(Panel(Group(Text(picture), Text(state), Text(HELP, style="dim")), title=title), refresh=True)

        loop.change_action = hand.change
        loop.on_step = show
        loop.stop = lambda: hand.restarting
        try:
            for count in range(sys.maxsize):
                hand.restarting = False
                returns.append(loop.run_episode(setting.seed + SEED_STRIDE * count).total)
        except StopError:
            pass
    ended = ", ".join(f"{total:.1f}" for total in returns)
    decisions = len(loop.log.decision_ms) + loop.log.fallbacks
    safe = f"{loop.log.fallbacks} of {decisions} decisions were the safe action"
    return f"returns {ended}; {safe}" if ended else safe
