"""The site: built strictly, and complete without a network."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nmbrl.targets.costs import CONSTANTS

from .examples import ROOT

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Loads(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADED and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get(LOADED[tag]) or "")


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    pages = list(site.glob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert len(loads.found) > 3
        assert not [found for found in loads.found if re.match(r"(https?:)?//", found)], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import) *[\"']?(https?:)?//", style.read_text()), style.name


def test_every_constant_and_source_is_on_its_page(site: Path) -> None:
    text = (site / "costs.html").read_text()
    for constant in CONSTANTS:
        assert constant.name in text and f"{constant.joules * 1e12:,.4g}\u00a0pJ" in text
        assert constant.source in text


def test_every_command_and_option_is_on_its_page(site: Path) -> None:
    text = (site / "commands.html").read_text()
    for option in ("--preset", "--target", "--planner", "--faults", "--budgets", "--json", "--resume"):
        assert f"<code>{option}</code>" in text
    assert "Sentinel" not in text and "click." not in text
