"""Reads the examples of the documentation: fenced blocks of README.md and docs/*.md."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# A block that is not run stands below a comment that says why.
REASON = re.compile(r"<!-- not run: (.+) -->")
FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"]+)")?$')


class Block(NamedTuple):
    """A fenced block: its language, the file that it shows if it does, why it is not run if it is not, and its text."""

    page: Path
    line: int
    language: str
    title: str | None
    reason: str | None
    text: str


def read_blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    lines = page.read_text().splitlines()
    opened: tuple[int, re.Match[str]] | None = None
    for number, line in enumerate(lines):
        if opened is None:
            match = FENCE.match(line)
            assert match or "```" not in line, f"{page}:{number + 1}: a fence that this reader does not know"
            opened = (number, match) if match else None
        elif line == opened[1][1] + "```":
            first, match = opened
            above = REASON.search(lines[first - 1]) if first else None
            text = "\n".join(line.removeprefix(match[1]) for line in lines[first + 1 : number]) + "\n"
            yield Block(page, first + 1, match[2], match[3], above and above[1], text)
            opened = None
    assert opened is None, f"{page}: a fence is not closed"


def command_lines(page: Path) -> Iterator[tuple[int, str]]:
    """Every line of a page's code, fenced, indented or not run, that calls a command of nmbrl."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and line.strip().startswith("nmbrl-"):
            yield number, line.strip()
