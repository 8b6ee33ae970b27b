"""Frames on the wire (docs/wire-protocol.md): COBS between zero bytes, a CRC-32 at the end, bounded in length.

COBS is Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999; the
CRC-32 is that of IEEE 802.3. ``hil/firmware/frame.c`` is the same in C.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import Enum

MAX_BODY = 2048
HEADER = struct.Struct("<BH")
CRC = struct.Struct("<I")
MAX_FRAME = HEADER.size + MAX_BODY + CRC.size
MAX_ENCODED = MAX_FRAME + MAX_FRAME // 254 + 3


class BadFrame(Enum):
    """Why bytes between two zero bytes are no frame."""

    TRUNCATED = "a zero byte inside a COBS block"
    SHORT = "no room for header and CRC"
    LONG = f"more than {MAX_FRAME} bytes"
    BAD_CRC = "the CRC does not match"


@dataclass(frozen=True)
class Frame:
    """A frame's content: what kind of message, its sequence number (0 to 65535) and its body (0 to MAX_BODY bytes)."""

    kind: int
    sequence: int
    body: bytes = b""


def cobs_encode(data: bytes) -> bytes:
    """Return `data` without zero bytes, an added byte and one more for every full block of 254."""
    out = bytearray()
    runs = data.split(b"\0")
    for i, run in enumerate(runs):
        full, rest = divmod(len(run), 254)
        for start in range(0, 254 * full, 254):
            out += b"\xff" + run[start : start + 254]
        # A full block stands for no zero byte after it, so that a zero needs a shorter one, if only an empty one.
        if rest or not full or i < len(runs) - 1:
            out.append(rest + 1)
            out += run[254 * full :]
    return bytes(out)


def cobs_decode(encoded: bytes) -> bytes | BadFrame:
    """Invert `cobs_encode` on bytes that hold no zero; what cannot be inverted is `BadFrame.TRUNCATED`."""
    out = bytearray()
    position = 0
    while position < len(encoded):
        code = encoded[position]
        block = encoded[position + 1 : position + code]
        out += block
        position += code
        if len(block) < code - 1:
            return BadFrame.LONG if len(out) > MAX_FRAME else BadFrame.TRUNCATED
        if code < 0xFF and position < len(encoded):
            out.append(0)
    return bytes(out)


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of a frame on the wire, with a zero byte before and after it.

    Raises:
        ValueError: if the body is longer than `MAX_BODY`.
    """
    if len(frame.body) > MAX_BODY:
        raise ValueError(f"a body has at most {MAX_BODY} bytes, not {len(frame.body)}")
    raw = HEADER.pack(frame.kind, frame.sequence) + frame.body
    return b"\0" + cobs_encode(raw + CRC.pack(zlib.crc32(raw))) + b"\0"


class FrameDecoder:
    """Cuts a stream of bytes into frames; after damage it is in step again at the next zero byte."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[Frame | BadFrame]:
        """Take the next bytes of the stream and return what they complete, in order."""
        found: list[Frame | BadFrame] = []
        *complete, rest = data.split(b"\0")
        for piece in complete:
            self._append(piece)
            if self._pending:
                found.append(self._finish())
            self._pending.clear()
            self._too_long = False
        self._append(rest)
        return found

    def _append(self, piece: bytes) -> None:
        self._pending += piece
        if len(self._pending) > 2 * MAX_ENCODED:
            # Too long whatever follows; keep no more of it than shows that.
            del self._pending[2 * MAX_ENCODED :]
            self._too_long = True

    def _finish(self) -> Frame | BadFrame:
        raw = BadFrame.LONG if self._too_long else cobs_decode(bytes(self._pending))
        if isinstance(raw, BadFrame):
            return raw
        if len(raw) > MAX_FRAME:
            return BadFrame.LONG
        if len(raw) < HEADER.size + CRC.size:
            return BadFrame.SHORT
        if CRC.unpack(raw[-CRC.size :])[0] != zlib.crc32(raw[: -CRC.size]):
            return BadFrame.BAD_CRC
        kind, sequence = HEADER.unpack(raw[: HEADER.size])
        return Frame(kind, sequence, raw[HEADER.size : -CRC.size])
