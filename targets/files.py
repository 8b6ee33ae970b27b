"""Writing files so that what is on disk is never lost, and naming bytes by their hash."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nmbrl.targets.errors import NmbrlError


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unwritable(path: Path, error: OSError) -> NmbrlError:
    return NmbrlError(f"cannot write {path}: {error.strerror or error}; what was there before is unchanged")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content atomically: temporary file in the same directory, fsync, rename.

    Raises:
        NmbrlError: if the file cannot be written (no space, no permission); the old content is then still there.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
        _sync_directory(path.parent)
    except OSError as error:
        raise NmbrlError(
            f"cannot write {path}: {error.strerror or error}; what was there before is unchanged"
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Replace a text file's content atomically (UTF-8); see `write_bytes`."""
    write_bytes(path, content.encode())


@contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path` that replaces it when the block ends without an exception.

    The former directory stays whole until the new one is complete and synced; on failure it is untouched.

    Raises:
        NmbrlError: if the directory cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        temporary.chmod(0o755)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        former = temporary.with_name(temporary.name + ".former")
        if path.exists():
            os.replace(path, former)
        os.replace(temporary, path)
        temporary = None
        _sync_directory(path.parent)
        if former.exists():
            shutil.rmtree(former)
    except OSError as error:
        raise NmbrlError(
            f"cannot write {path}: {error.strerror or error}; what was there before is unchanged"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
