"""The frame codecs in Python and C, against shared vectors, published examples and each other."""

import ctypes
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.hil.frames import MAX_BODY, BadFrame, Frame, FrameDecoder, cobs_decode, cobs_encode, encode_frame

from .conftest import CDecoder

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
C_STATUS = {2: BadFrame.TRUNCATED, 3: BadFrame.SHORT, 4: BadFrame.LONG, 5: BadFrame.BAD_CRC}

bodies = st.one_of(
    st.binary(max_size=MAX_BODY),
    # Long runs without zeros, where COBS blocks fill up.
    st.builds(
        lambda runs: b"\0".join(b"\x55" * n for n in runs)[:MAX_BODY],
        st.lists(st.sampled_from([0, 1, 253, 254, 255, 508]), max_size=6),
    ),
)
frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535), bodies)


def c_encode(library: ctypes.CDLL, frame: Frame) -> bytes:
    out = ctypes.create_string_buffer(2055 + 2055 // 254 + 3)
    length = library.nmbrl_frame_encode(frame.kind, frame.sequence, frame.body, len(frame.body), out)
    return out.raw[:length]


def c_feed(library: ctypes.CDLL, decoder: CDecoder, data: bytes) -> list[Frame | BadFrame]:
    found: list[Frame | BadFrame] = []
    for byte in data:
        status = library.nmbrl_frame_push(ctypes.byref(decoder), byte)
        if status == 1:
            body = ctypes.string_at(decoder.body, decoder.body_length)
            found.append(Frame(decoder.kind, decoder.sequence, body))
        elif status:
            found.append(C_STATUS[status])
    return found


@pytest.mark.parametrize("vector", VECTORS["cobs"], ids=lambda vector: vector["name"])
def test_cobs_vectors(vector: dict[str, str]) -> None:
    decoded, encoded = bytes.fromhex(vector["decoded"]), bytes.fromhex(vector["encoded"])
    assert cobs_encode(decoded) == encoded
    assert cobs_decode(encoded) == decoded


@pytest.mark.parametrize("vector", VECTORS["crc32"], ids=lambda vector: vector["ascii"])
def test_crc_vectors(c_frames: ctypes.CDLL, vector: dict[str, str]) -> None:
    data = vector["ascii"].encode()
    assert c_frames.nmbrl_crc32(data, len(data)) == zlib.crc32(data) == int(vector["crc"], 16)


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda vector: vector["name"])
def test_frame_vectors(c_frames: ctypes.CDLL, vector: dict) -> None:
    frame = Frame(vector["kind"], vector["sequence"], bytes.fromhex(vector["body"]))
    wire = bytes.fromhex(vector["wire"])
    assert encode_frame(frame) == c_encode(c_frames, frame) == wire
    assert FrameDecoder().feed(wire) == c_feed(c_frames, CDecoder(), wire) == [frame]


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_bad_vectors(c_frames: ctypes.CDLL, vector: dict[str, str]) -> None:
    wire = bytes.fromhex(vector["wire"])
    expected = [BadFrame[vector["reason"]]]
    assert FrameDecoder().feed(wire) == c_feed(c_frames, CDecoder(), wire) == expected


@given(frame=frames)
def test_round_trip(c_frames: ctypes.CDLL, frame: Frame) -> None:
    wire = encode_frame(frame)
    assert wire == c_encode(c_frames, frame)
    assert 0 not in wire[1:-1]
    assert FrameDecoder().feed(wire) == c_feed(c_frames, CDecoder(), wire) == [frame]


@given(
    content=st.lists(st.one_of(frames.map(encode_frame), st.binary(max_size=5000)), max_size=6), cut=st.integers(1, 99)
)
def test_any_stream_decodes_alike(c_frames: ctypes.CDLL, content: list[bytes], cut: int) -> None:
    stream = b"".join(content)
    decoder = FrameDecoder()
    pieces = [found for i in range(0, len(stream), cut) for found in decoder.feed(stream[i : i + cut])]
    assert pieces == FrameDecoder().feed(stream) == c_feed(c_frames, CDecoder(), stream)


@given(noise=st.binary(max_size=3000), frame=frames)
def test_resynchronises_within_one_frame(noise: bytes, frame: Frame) -> None:
    assert FrameDecoder().feed(noise + encode_frame(frame))[-1] == frame


@given(frame=frames, data=st.data())
def test_damaged_frames_are_refused(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(frame))
    for bit in data.draw(st.sets(st.integers(8, 8 * len(wire) - 9), min_size=1, max_size=3)):
        wire[bit // 8] ^= 1 << bit % 8
    assert all(isinstance(found, BadFrame) for found in FrameDecoder().feed(bytes(wire)))


def test_too_long_body_is_not_encoded(c_frames: ctypes.CDLL) -> None:
    with pytest.raises(ValueError, match="at most 2048 bytes, not 2049"):
        encode_frame(Frame(0, 0, bytes(MAX_BODY + 1)))
    assert c_encode(c_frames, Frame(0, 0, bytes(MAX_BODY + 1))) == b""


def test_endless_stream_is_bounded() -> None:
    decoder = FrameDecoder()
    for _ in range(100):
        assert decoder.feed(b"\x01" * 100_000) == []
    assert len(decoder._pending) < 10_000
    frame = Frame(1, 2, b"after")
    assert decoder.feed(encode_frame(frame)) == [BadFrame.LONG, frame]
