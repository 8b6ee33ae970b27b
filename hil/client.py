"""Asking a board: requests and replies over a link that may lose, change, delay and repeat them."""

import time
from collections import Counter
from dataclasses import dataclass

from nmbrl.hil.frames import BadFrame, Frame, FrameDecoder, encode_frame
from nmbrl.hil.links import Link
from nmbrl.hil.messages import ERROR, READY, REPLY, Identity, Kind, Refusal
from nmbrl.targets.errors import NmbrlError

# Below this a pause of the host's scheduler would look like a lost frame.
LEAST_TIMEOUT_S = 0.01
# Unanswered requests of which a late reply is still told apart.
REMEMBERED = 64


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


@dataclass(frozen=True)
class Unanswered:
    """A request whose deadline passed without a reply.

    Attributes:
        kind: of the request.
        sent: when, by `time.monotonic`.
        deadline: by when its reply should have been here.
    """

    kind: Kind
    sent: float
    deadline: float


class Client:
    """One side of a conversation in which the host asks and the board answers.

    How long a reply may take is learned: the smoothed round trip and four times its mean deviation (Jacobson,
    "Congestion Avoidance and Control", 1988), doubled after every attempt that failed. The doubled time stands until a
    request is answered at once (Karn and Partridge, "Improving Round-Trip Time Estimates in Reliable Transport
    Protocols", 1987): else a board that became slower, or longer requests, are never learned, as a repeated request
    tells no round trip, and repetitions pile up before the board.

    Args:
        link: to the board.
        timeout: seconds to wait for a reply at first, and at most.
        attempts: how often a request is sent before it is given up. The board answers a repeated request as the first
            time and does nothing twice, so that sending again is always safe.

    Attributes:
        counts: what happened: ``requests``, ``retries``, ``given_up``, ``stale_replies`` (to a request that was
            answered or given up), ``starts`` (READY frames) and ``bad_frames``.
        lateness_s: of replies that came after their deadline, by how much.
    """

    def __init__(self, link: Link, timeout: float = 2.0, attempts: int = 8) -> None:
        self.link = link
        self.timeout = timeout
        self.attempts = attempts
        self.counts: Counter[str] = Counter()
        self.lateness_s: list[float] = []
        self._decoder = FrameDecoder()
        self._sequence = 0
        self._kind = Kind.HELLO
        self._unanswered: dict[int, Unanswered] = {}
        self._silent_since: float | None = None
        # Smoothed round trip and its deviation by kind: a search takes longer than an answer from memory.
        self._round_trip: dict[Kind, tuple[float, float]] = {}
        self._backed_off: dict[Kind, float] = {}

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

    def request(self, kind: Kind, body: bytes = b"", deadline: float | None = None, size: int | None = None) -> bytes:
        """Send a request, again if need be, and return the body of its reply.

        Args:
            kind: of the request.
            body: of the request.
            deadline: `time.monotonic` when to stop waiting; the request is then sent once only.
            size: bytes of the reply's body; None for any.

        Raises:
            NoReplyError: if no reply came.
            RefusedError: if the board refused it.
            NmbrlError: if the reply is none of this protocol.
            LinkLostError: if the board is gone.
        """
        self._sequence, self._kind = (self._sequence + 1) % 65536, kind
        frame = encode_frame(Frame(kind, self._sequence, body))
        self.counts["requests"] += 1
        patience = self._patience(kind)
        for attempt in range(self.attempts if deadline is None else 1):
            self.counts["retries"] += attempt > 0
            sent = time.monotonic()
            self._silent_since = self._silent_since or sent
            self.link.write(frame)
            reply = self._await(sent + patience if deadline is None else deadline)
            if reply is None:
                patience = self._backed_off[kind] = min(2 * patience, self.timeout)
                continue
            if attempt == 0:
                self._learn(kind, time.monotonic() - sent)
            return _content(kind, reply, size)
        if deadline is not None:
            self._unanswered[self._sequence] = Unanswered(kind, sent, deadline)
            if len(self._unanswered) > REMEMBERED:
                del self._unanswered[next(iter(self._unanswered))]
        self.counts["given_up"] += 1
        raise NoReplyError(f"the board does not answer {kind.name}")

    def settle(self, deadline: float) -> bool:
        """Make sure that the board is not still at work on a request whose deadline has passed.

        The board answers in the order that it is asked: an answered PING says that it is idle. Requests that mean work
        would pile up in front of a board that takes longer than the deadline, and each answer would be later than the
        one before.

        Returns:
            Whether the board is idle; if not, it did not say so by `deadline`.
        """
        if self._unanswered:
            try:
                self.request(Kind.PING, deadline=deadline, size=0)
            except NoReplyError:
                return False
        return True

    def silence(self) -> float:
        """Seconds since the first request after which nothing valid has come from the board; 0 if something has."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def restart_board(self) -> None:
        """Restart the board from outside, and forget what it was asked."""
        self.link.restart_board()
        self._unanswered.clear()
        self._silent_since = None

    def expected(self, kind: Kind) -> float:
        """Seconds that the reply to a request of this kind is likely to take at most; 0 before there was one."""
        mean, deviation = self._round_trip.get(kind, (0.0, 0.0))
        return mean + 4 * deviation

    def _patience(self, kind: Kind) -> float:
        if kind in self._backed_off:
            return self._backed_off[kind]
        if kind not in self._round_trip:
            return self.timeout
        return min(max(self.expected(kind), LEAST_TIMEOUT_S), self.timeout)

    def _learn(self, kind: Kind, elapsed: float) -> None:
        mean, deviation = self._round_trip.get(kind, (elapsed, elapsed / 2))
        deviation += (abs(elapsed - mean) - deviation) / 4
        self._round_trip[kind] = (mean + (elapsed - mean) / 8, deviation)
        self._backed_off.pop(kind, None)

    def _await(self, deadline: float) -> Frame | None:
        """The reply to the newest request, or None when its time is up."""
        while True:
            remaining = deadline - time.monotonic()
            reply = self._take(max(remaining, 0))
            if reply is not None or remaining <= 0:
                return reply

    def _take(self, timeout: float) -> Frame | None:
        """Take in what arrives; the reply to the newest request if it is among it."""
        reply = None
        for found in self._decoder.feed(self.link.read(timeout)):
            if isinstance(found, BadFrame):
                self.counts["bad_frames"] += 1
                continue
            self._silent_since = None
            late = self._unanswered.pop(found.sequence, None) if found.kind != READY else None
            if late is not None:
                self._note_late(late, time.monotonic())
            elif found.kind == READY:
                self.counts["starts"] += 1
            elif found.sequence != self._sequence or found.kind not in (self._kind | REPLY, ERROR):
                self.counts["stale_replies"] += 1
            else:
                # What was asked before and is unanswered is lost: replies keep the order of requests.
                self._unanswered.clear()
                reply = found
        return reply

    def _note_late(self, request: Unanswered, now: float) -> None:
        self._learn(request.kind, now - request.sent)
        if request.kind is not Kind.PING:
            self.lateness_s.append(now - request.deadline)


def _content(kind: Kind, reply: Frame, size: int | None) -> bytes:
    """The body of a reply to this kind of request, if it is as this protocol has it."""
    body = reply.body
    if reply.kind == ERROR and len(body) >= 2 and body[0] in list(Refusal):
        raise RefusedError(kind, Refusal(body[0]), body[2:])
    if reply.kind == ERROR or size not in (None, len(body)):
        what = "an error" if reply.kind == ERROR else f"{len(body)} bytes"
        raise NmbrlError(f"the board answers {kind.name} with {what} that this nmbrl does not know: flash it again")
    return body
