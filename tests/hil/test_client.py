"""How long the client waits for a board, on a clock of the test's own."""

from collections import deque

import pytest

from nmbrl.hil import client as client_module
from nmbrl.hil.client import Client
from nmbrl.hil.frames import Frame, FrameDecoder, encode_frame
from nmbrl.hil.links import Link
from nmbrl.hil.messages import REPLY, Kind


class SlowBoard(Link):
    """Answers every PING in the order that it came, `takes` seconds of its own time for each; time passes in `read`."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.now = 0.0
        self._decoder = FrameDecoder()
        self._replies: deque[tuple[float, bytes]] = deque()

    def monotonic(self) -> float:
        return self.now

    def write(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            assert isinstance(frame, Frame)
            begun = max(self.now, self._replies[-1][0] if self._replies else 0.0)
            reply = encode_frame(Frame(frame.kind | REPLY, frame.sequence, frame.body))
            self._replies.append((begun + self.takes, reply))

    def read(self, timeout: float) -> bytes:
        if self._replies and self._replies[0][0] <= self.now + timeout:
            at, reply = self._replies.popleft()
            self.now = max(self.now, at)
            return reply
        self.now += timeout
        return b""

    def restart_board(self) -> None:
        self._replies.clear()


@pytest.mark.parametrize("slow", [0.05, 0.3])
def test_a_board_that_becomes_slower_is_learned(slow: float, monkeypatch: pytest.MonkeyPatch) -> None:
    board = SlowBoard(0.001)
    monkeypatch.setattr(client_module, "time", board)
    client = Client(board)
    for _ in range(20):
        client.request(Kind.PING)
    assert client.counts["retries"] == 0
    board.takes = slow
    for _ in range(10):
        client.request(Kind.PING)
    learning = client.counts["retries"]
    assert learning > 0
    for number in range(50):
        assert client.request(Kind.PING, bytes([number])) == bytes([number])
    assert client.counts["retries"] == learning and client.expected(Kind.PING) >= slow
    board.takes = 0.001
    for _ in range(50):
        client.request(Kind.PING)
    assert client.expected(Kind.PING) < 0.01
