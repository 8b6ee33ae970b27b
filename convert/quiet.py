"""Keeping a command's output clean of what libraries print, whether from Python or from C++."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Divert standard output and error, of the process and not only of Python, while the block runs."""
    with captured():
        yield


@contextmanager
def captured() -> Iterator[list[str]]:
    """Like `quiet`, yielding a list that holds the diverted text, one string, once the block has ended."""
    text: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield text
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
            stream.seek(0)
            text.append(stream.read().decode(errors="replace"))
