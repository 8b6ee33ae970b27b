"""Asking a board: requests and replies over a link that may lose, change, delay and repeat them."""

import time
from collections import Counter

from nmbrl.hil.frames import BadFrame, Frame, FrameDecoder, encode_frame
from nmbrl.hil.links import Link
from nmbrl.hil.messages import ERROR, READY, REPLY, Identity, Kind, Refusal
from nmbrl.targets.errors import NmbrlError


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

    Args:
        link: to the board.
        timeout: seconds to wait for a reply.
        attempts: how often a request is sent before it is given up. The board answers a repeated request as the first
            time and does nothing twice, so that sending again is always safe.

    Attributes:
        counts: what happened: ``requests``, ``retries``, ``given_up``, ``late_replies``, ``starts`` (READY frames) and
            ``bad_frames``.
    """

    def __init__(self, link: Link, timeout: float = 0.5, attempts: int = 5) -> None:
        self.link = link
        self.timeout = timeout
        self.attempts = attempts
        self.counts: Counter[str] = Counter()
        self._decoder = FrameDecoder()
        self._sequence = 0

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
        for attempt in range(self.attempts if deadline is None else 1):
            self.counts["retries"] += attempt > 0
            self.link.write(frame)
            reply = self._await(time.monotonic() + self.timeout if deadline is None else deadline)
            if reply is None:
                continue
            if reply.kind == ERROR:
                raise RefusedError(kind, Refusal(reply.body[0]), reply.body[2:])
            return reply.body
        self.counts["given_up"] += 1
        raise NoReplyError(f"the board does not answer {kind.name}")

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
