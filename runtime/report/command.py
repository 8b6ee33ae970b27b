"""`nmbrl-report`: runs, bundles and records side by side, with what each costs and how much return it keeps."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.planners import PLANNERS
from nmbrl.runtime.progress import episode_progress
from nmbrl.runtime.report.activity import Traces
from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.films import Films
from nmbrl.runtime.report.gather import Settings, gather
from nmbrl.runtime.report.markdown import render_markdown
from nmbrl.runtime.report.terminal import PLAIN_WIDTH, print_report
from nmbrl.targets import NmbrlError
from nmbrl.targets.files import write_text


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", metavar="[NAME=]RUN|BUNDLE|RECORD...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the report as a page (HTML).")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every number with unit and source.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the page's tables as Markdown.")
@click.option("--planner", type=click.Choice(list(PLANNERS)), default="policy", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="Of each kind of start.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@click.option("--films/--no-films", default=True, show_default=True, help="Film episodes for the page.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keep closed loops and films here, and take from here what was made before.",
)
@reports_errors
def main(
    models: tuple[str, ...],
    out: Path | None,
    json_file: Path | None,
    markdown: Path | None,
    planner: str,
    episodes: int,
    seed: int,
    films: bool,
    keep: Path | None,
) -> None:
    """Evaluate every RUN and BUNDLE on the same episodes, and report return, cost and fidelity, a row each.

    A RECORD is what nmbrl-run --json or nmbrl-hil --json wrote of the same episodes: so boards
    come in. With NAME= before it, the report calls it so.
    """
    # Ended from outside, it still reports what it has.
    signal.signal(signal.SIGTERM, _interrupt)
    render = _renderer() if out is not None else None
    settings = Settings(episodes, seed, planner, films and out is not None, out is not None, keep)
    gathered = gather(models, settings, lambda line: click.echo(line, err=True), episode_progress)
    report = gathered.report
    print_report(report, Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH))
    for file, write in (
        (json_file, lambda: report.model_dump_json(indent=1) + "\n"),
        (markdown, lambda: render_markdown(report)),
        (out, lambda: render(report, gathered.films, gathered.traces) if render is not None else ""),
    ):
        if file is not None:
            write_text(file, write())
            click.echo(f"wrote {file}")
    if report.failures:
        click.echo(f"error: {'; '.join(report.failures)}", err=True)
        sys.exit(130 if gathered.interrupted else 2)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _renderer() -> Callable[[Report, Films, Traces], str]:
    """The page needs more packages than the numbers: say so before the evaluation, not after it."""
    try:
        import matplotlib  # noqa: F401 - it draws traces
        import plotly  # noqa: F401 - its script is read from the package

        from nmbrl.runtime.report.page import render_page
    except ModuleNotFoundError as error:
        raise NmbrlError(f"--out needs {error.name}: pip install 'nmbrl[report]'") from error
    return render_page
