"""The folders' arrows (DESIGN: "The folders are the architecture") and the package list, read off the sources."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "targets": {"nmbrl.train", "nmbrl.convert", "nmbrl.runtime", "nmbrl.hil"},
    "runtime": {"nmbrl.train", "nmbrl.convert", "nmbrl.hil"},
    "train": {"nmbrl.convert", "nmbrl.hil"},
    "convert": {"nmbrl.hil"},
    "hil": {"nmbrl.train", "nmbrl.convert"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def sources(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"no sources in {folder}/"
    return files


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_follow_the_arrows(folder: str) -> None:
    names = {path: list(imports(path)) for path in sources(folder)}
    relative = [path for path, found in names.items() if any(name.startswith(".") for name in found)]
    assert not relative, "relative imports hide what is imported"
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, found in names.items()
        for name in found
        for forbidden in FORBIDDEN[folder]
        if name == forbidden or name.startswith(forbidden + ".")
    ]
    assert not wrong


def test_nothing_is_pickled() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in tracked.stdout.split()]
    assert files
    assert not [path for path in files for name in imports(path) if name.split(".")[0] in {"pickle", "cloudpickle"}]


def test_every_package_is_installed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {
        "nmbrl." + ".".join(path.parent.relative_to(ROOT).parts)
        for folder in FORBIDDEN
        for path in (ROOT / folder).rglob("*.py")
    }
    assert present == listed
