"""A bounds-checked reader of flatbuffers: any bytes give values or a `ModelError`, never a read outside the file.

Layout: https://flatbuffers.dev/internals (tables, vtables, vectors; offsets are relative, little-endian).
"""

import struct
from typing import Any

import numpy as np

from nmbrl.convert.c.errors import ModelError

# Struct formats of the scalar types that the TFLite schema uses.
FORMATS = {"bool": "<?", "int8": "<b", "uint8": "<B", "int32": "<i", "uint32": "<I", "int64": "<q", "float32": "<f"}


class Buffer:
    """The bytes of a file, every access checked."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def scalar(self, position: int, kind: str) -> Any:
        """Read a scalar of a type in `FORMATS`.

        Raises:
            ModelError: if it reaches outside the file.
        """
        size = struct.calcsize(FORMATS[kind])
        if position < 0 or position + size > len(self.content):
            raise ModelError(f"the .tflite file is damaged: offset {position} of {len(self.content)} bytes")
        return struct.unpack_from(FORMATS[kind], self.content, position)[0]

    def follow(self, position: int) -> int:
        """Return where the offset stored at `position` leads.

        Raises:
            ModelError: if that is outside the file, or nowhere.
        """
        offset = self.scalar(position, "uint32")
        if not 0 < offset < len(self.content) - position:
            raise ModelError(f"the .tflite file is damaged: an offset at {position} leads outside it")
        return position + offset

    def array(self, position: int, kind: str) -> np.ndarray:
        """Read the vector of scalars at `position`.

        Raises:
            ModelError: if it reaches outside the file.
        """
        count = self.scalar(position, "uint32")
        dtype = np.dtype(FORMATS[kind].replace("?", "b"))
        if count * dtype.itemsize > len(self.content) - position - 4:
            raise ModelError(f"the .tflite file is damaged: a vector of {count} at {position} leads outside it")
        return np.frombuffer(self.content, dtype, count, position + 4)


class Table:
    """A table: fields by their number in the schema, absent ones by their default."""

    def __init__(self, buffer: Buffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - buffer.scalar(position, "int32")
        self._length = buffer.scalar(self._vtable, "uint8") | buffer.scalar(self._vtable + 1, "uint8") << 8
        if self._length < 4:
            raise ModelError(f"the .tflite file is damaged: a table at {position} without a valid vtable")

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self._length:
            return None
        at = self._vtable + entry
        offset = self._buffer.scalar(at, "uint8") | self._buffer.scalar(at + 1, "uint8") << 8
        return self._position + offset if offset else None

    def scalar(self, number: int, kind: str, default: Any = 0) -> Any:
        """Return a scalar field."""
        field = self._field(number)
        return default if field is None else self._buffer.scalar(field, kind)

    def array(self, number: int, kind: str) -> np.ndarray | None:
        """Return a vector of scalars, None where it is absent."""
        field = self._field(number)
        return None if field is None else self._buffer.array(self._buffer.follow(field), kind)

    def text(self, number: int) -> str:
        """Return a string, empty where it is absent; bytes that are not UTF-8 are replaced."""
        values = self.array(number, "uint8")
        return "" if values is None else values.tobytes().decode(errors="replace")

    def table(self, number: int) -> "Table | None":
        """Return a table field, None where it is absent."""
        field = self._field(number)
        return None if field is None else Table(self._buffer, self._buffer.follow(field))

    def tables(self, number: int) -> list["Table"]:
        """Return a vector of tables, empty where it is absent."""
        field = self._field(number)
        if field is None:
            return []
        start = self._buffer.follow(field)
        count = len(self._buffer.array(start, "uint32"))
        return [Table(self._buffer, self._buffer.follow(start + 4 + 4 * i)) for i in range(count)]


def root_table(content: bytes, identifier: bytes) -> Table:
    """Return the root table of a flatbuffer file.

    Raises:
        ModelError: if it does not carry the identifier.
    """
    if content[4:8] != identifier:
        raise ModelError(f"not a .tflite file: its identifier is {content[4:8]!r}, not {identifier!r}")
    buffer = Buffer(content)
    return Table(buffer, buffer.follow(0))
