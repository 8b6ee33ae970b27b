"""A bundle: the directory that a conversion writes and a target executes (format in docs/bundle.md)."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import replaced_directory, sha256
from nmbrl.targets.interface import Frozen, Interface

FORMAT_VERSION = 1
MANIFEST = "bundle.json"


class Tensor(Frozen):
    """An input or output of a function as the target sees it; batch is 1 or dynamic and not part of the size.

    Attributes:
        name: as in `Interface.input_sizes` and `Interface.output_sizes`.
        size: length of the vector.
        dtype: element type inside the target.
        scale: real value of one step (integer types), else None.
        zero_point: integer that stands for 0 (integer types), else None.
    """

    name: str
    size: int = Field(gt=0)
    dtype: Literal["float32", "int8", "int16", "int32"]
    scale: float | None = Field(default=None, gt=0)
    zero_point: int | None = None


class Function(Frozen):
    """One core function: the file that holds it, and its tensors in the target's order."""

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Provenance(Frozen):
    """Where a bundle comes from; nothing here depends on when or where it was converted.

    Attributes:
        run: id of the run (SHA-256 of its weights, first 16 digits).
        revision: git revision of nmbrl, or its version where it was installed.
        versions: versions of the packages that took part.
        seed: seed of the run.
        options: the conversion's options.
    """

    run: str
    revision: str
    versions: dict[str, str]
    seed: int
    options: dict[str, Any] = Field(default_factory=dict)

    def labels(self) -> dict[str, str]:
        """The same for people: a few words by label."""
        told = {
            "run": self.run,
            "seed of the training": str(self.seed),
            "revision": self.revision,
            "converted with": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        }
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return {**told, "options": options} if options else told


class Bundle(Frozen):
    """The content of ``bundle.json``.

    Attributes:
        files: SHA-256 of every other file in the bundle, by relative path.
        measured: what the conversion measured, by name (worst error against PyTorch, sizes, ...).
        details: what the target alone needs to know.
    """

    format_version: int
    target: str
    interface: Interface
    functions: dict[str, Function]
    provenance: Provenance
    files: dict[str, str]
    measured: dict[str, Any] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)


def check_free(path: Path) -> None:
    """Check that a bundle may be written here.

    Raises:
        NmbrlError: if `path` holds something that is not a bundle.
    """
    if path.exists() and not (path / MANIFEST).is_file():
        raise NmbrlError(f"{path} exists and is not a bundle; give another --out")


def write_bundle(path: Path, files: dict[str, bytes], **fields: Any) -> Bundle:
    """Write a bundle atomically, replacing one that is there.

    Args:
        path: directory to write.
        files: content of the target's own files, by relative path.
        **fields: the fields of `Bundle` except ``format_version`` and ``files``.

    Raises:
        NmbrlError: if `path` holds something that is not a bundle, or cannot be written.
    """
    path = Path(path)
    check_free(path)
    with replaced_directory(path) as directory:
        for name, content in files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        hashes = {name: sha256(directory / name) for name in sorted(files)}
        bundle = Bundle(format_version=FORMAT_VERSION, files=hashes, **fields)
        (directory / MANIFEST).write_text(_manifest(bundle))
    return bundle


def _canonical(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _manifest(bundle: Bundle) -> str:
    """The bytes of ``bundle.json``: the fields, and the SHA-256 of their canonical form, so that any edit shows."""
    content = bundle.model_dump(mode="json")
    return _canonical({**content, "sha256": hashlib.sha256(_canonical(content).encode()).hexdigest()})


def read_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        NmbrlError: if it is missing, of a newer format, incomplete, or any file differs from its recorded hash.
    """
    path = Path(path)
    try:
        text = (path / MANIFEST).read_text()
        content = json.loads(text)
    except OSError as error:
        raise NmbrlError(f"{path} is not a bundle: no readable {MANIFEST}") from error
    except ValueError as error:
        raise NmbrlError(f"{path / MANIFEST} is damaged ({error}); convert again") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NmbrlError(f"{path} has bundle format {version}, this nmbrl reads up to {FORMAT_VERSION}; upgrade nmbrl")
    try:
        if isinstance(content, dict):
            content.pop("sha256", None)
        bundle = Bundle.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise NmbrlError(f"{path / MANIFEST} is damaged at {where}: {first['msg']}; convert again") from error
    if text != _manifest(bundle):
        raise NmbrlError(f"{path / MANIFEST} is damaged: it was changed after it was written; convert again")
    for name, expected in bundle.files.items():
        file = path / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise NmbrlError(f"{path / MANIFEST} names a file outside the bundle: {name}")
        if not file.is_file():
            raise NmbrlError(f"{path} is incomplete: {name} is missing; convert again")
        if sha256(file) != expected:
            raise NmbrlError(f"{file} is damaged: its SHA-256 differs from bundle.json; convert again")
    unrecorded = {function.file for function in bundle.functions.values()} - set(bundle.files)
    if unrecorded:
        raise NmbrlError(f"{path / MANIFEST} names files without a hash: {', '.join(sorted(unrecorded))}")
    return bundle
