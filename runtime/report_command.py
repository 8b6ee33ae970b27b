"""`nmbrl-report`: runs and bundles side by side, with what each costs and how much return it keeps."""

import sys
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.planners import PLANNERS
from nmbrl.runtime.progress import episode_progress
from nmbrl.runtime.report import Settings, make_report
from nmbrl.runtime.report_document import Report
from nmbrl.runtime.report_text import PLAIN_WIDTH, print_report
from nmbrl.targets import NmbrlError
from nmbrl.targets.files import write_text


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", type=click.Path(path_type=Path), metavar="RUN|BUNDLE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the report as a page (HTML).")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every number with unit and source.")
@click.option("--planner", type=click.Choice(list(PLANNERS)), default="policy", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="Of each kind of start.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@reports_errors
def main(
    models: tuple[Path, ...], out: Path | None, json_file: Path | None, planner: str, episodes: int, seed: int
) -> None:
    """Evaluate every RUN and BUNDLE on the same episodes and report return, cost and fidelity, a row each."""
    render = _renderer() if out is not None else None
    settings = Settings(episodes, seed, planner)
    report = make_report(models, settings, lambda line: click.echo(line, err=True), episode_progress)
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    print_report(report, Console(width=width))
    if json_file is not None:
        write_text(json_file, report.model_dump_json(indent=2) + "\n")
        click.echo(f"wrote {json_file}")
    if out is not None and render is not None:
        write_text(out, render(report))
        click.echo(f"wrote {out}")
    if report.failures:
        raise NmbrlError("; ".join(report.failures))


def _renderer() -> Callable[[Report], str]:
    """The page needs more packages than the numbers: say so before the evaluation, not after it."""
    try:
        from nmbrl.runtime.report_page import render_page
    except ModuleNotFoundError as error:
        raise NmbrlError(f"--out needs {error.name}: pip install 'nmbrl[report]'") from error
    return render_page
