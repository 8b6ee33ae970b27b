"""Benchmarks of the C runtime on a run: JSON in benchmarks/results, tables in docs/.

python benchmarks/c_runtime.py examples/cartpole-swingup
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import click
from c_boards import BOARDS, measure_board
from c_host import SEARCH, compare_decisions, compare_returns
from c_instructions import check_valgrind, compare_instructions
from c_page import page

from nmbrl.convert import onnx, tflite
from nmbrl.convert.c.bundle import convert_bundle
from nmbrl.runtime.command import reports_errors
from nmbrl.targets.files import write_text
from nmbrl.train.run import open_run

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "c-runtime.json"
PACKAGES = ("ziglang", "tflite-micro", "onnxruntime", "torch")
PAGE = ROOT / "docs" / "c-figures.md"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=False)
@reports_errors
def main(run: Path, out: Path) -> None:
    """Convert RUN and measure it on this machine and on the emulated boards."""
    check_valgrind()
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
            boards[name] = measure_board(name, work / "c", work / "tflite", SEARCH)
        click.echo("host: returns")
        returns = compare_returns(run, work / "c")
    result = {
        "memory": bundle.measured["memory"],
        "decisions": decisions,
        "inference": inference,
        "boards": boards,
        "returns": returns,
        "versions": {package: version(package) for package in PACKAGES},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(result, indent=2) + "\n")
    write_text(PAGE, page(result))


if __name__ == "__main__":
    main()
