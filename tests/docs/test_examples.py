"""What the documentation shows works: its files are written, its Python and commands are run, in a page's order."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from .examples import PAGES, ROOT, Block, command_lines, read_blocks

COMMANDS: dict[str, click.Command] = {
    script.name: script.load() for script in entry_points(group="console_scripts") if script.name.startswith("nmbrl-")
}
RUN = {page: [block for block in read_blocks(page) if block.reason is None] for page in PAGES}


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles by what made them: pages that convert the same thing share it."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Path) -> Iterator["Reader"]:
    """Somebody who follows a page in an empty folder that holds the examples alone."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    # What a page installs goes into a folder of this test.
    site = tmp_path / "site-packages"
    site.mkdir()
    for name, value in {
        "PIP_TARGET": site,
        "PIP_NO_DEPS": 1,
        "PIP_NO_BUILD_ISOLATION": 0,
        "PIP_DISABLE_PIP_VERSION_CHECK": 1,
        "PYTHONPATH": site,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)
    yield Reader(tmp_path, converted)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]


class Reader:
    """Does what blocks say; what a command prints can be read in `printed`."""

    def __init__(self, folder: Path, converted: Path) -> None:
        self.folder = folder
        self.converted = converted

    def follow(self, block: Block) -> None:
        if block.title is not None:
            self.write(block)
        elif block.language == "python":
            with contextlib.redirect_stdout(None):
                exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "example"})
        elif block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                self.run(shlex.split(line, comments=True))
        else:
            assert block.language in ("text", "toml", "c", "yaml", "json"), f"{block.page}:{block.line}: mark it"

    def write(self, block: Block) -> None:
        """A block with a title is a file: of the repository, then it is the same, or of the reader's own."""
        file = self.folder / str(block.title)
        if file.exists():
            assert file.read_text() == block.text, f"{block.page}:{block.line} differs from {block.title}"
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)

    def run(self, words: list[str]) -> None:
        if not words:
            return
        if words[0] == "nmbrl-convert":
            self.convert(words)
        elif words[0] in COMMANDS:
            invoke(words)
        else:
            done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True)
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"

    def convert(self, words: list[str]) -> None:
        """Convert once what several pages convert: bundles depend on nothing but the run and the options."""
        out = words.index("--out") + 1
        made = self.converted / re.sub(r"\W", "-", " ".join(words[1 : out - 1] + words[out + 1 :]))
        if not made.exists() or "examples/" not in words[1]:
            shutil.rmtree(made, ignore_errors=True)
            invoke([*words[:out], str(made), *words[out + 1 :]])
        Path(words[out]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, words[out])


def invoke(words: list[str]) -> None:
    result = CliRunner().invoke(COMMANDS[words[0]], words[1:])
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"


@pytest.mark.parametrize("page", [page for page in PAGES if RUN[page]], ids=lambda page: page.stem)
def test_examples_work(page: Path, reader: Reader) -> None:
    for block in RUN[page]:
        reader.follow(block)


def test_examples_are_found() -> None:
    """Not vacuous: the pages that teach have examples that are run, and what is not run says why."""
    languages = {page.stem: {block.language for block in blocks} for page, blocks in RUN.items()}
    for name in ("README", "getting-started", "choose-a-target", "add-a-target", "add-a-world-model"):
        assert "sh" in languages[name], f"{name} has no command that is run"
    reasons = [block.reason for page in PAGES for block in read_blocks(page) if block.reason is not None]
    assert reasons and all(len(reason.split()) > 2 for reason in reasons)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_exist(page: Path) -> None:
    """Of every command that a page shows, run or not, the options are there."""
    for number, line in command_lines(page):
        words = [word.split("=")[0].strip("[]|") for word in re.split(r"[\s|]+", line.split(" #")[0])]
        command = COMMANDS[words[0]]
        if isinstance(command, click.Group):
            subcommands = [command.commands[name] for name in words[1].split("|") if name in command.commands]
            command = subcommands[0] if subcommands else command
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        foreign = [word for word in words if word.startswith("--") and word not in known | {"--help"}]
        assert not foreign, f"{page}:{number}: {words[0]} has no option {foreign[0]}"


def test_python_in_the_documentation_is_tidy(tmp_path: Path) -> None:
    for index, block in enumerate(block for page in PAGES for block in read_blocks(page)):
        if block.language == "python":
            name = Path(block.title or f"{index}.py").name
            (tmp_path / str(index)).mkdir()
            (tmp_path / str(index) / name).write_text(block.text)
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check", "--extend-ignore", "D,I"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *check, "--config", ROOT / "pyproject.toml", "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
