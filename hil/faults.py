"""Faults put into a link on purpose: what a bad cable, a busy bus and a brown-out do to a conversation."""

import time
from collections import Counter

import numpy as np
from pydantic import Field, ValidationError

from nmbrl.hil.links import Link
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Frozen


class Faults(Frozen):
    """How likely each fault is.

    Attributes:
        loss: of a frame, in either direction, to vanish.
        bitflip: of each bit on the wire to change.
        late: of a frame from the board to be held back until the next one comes.
        reset: of the board to restart, for each decision.
        hang: of the board to fall silent until it is restarted from outside, for each decision.
    """

    loss: float = Field(default=0.0, ge=0, le=1)
    bitflip: float = Field(default=0.0, ge=0, le=1)
    late: float = Field(default=0.0, ge=0, le=1)
    reset: float = Field(default=0.0, ge=0, le=1)
    hang: float = Field(default=0.0, ge=0, le=1)


def parse_faults(text: str) -> Faults:
    """Read ``loss=0.1,bitflip=1e-4,late=0.05,reset=0.001,hang=0.001``.

    Raises:
        NmbrlError: naming what cannot be read.
    """
    given: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name.strip() not in Faults.model_fields:
            raise NmbrlError(f"--faults {part!r}: give NAME=PROBABILITY with {', '.join(Faults.model_fields)}")
        if name.strip() in given:
            raise NmbrlError(f"--faults {name.strip()}: given twice")
        given[name.strip()] = value
    try:
        return Faults(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise NmbrlError(
            f"--faults {first['loc'][0]}: a probability is between 0 and 1, not {first['input']!r}"
        ) from error


class FaultyLink(Link):
    """A link with faults, drawn from a seed.

    Args:
        link: the sound one.
        faults: how likely each is.
        seed: of the random numbers.

    Attributes:
        counts: what was done: ``frames_lost``, ``frames_damaged``, ``bits_flipped``, ``frames_held_back``,
            ``restarts`` and ``hangs``.
    """

    def __init__(self, link: Link, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.counts: Counter[str] = Counter()
        self._link = link
        self._random = np.random.default_rng(seed)
        self._pending = b""
        self._held = b""
        self._hanging = False

    def write(self, data: bytes) -> None:
        """See `Link.write`; `data` is one frame."""
        if self._hanging:
            return
        data = self._spoil(data)
        if data:
            self._link.write(data)

    def read(self, timeout: float) -> bytes:
        """See `Link.read`; frames come whole, so that a lost one leaves nothing behind."""
        if self._hanging:
            time.sleep(timeout)
            return b""
        *complete, self._pending = (self._pending + self._link.read(timeout)).split(b"\0")
        passed = b""
        for piece in filter(None, complete):
            frame = b"\0" + piece + b"\0"
            if self._happens(self.faults.late):
                self.counts["frames_held_back"] += 1
                self._held += frame
            else:
                held, self._held = self._held, b""
                passed += (self._spoil(held) if held else b"") + self._spoil(frame)
        return passed

    def before_decision(self) -> None:
        """Restart the board or let it hang, if that is what happens now."""
        if self._happens(self.faults.reset):
            self.counts["restarts"] += 1
            self.restart_board()
        if not self._hanging and self._happens(self.faults.hang):
            self.counts["hangs"] += 1
            self._hanging = True

    def restart_board(self) -> None:
        """See `Link.restart_board`."""
        self._hanging = False
        self._pending = self._held = b""
        self._link.restart_board()

    def close(self) -> None:
        """See `Link.close`."""
        self._link.close()

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _spoil(self, frame: bytes) -> bytes:
        """What is left of a frame on its way: nothing, if it is lost."""
        if self._happens(self.faults.loss):
            self.counts["frames_lost"] += 1
            return b""
        flips = self._random.binomial(8 * len(frame), self.faults.bitflip) if self.faults.bitflip else 0
        if not flips:
            return frame
        self.counts["frames_damaged"] += 1
        self.counts["bits_flipped"] += int(flips)
        damaged = np.frombuffer(frame, np.uint8).copy()
        for bit in self._random.choice(8 * len(frame), flips, replace=False):
            damaged[bit // 8] ^= np.uint8(1 << bit % 8)
        return damaged.tobytes()
