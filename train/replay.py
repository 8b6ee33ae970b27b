"""The replay: what the environments went through, and batches of sequences drawn from it."""

import io
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array

Batch = dict[str, Array]
FIELDS = ("o", "a", "r", "c")


class Stretch:
    """Consecutive decisions of one episode, growing while it runs.

    Args:
        observation: the first one, raw (observation_size,).
        action_size: length of an action.
        first: whether it begins where its episode does.

    Attributes:
        length: decisions so far.
        ended: whether its last decision ended the episode in a terminal state.
    """

    def __init__(self, observation: Array, action_size: int, first: bool) -> None:
        self._o = np.zeros((65, len(observation)), np.float32)
        self._a = np.zeros((64, action_size), np.float32)
        self._r = np.zeros(64, np.float32)
        self._o[0] = observation
        self.first = first
        self.length = 0
        self.ended = False

    @classmethod
    def of(cls, arrays: Batch, first: bool) -> "Stretch":
        """Make a stretch of arrays ``o (T + 1, O)``, ``a (T, A)``, ``r (T,)`` and ``c (T,)``."""
        stretch = cls(arrays["o"][0], arrays["a"].shape[1], first)
        stretch._o, stretch._a, stretch._r = arrays["o"], arrays["a"], arrays["r"]
        stretch.length = len(arrays["a"])
        stretch.ended = bool(arrays["c"][-1] == 0)
        return stretch

    def append(self, action: Array, reward: float, ended: bool, observation: Array) -> None:
        """Add a decision and what followed it."""
        if self.length == len(self._a):
            self._o, self._a, self._r = (
                np.concatenate([array, np.zeros_like(array[: self.length])]) for array in (self._o, self._a, self._r)
            )
        self._a[self.length], self._r[self.length], self._o[self.length + 1] = action, reward, observation
        self.length += 1
        self.ended = ended

    def arrays(self) -> Batch:
        """Return ``o``, ``a``, ``r`` and ``c`` as in `of`."""
        continues = np.ones(self.length, np.float32)
        continues[-1:] = 1 - self.ended
        return {
            "o": self._o[: self.length + 1],
            "a": self._a[: self.length],
            "r": self._r[: self.length],
            "c": continues,
        }

    def windows(self, length: int) -> int:
        """Return how many sequences of `length` decisions begin in here; after a terminal state they are padded."""
        return self.length if self.ended else max(0, self.length - length + 1)

    def rewards(self, length: int) -> np.ndarray:
        """Return the sum of the rewards above zero in each of the sequences that `windows` counts."""
        starts = np.arange(self.windows(length))
        before = np.concatenate([[0.0], np.cumsum(np.maximum(self._r[: self.length], 0), dtype=np.float64)])
        return before[np.minimum(starts + length, self.length)] - before[starts]

    def read(self, start: int, batch: Batch, row: int) -> None:
        """Copy the sequence that begins at `start` to a row of a zeroed batch, repeating the terminal observation."""
        length = batch["a"].shape[1]
        stop = min(start + length, self.length)
        size = stop - start
        batch["o"][row, : size + 1] = self._o[start : stop + 1]
        batch["o"][row, size + 1 :] = self._o[stop]
        batch["a"][row, :size] = self._a[start:stop]
        batch["r"][row, :size] = self._r[start:stop]
        batch["c"][row, : size - (self.ended and stop == self.length)] = 1


class Replay:
    """All stretches, those still running included.

    Args:
        observation_size: length of an observation.
        action_size: length of an action.
        capacity: decisions kept; the oldest stretches that are closed drop out beyond that.

    Attributes:
        closed: stretches that no longer grow, oldest first.
        fresh: those of them that are not on disk yet; whoever saves them clears it.
    """

    def __init__(self, observation_size: int, action_size: int, capacity: int) -> None:
        self.observation_size = observation_size
        self.action_size = action_size
        self.capacity = capacity
        self.closed: list[Stretch] = []
        self.fresh: list[Stretch] = []
        self._open: list[Stretch] = []
        self._decisions = 0
        self._counts: dict[int, np.ndarray] = {}
        self._rewards: dict[int, np.ndarray] = {}

    @property
    def decisions(self) -> int:
        """Decisions in here."""
        return self._decisions + sum(stretch.length for stretch in self._open)

    def begin(self, observation: Array, first: bool) -> Stretch:
        """Open a stretch; it is drawn from while it grows."""
        self._open.append(Stretch(observation, self.action_size, first))
        return self._open[-1]

    def close(self, stretch: Stretch) -> None:
        """Declare that a stretch grows no more; an empty one is forgotten."""
        self._open = [other for other in self._open if other is not stretch]
        if stretch.length:
            self.fresh.append(stretch)
            self.add(stretch)

    def add(self, stretch: Stretch) -> None:
        """Take in a stretch that is complete and on disk."""
        self.closed.append(stretch)
        self._decisions += stretch.length
        while self._decisions > self.capacity and len(self.closed) > 1:
            self._decisions -= self.closed.pop(0).length
        self._counts.clear()
        self._rewards.clear()

    def sample(self, random: np.random.Generator, size: int, length: int, rewarded_share: float = 0.0) -> Batch:
        """Draw sequences uniformly from all that are `length` decisions long or end in a terminal state.

        Args:
            random: source of the draw.
            size: sequences.
            length: decisions in each.
            rewarded_share: share of the sequences that is drawn in proportion to the rewards above zero that they hold,
                if any do.

        Returns:
            ``o (size, length + 1, O)``, ``a (size, length, A)``, ``r (size, length)`` and ``c (size, length)``; ``c``
            is 0 from the decision on that ended an episode, and what follows that one is padding.

        Raises:
            NmbrlError: if there is none.
        """
        if length not in self._counts:
            self._counts[length] = np.cumsum([stretch.windows(length) for stretch in self.closed], dtype=np.int64)
        closed = self._counts[length]
        before = closed[-1] if len(closed) else 0
        bounds = np.concatenate([closed, before + np.cumsum([s.windows(length) for s in self._open], dtype=np.int64)])
        if not len(bounds) or not bounds[-1]:
            raise NmbrlError(f"no episode lasts {length} decisions: lower learner.sequence_length")
        batch = {
            "o": np.empty((size, length + 1, self.observation_size), np.float32),
            "a": np.zeros((size, length, self.action_size), np.float32),
            "r": np.zeros((size, length), np.float32),
            "c": np.zeros((size, length), np.float32),
        }
        draws = random.integers(bounds[-1], size=size)
        earned = np.cumsum(self._window_rewards(length)) if rewarded_share else draws[:0]
        if len(earned) and earned[-1] > 0:
            count = round(rewarded_share * size)
            draws[:count] = np.searchsorted(earned, earned[-1] * random.random(count), side="right")
        chosen = np.searchsorted(bounds, draws, side="right")
        for row, (index, draw) in enumerate(zip(chosen.tolist(), draws.tolist(), strict=True)):
            stretches, offset = (self.closed, index) if index < len(closed) else (self._open, index - len(closed))
            stretches[offset].read(draw - int(bounds[index - 1] if index else 0), batch, row)
        return batch

    def _window_rewards(self, length: int) -> np.ndarray:
        """What `Stretch.rewards` gives, of all stretches one after the other."""
        if length not in self._rewards:
            self._rewards[length] = np.concatenate([np.zeros(0), *(s.rewards(length) for s in self.closed)])
        return np.concatenate([self._rewards[length], *(s.rewards(length) for s in self._open)])

    def calibration(self, episodes: int) -> Batch:
        """Return the newest long stretches from an episode's start, cut to equal length and stacked.

        Args:
            episodes: how many at most.

        Returns:
            ``o (E, T + 1, O)`` raw, ``a (E, T, A)``, ``r (E, T)`` and ``c (E, T)``, oldest first.
        """
        newest = [stretch for stretch in reversed(self.closed) if stretch.first][: 2 * episodes]
        length = int(np.median([stretch.length for stretch in newest]))
        chosen = [stretch.arrays() for stretch in newest if stretch.length >= length][:episodes][::-1]
        cut = {"o": length + 1, "a": length, "r": length, "c": length}
        return {name: np.stack([arrays[name][: cut[name]] for arrays in chosen]) for name in FIELDS}


def pack(stretches: Sequence[Stretch]) -> bytes:
    """Return stretches as the bytes of a compressed npz: one after the other, with their lengths."""
    arrays = [stretch.arrays() for stretch in stretches]
    return pack_arrays(
        {
            **{name: np.concatenate([part[name] for part in arrays]) for name in FIELDS},
            "lengths": np.array([stretch.length for stretch in stretches], np.int64),
            "first": np.array([stretch.first for stretch in stretches]),
        }
    )


def unpack(content: bytes, source: str) -> list[Stretch]:
    """Return the stretches that `pack` was given.

    Args:
        content: the file's bytes.
        source: its name, for the error.

    Raises:
        NmbrlError: if it is damaged, or holds anything that is not a finite number.
    """
    arrays = unpack_arrays(content, source, (*FIELDS, "lengths", "first"))
    lengths = arrays["lengths"]
    if len(arrays["o"]) != lengths.sum() + len(lengths) or len(arrays["a"]) != lengths.sum():
        raise NmbrlError(f"{source} is damaged: its arrays do not fit together")
    ends = np.cumsum(lengths)
    stretches = []
    for index, (end, length, first) in enumerate(zip(ends.tolist(), lengths.tolist(), arrays["first"], strict=True)):
        parts = {name: arrays[name][end - length : end] for name in ("a", "r", "c")}
        parts["o"] = arrays["o"][end - length + index : end + index + 1]
        stretches.append(Stretch.of(parts, bool(first)))
    return stretches


def pack_arrays(arrays: Batch) -> bytes:
    """Return the bytes of a compressed npz; equal arrays give equal bytes."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def unpack_arrays(content: bytes, source: str, names: Sequence[str]) -> Batch:
    """Return named arrays of an npz.

    Raises:
        NmbrlError: if one is missing or cannot be read, or holds anything that is not a finite number.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise NmbrlError(f"{source} is damaged or not a replay of nmbrl-train") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise NmbrlError(f"{source} holds values that are not finite numbers in {name!r}; it cannot be used")
    return arrays
