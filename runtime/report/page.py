"""A report as one HTML page that needs nothing besides itself, made from the JSON document, its films and traces."""

import base64
import gzip
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nmbrl.runtime.report import tables
from nmbrl.runtime.report.activity import Traces
from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.figures import make_figures
from nmbrl.runtime.report.figures.style import colour
from nmbrl.runtime.report.films import AHEAD, Films
from nmbrl.runtime.report.text import ABSENT, interval, number, text

# What is drawn for a row's marker in text, in the order of the figures' markers.
SIGNS = ("●", "■", "◆", "▲", "▼", "✚", "✖", "★", "⬟", "⬢")
DRAWN_BY = "plotly"
# What a trace's black is drawn in: the page's ink, which follows the theme, and its font; colours are lighter at night.
THEME = (
    "<style>svg { color: #1b1f24 } text { fill: currentColor; font-family: system-ui, sans-serif !important }"
    " @media (prefers-color-scheme: dark)"
    " { svg { color: #e7eaee } image, [id^=line2d] { filter: brightness(1.5) } }</style>"
)


@dataclass(frozen=True)
class Film:
    """One film on the page.

    Attributes:
        row: index of its row.
        key: of its bytes; rows that act alike share them.
        caption: under it.
    """

    row: int
    key: str
    caption: str


def render_page(report: Report, films: Films, traces: Traces) -> str:
    """Return the page, HTML with its style, script, plots, films, traces and data inside."""
    environment = Environment(
        loader=PackageLoader("nmbrl.runtime.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    references = tables.cited(report)
    environment.filters.update(
        text=text,
        interval=interval,
        number=number,
        reference=lambda citation: references.index(citation) + 1,
        index_of=lambda names, name: names.index(name),
        # What is in the folder of templates is ours.
        own=lambda name: Markup((files("nmbrl.runtime.report") / "templates" / name).read_text()),
    )
    figures = make_figures(report)
    described = [asdict(figure) for section in figures.values() for figure in section]
    shown, stored = _films(report, films)
    return environment.get_template("report.html").render(
        report=report,
        document=report.model_dump(mode="json"),
        tables=tables,
        figures=figures,
        packed_figures=pack(json.dumps(described, separators=(",", ":"))),
        packed_plotly=_plotly(),
        films=shown,
        traces={name: _themed(picture) for name, picture in traces.pictures.items()},
        stored_films=stored,
        film_failures=films.failures,
        ahead=AHEAD,
        references=references,
        absent=ABSENT,
        colour=colour,
        sign=lambda index: SIGNS[index % len(SIGNS)],
    )


def pack(content: str) -> str:
    """Return text compressed by gzip, in base64; the page's script unpacks it."""
    return base64.b64encode(gzip.compress(content.encode(), 9, mtime=0)).decode()


@cache
def _plotly() -> str:
    return pack((files(DRAWN_BY) / "package_data" / "plotly.min.js").read_text())


def _themed(picture: bytes) -> str:
    """Return an SVG as the address of an image whose black is the page's ink."""
    drawn = picture.decode().replace("stroke: #000000", "stroke: currentColor").replace("\n", " ")
    return "data:image/svg+xml," + quote(drawn.replace("<defs>", f"{THEME}<defs>", 1), safe=" /:;=,+()!*?$@")


def _films(report: Report, films: Films) -> tuple[dict[str, list[Film]], dict[str, str]]:
    """The films of each kind in the order of the rows, and the bytes of every one of them once."""
    stored: dict[str, str] = {}
    shown: dict[str, list[Film]] = {}
    for kind in ("typical", "worst", "predicted"):
        made: dict[str, bytes] = getattr(films, kind)
        shown[kind] = []
        for index, row in enumerate(report.rows):
            if row.name not in made:
                continue
            key = hashlib.sha256(made[row.name]).hexdigest()[:12]
            stored[key] = base64.b64encode(made[row.name]).decode()
            shown[kind].append(Film(index, key, _caption(row, kind)))
    return shown, stored


def _caption(row: Any, kind: str) -> str:
    return "" if kind == "predicted" else f"return {getattr(row.behaviour, kind).returned:.1f}"
