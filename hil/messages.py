"""Messages between host and board (docs/wire-protocol.md); ``hil/firmware/messages.h`` is the same in C."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from nmbrl.targets.errors import NmbrlError

WIRE_VERSION = 1
REPLY = 0x80
READY = 0x80
ERROR = 0xFF


class Kind(IntEnum):
    """What a request asks for; its reply has the same number with the top bit set."""

    HELLO = 0x01
    PING = 0x02
    RESET = 0x03
    OBSERVE = 0x04
    PLAN = 0x05
    DECIDE = 0x06
    READ_STATE = 0x07
    WRITE_STATE = 0x08
    STATISTICS = 0x09
    SET_PLANNER = 0x0A
    CALL = 0x0B
    REBOOT = 0x0C


class Refusal(IntEnum):
    """Why a board refuses a request."""

    UNKNOWN_KIND = 1
    BAD_LENGTH = 2
    BAD_VALUE = 3
    OUT_OF_STEP = 4
    NO_MODEL = 5
    NO_PLANNER = 6


@dataclass(frozen=True)
class Model:
    """What a board says of the model that it holds.

    Attributes:
        state_size: bytes of a belief (int8).
        action_size: elements of an action.
        observation_size: elements of an observation.
        discrete: whether actions are one-hot.
        terminates: whether imagining gives a probability of continuing.
        max_samples: most samples of a planner.
        max_horizon: longest horizon of a planner.
        max_elites: most elites of a planner.
        hash: SHA-256 of the model, hexadecimal.
    """

    state_size: int
    action_size: int
    observation_size: int
    discrete: bool
    terminates: bool
    max_samples: int
    max_horizon: int
    max_elites: int
    hash: str


@dataclass(frozen=True)
class Identity:
    """The answer to HELLO, and the body of READY.

    Attributes:
        name: of the board.
        tick_hz: ticks a second of its counter.
        max_body: longest body that it takes and sends, in bytes.
        model: None for firmware without one.
    """

    name: str
    tick_hz: int
    max_body: int
    model: Model | None

    _BOARD = struct.Struct("<HHI32s")
    _MODEL = struct.Struct("<HHHBBHHH64s")

    @classmethod
    def unpack(cls, body: bytes) -> Self:
        """Read a body.

        Raises:
            NmbrlError: if the board speaks another version of the protocol.
        """
        version = int.from_bytes(body[:2], "little")
        if version != WIRE_VERSION:
            raise NmbrlError(
                f"the board speaks version {version} of the wire protocol, this nmbrl {WIRE_VERSION}: flash it again"
            )
        if len(body) not in (cls._BOARD.size, cls._BOARD.size + cls._MODEL.size):
            raise NmbrlError(f"the board introduces itself with {len(body)} bytes: flash it again")
        _, max_body, tick_hz, name = cls._BOARD.unpack_from(body)
        model = None
        if len(body) > cls._BOARD.size:
            state, action, observation, discrete, terminates, *limits, digest = cls._MODEL.unpack_from(
                body, cls._BOARD.size
            )
            samples, horizon, elites = limits
            model = Model(
                state,
                action,
                observation,
                bool(discrete),
                bool(terminates),
                samples,
                horizon,
                elites,
                digest.decode("ascii", "replace"),
            )
        return cls(name.rstrip(b"\0").decode("ascii", "replace"), tick_hz, max_body, model)


@dataclass(frozen=True)
class Statistics:
    """What a board counted since it started.

    Attributes:
        good: frames that were valid.
        truncated: frames cut short.
        short: frames without room for header and CRC.
        long: frames that exceed the longest.
        bad_crc: frames with a wrong CRC.
        refused: requests refused.
        stack_bytes: deepest stack so far.
        observations: folded in.
        decisions: made.
        observe_ticks: spent on all observations.
        plan_ticks: spent on all decisions.
        longest_observe: ticks of one observation.
        longest_plan: ticks of one decision.
    """

    good: int
    truncated: int
    short: int
    long: int
    bad_crc: int
    refused: int
    stack_bytes: int
    observations: int = 0
    decisions: int = 0
    observe_ticks: int = 0
    plan_ticks: int = 0
    longest_observe: int = 0
    longest_plan: int = 0

    _BOARD = struct.Struct("<7I")
    _MODEL = struct.Struct("<IIQQII")

    @classmethod
    def unpack(cls, body: bytes) -> Self:
        """Read the answer to STATISTICS; firmware without a model leaves the last six out."""
        model = cls._MODEL.unpack_from(body, cls._BOARD.size) if len(body) > cls._BOARD.size else ()
        return cls(*cls._BOARD.unpack_from(body), *model)
