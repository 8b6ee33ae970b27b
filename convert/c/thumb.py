"""A linked Thumb program taken apart: its functions, their stack frames, whom they call.

Instruction encodings: Armv8-M Architecture Reference Manual (Arm DDI 0553), section C2.4. Frames come from the section
``.stack_sizes``, which clang writes with ``-fstack-size-section`` (what ``-fstack-usage`` prints), and from the first
instructions of functions in assembly.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nmbrl.targets.errors import NmbrlError

_SECTION, _SYMBOL = struct.Struct("<10I"), struct.Struct("<IIIBBH")
_PROGBITS, _NOBITS, _SYMTAB = 1, 8, 2
_WRITE, _ALLOCATED = 1, 2


@dataclass(frozen=True)
class Function:
    """A function of a program.

    Attributes:
        name: its symbol.
        frame: bytes of stack that it takes itself.
        calls: addresses of the functions that it calls or ends in.
    """

    name: str
    frame: int
    calls: frozenset[int]


@dataclass(frozen=True)
class Program:
    """A linked program.

    Attributes:
        functions: by address.
        sizes: bytes of its sections, by name.
        flash: bytes of code, constants and initial values.
        ram: bytes of variables; a section for the stack among them.
    """

    functions: dict[int, Function]
    sizes: dict[str, int]
    flash: int
    ram: int

    def worst_stack(self, roots: Iterable[str]) -> int:
        """Return the most stack, in bytes, that a call of any of these functions takes; interrupts come on top.

        Raises:
            NmbrlError: if one is missing, or the calls recur.
        """
        addresses = {function.name: address for address, function in self.functions.items()}
        missing = [root for root in roots if root not in addresses]
        if missing:
            raise NmbrlError(f"the program has no function {missing[0]}")
        return max(self._depth(addresses[root], (), {}) for root in roots)

    def _depth(self, address: int, path: tuple[int, ...], known: dict[int, int]) -> int:
        function = self.functions[address]
        if address in path:
            raise NmbrlError(f"{function.name} calls itself: its stack has no bound")
        if address not in known:
            below = (self._depth(called, (*path, address), known) for called in function.calls)
            known[address] = function.frame + max(below, default=0)
        return known[address]


def read_program(path: Path) -> Program:
    """Read a linked little-endian ELF file of 32 bits.

    Raises:
        NmbrlError: if it is none, or calls through a pointer.
    """
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x01\x01":
        raise NmbrlError(f"{path} is no ELF file of 32 bits")
    offset, size, count, names = *struct.unpack_from("<I", data, 32), *struct.unpack_from("<3H", data, 46)
    headers = [_SECTION.unpack_from(data, offset + i * size) for i in range(count)]
    sections = {_text(data, headers[names][4] + header[0]): header for header in headers}
    allocated = [(header[1], header[2], header[5]) for header in headers if header[2] & _ALLOCATED]
    symbols = [symbol for header in headers if header[1] == _SYMTAB for symbol in _symbols(data, header, headers)]
    frames = dict(_frames(data, sections.get(".stack_sizes")))
    text = sections[".text"]
    content = data[text[4] : text[4] + text[5]]
    # Literals among the instructions begin at a mapping symbol $d and end at $t.
    marks = sorted((value, name[:2] == "$d") for name, value, _, _ in symbols if name[:2] in ("$d", "$t"))
    starts = {value & ~1: (name, length) for name, value, length, kind in symbols if kind == 2}
    functions = {}
    for start, (name, length) in starts.items():
        code = list(_instructions(content, text[3], start, start + length, marks))
        if any(first & 0xFF87 == 0x4780 for _, first, _ in code):
            raise NmbrlError(f"{name} calls through a pointer: its stack has no bound")
        targets = [(target, _links(*entry[1:])) for entry in code if (target := _target(*entry)) is not None]
        # A jump to where the function begins is a loop, a call is recursion.
        calls = frozenset(t for t, links in targets if not start <= t < start + length or (links and t == start))
        if not calls <= starts.keys():
            raise NmbrlError(f"{name} jumps into the middle of a function")
        functions[start] = Function(name, frames.get(start) or _prologue(code), calls)
    return Program(
        functions,
        {name: header[5] for name, header in sections.items()},
        flash=sum(length for kind, _, length in allocated if kind != _NOBITS),
        ram=sum(length for _, flags, length in allocated if flags & _WRITE),
    )


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def _symbols(data: bytes, table: tuple, headers: list[tuple]) -> Iterator[tuple[str, int, int, int]]:
    """Name, value, size and type of each symbol."""
    strings = headers[table[6]][4]
    for name, value, size, info, _, _ in _SYMBOL.iter_unpack(data[table[4] : table[4] + table[5]]):
        yield _text(data, strings + name), value, size, info & 15


def _frames(data: bytes, section: tuple | None) -> Iterator[tuple[int, int]]:
    """Address and frame of each function: four bytes, then groups of seven bits, the lowest first."""
    if section is None:
        return
    position, end = section[4], section[4] + section[5]
    while position < end:
        address = int.from_bytes(data[position : position + 4], "little") & ~1
        position += 4
        size = shift = 0
        while True:
            byte = data[position]
            size |= (byte & 127) << shift
            position, shift = position + 1, shift + 7
            if byte < 128:
                break
        yield address, size


def _instructions(
    content: bytes, base: int, start: int, end: int, marks: list[tuple[int, bool]]
) -> Iterator[tuple[int, int, int]]:
    """Address, first and second halfword (0 where there is none) of each instruction."""
    data = [(mark, is_data) for mark, is_data in marks if start <= mark < end]
    ends = [mark for mark, _ in data[1:]] + [end]
    literal = [(mark, stop) for (mark, is_data), stop in zip(data, ends, strict=False) if is_data]
    position = start
    while position < end:
        inside = [stop for mark, stop in literal if mark <= position < stop]
        if inside:
            position = inside[0]
            continue
        first = int.from_bytes(content[position - base : position - base + 2], "little")
        wide = first >> 11 in (0b11101, 0b11110, 0b11111)
        second = int.from_bytes(content[position - base + 2 : position - base + 4], "little") if wide else 0
        yield position, first, second
        position += 4 if wide else 2


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _target(address: int, first: int, second: int) -> int | None:
    """Where a branch goes; None for every other instruction."""
    here = address + 4
    if first >> 11 == 0b11100:
        return here + 2 * _signed(first & 0x7FF, 11)
    if first >> 12 == 0b1101 and first >> 8 & 15 < 14:
        return here + 2 * _signed(first & 0xFF, 8)
    if first >> 11 != 0b11110:
        return None
    sign, one, other = first >> 10 & 1, second >> 13 & 1, second >> 11 & 1
    if second & 0xD000 in (0xD000, 0x9000):
        high = sign << 2 | (1 - (one ^ sign)) << 1 | (1 - (other ^ sign))
        return here + 2 * _signed(high << 21 | (first & 0x3FF) << 11 | second & 0x7FF, 24)
    if second & 0xD000 == 0x8000 and first >> 6 & 15 < 14:
        return here + 2 * _signed((sign << 2 | other << 1 | one) << 17 | (first & 0x3F) << 11 | second & 0x7FF, 20)
    return None


def _links(first: int, second: int) -> bool:
    """Whether a branch comes back."""
    return first >> 11 == 0b11110 and second & 0xD000 == 0xD000


def _prologue(code: list[tuple[int, int, int]]) -> int:
    """Bytes that a function's first instructions push and reserve."""
    total = 0
    for _, first, second in code:
        if first >> 9 == 0b1011010:
            total += 4 * (first & 0x1FF).bit_count()
        elif first == 0xE92D:
            total += 4 * second.bit_count()
        elif first == 0xF84D and second & 0xFFF == 0xD04:
            total += 4
        elif first >> 7 == 0b101100001:
            total += 4 * (first & 0x7F)
        elif first & 0xFFBF == 0xED2D:
            total += 4 * (second & 0xFF)
        else:
            break
    return total
