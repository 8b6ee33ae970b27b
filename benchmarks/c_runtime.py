"""Benchmarks of the C runtime, written to docs/c-runtime.json: ``python benchmarks/c_runtime.py RUN``."""

import json
import tempfile
from pathlib import Path

import click
from c_boards import BOARDS, measure_board
from c_host import compare_decisions, compare_instructions

from nmbrl.convert import onnx, tflite
from nmbrl.convert.c.bundle import convert_bundle
from nmbrl.runtime.command import reports_errors
from nmbrl.targets.files import write_text
from nmbrl.train.run import open_run

RESULT = Path(__file__).parents[1] / "docs" / "c-runtime.json"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=False)
@reports_errors
def main(run: Path, out: Path) -> None:
    """Convert RUN and measure it on this machine and on the emulated boards."""
    opened = open_run(run)
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        onnx.convert(opened, work / "onnx")
        tflite.convert(opened, work / "tflite")
        bundle = convert_bundle(work / "tflite", work / "c")
        click.echo("host: decisions")
        decisions = compare_decisions(run, work / "onnx", work / "c")
        click.echo("host: instructions of an inference")
        inference = compare_instructions(work / "tflite", work / "c")
        boards = {}
        for name in BOARDS:
            click.echo(f"{name}: instructions")
            boards[name] = measure_board(name, work / "c")
    result = {"memory": bundle.measured["memory"], "decisions": decisions, "inference": inference, "boards": boards}
    write_text(out, json.dumps(result, indent=2) + "\n")
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
