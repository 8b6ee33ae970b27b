"""Constant arrays of the generated sources: each content once, named after its first use."""

from collections.abc import Iterable

import numpy as np

from nmbrl.convert.c.steps import Table

# sizeof of the element types.
BYTES = {"int8_t": 1, "int32_t": 4, "float": 4}
WIDTH = 118


class Constants:
    """Collects constants and prints them.

    Attributes:
        bytes: what they take together, by purpose (``weights``, ``tables``, ``parameters``).
    """

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {"weights": 0, "tables": 0, "parameters": 0}
        self._names: dict[tuple[str, tuple[str, ...]], str] = {}
        self._lines: list[str] = []

    def add(self, name: str, kind: str, values: Iterable[int | str], purpose: str) -> str:
        """Return the name of an array with this content, `name` if there is none yet."""
        texts = tuple(str(value) for value in values)
        key = kind, texts
        if key not in self._names:
            self._names[key] = name
            self.bytes[purpose] += BYTES[kind] * len(texts)
            aligned = " NMBRL_ALIGNED" if purpose == "weights" else ""
            self._lines += [f"static const {kind} {name}[{len(texts)}]{aligned} = {{", *wrap(texts), "};"]
        return self._names[key]

    def table(self, name: str, table: Table | None) -> str:
        """Return the place of 0 in an int8 table that reaches from -128 to 255; ``NULL`` if there is none."""
        if table is None:
            return "NULL"
        return f"{self.add(name, 'int8_t', table + table[:128], 'tables')} + 128"

    def lines(self) -> list[str]:
        """Return the definitions."""
        return self._lines


def by_pattern(table: tuple[int, ...]) -> tuple[int, ...]:
    """Reorder a table for -128 .. 127 by bit pattern: 0 .. 127, -128 .. -1."""
    return table[128:] + table[:128]


def wrap(texts: tuple[str, ...]) -> list[str]:
    """Join values to lines of bounded width."""
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    return [*lines, line]


def pack_weights(weights: np.ndarray, margin: int) -> np.ndarray:
    """Reorder weights (rows, columns) as nmbrl_kernels.h says: pairs of rows, 4 columns at a time."""
    rows, columns = weights.shape
    padded = np.zeros((rows + rows % 2, -(-columns // 4) * 4), np.int8)
    padded[:rows, :columns] = weights
    pairs = padded.reshape(len(padded) // 2, 2, -1, 4).transpose(0, 2, 1, 3).reshape(-1)
    return np.concatenate([pairs, np.zeros(margin, np.int8)])
