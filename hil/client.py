"""Asking a board: requests and replies over a link that may lose, change, delay and repeat them."""

import time
from collections import Counter

from nmbrl.hil.frames import BadFrame, Frame, FrameDecoder, encode_frame
from nmbrl.hil.links import Link
from nmbrl.hil.messages import ERROR, READY, REPLY, Identity, Kind, Refusal
from nmbrl.targets.errors import NmbrlError

# Below this a pause of the host's scheduler would look like a lost frame.
LEAST_TIMEOUT_S = 0.01


class NoReplyError(NmbrlError):
    """No valid reply came in time, however often the request was sent."""


class RefusedError(NmbrlError):
    """The board refused a request.

    Attributes:
        reason: why.
        detail: what the error carried beside its reason; where the board stands, if it was out of step.
    """

    def __init__(self, kind: Kind, reason: Refusal, detail: bytes) -> None:
        super().__init__(f"the board refuses {kind.name}: {reason.name.lower().replace('_', ' ')}")
        self.reason = reason
        self.detail = detail


class Client:
    """One side of a conversation in which the host asks and the board answers.

    How long a reply may take is learned: the smoothed round trip and four times its mean deviation (Jacobson,
    "Congestion Avoidance and Control", 1988), doubled after every attempt that failed.

    Args:
        link: to the board.
        timeout: seconds to wait for a reply at first, and at most.
        attempts: how often a request is sent before it is given up. The board answers a repeated request as the first
            time and does nothing twice, so that sending again is always safe.

    Attributes:
        counts: what happened: ``requests``, ``retries``, ``given_up``, ``late_replies``, ``starts`` (READY frames) and
            ``bad_frames``.
    """

    def __init__(self, link: Link, timeout: float = 2.0, attempts: int = 8) -> None:
        self.link = link
        self.timeout = timeout
        self.attempts = attempts
        self.counts: Counter[str] = Counter()
        self._decoder = FrameDecoder()
        self._sequence = 0
        # Smoothed round trip and its deviation by kind: a search takes longer than an answer from memory.
        self._round_trip: dict[Kind, tuple[float, float]] = {}

    def connect(self, timeout: float = 20.0) -> Identity:
        """Wait until the board answers; return what it says of itself.

        Raises:
            NmbrlError: if it does not answer, or speaks another version of the protocol.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return Identity.unpack(self.request(Kind.HELLO))
            except NoReplyError as error:
                if time.monotonic() > deadline:
                    raise NmbrlError(f"the board does not answer within {timeout:.0f} s: is it flashed?") from error

    def request(self, kind: Kind, body: bytes = b"", deadline: float | None = None) -> bytes:
        """Send a request, again if need be, and return the body of its reply.

        Args:
            kind: of the request.
            body: of the request.
            deadline: `time.monotonic` when to stop waiting; the request is then sent once only.

        Raises:
            NoReplyError: if no reply came.
            RefusedError: if the board refused it.
            LinkLostError: if the board is gone.
        """
        self._sequence = (self._sequence + 1) % 65536
        frame = encode_frame(Frame(kind, self._sequence, body))
        self.counts["requests"] += 1
        patience = self._patience(kind)
        for attempt in range(self.attempts if deadline is None else 1):
            self.counts["retries"] += attempt > 0
            sent = time.monotonic()
            self.link.write(frame)
            reply = self._await(sent + patience if deadline is None else deadline)
            if reply is None:
                patience = min(2 * patience, self.timeout)
                continue
            if attempt == 0:
                self._learn(kind, time.monotonic() - sent)
            if reply.kind == ERROR:
                raise RefusedError(kind, Refusal(reply.body[0]), reply.body[2:])
            return reply.body
        self.counts["given_up"] += 1
        raise NoReplyError(f"the board does not answer {kind.name}")

    def _patience(self, kind: Kind) -> float:
        if kind not in self._round_trip:
            return self.timeout
        mean, deviation = self._round_trip[kind]
        return min(max(mean + 4 * deviation, LEAST_TIMEOUT_S), self.timeout)

    def _learn(self, kind: Kind, elapsed: float) -> None:
        mean, deviation = self._round_trip.get(kind, (elapsed, elapsed / 2))
        deviation += (abs(elapsed - mean) - deviation) / 4
        self._round_trip[kind] = (mean + (elapsed - mean) / 8, deviation)

    def _await(self, deadline: float) -> Frame | None:
        """The reply to the newest request, or None when its time is up."""
        while True:
            remaining = deadline - time.monotonic()
            reply = None
            for found in self._decoder.feed(self.link.read(max(remaining, 0))):
                if isinstance(found, BadFrame):
                    self.counts["bad_frames"] += 1
                elif found.kind == READY:
                    self.counts["starts"] += 1
                elif found.sequence != self._sequence or not found.kind & REPLY:
                    self.counts["late_replies"] += 1
                else:
                    reply = found
            if reply is not None or remaining <= 0:
                return reply
