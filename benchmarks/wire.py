"""The wire in full: ``python benchmarks/wire.py RUN`` converts RUN and writes docs/wire.json and docs/wire.md.

- Fidelity: each function on random inputs, and 1,000 closed-loop steps, on every emulated board, in TensorFlow Lite
  Micro and in the library of this machine.
- Fuzzing: a million frames into the firmware under sanitizers.
- Endurance: control steps in one go over a link that loses and damages frames, on every emulated board; through FIFOs
  or the UART, by the policy or a search.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from wire_fuzz import build_fuzzer, fuzz
from wire_loop import compare_functions, endure, open_plant, trace_board, trace_executor, trace_library
from wire_page import page

from nmbrl.hil.board import find_board
from nmbrl.hil.build import build_firmware
from nmbrl.hil.faults import Faults
from nmbrl.hil.qemu import QemuLink
from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.c import CExecutor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_text
from nmbrl.targets.load import load

BOARDS = ("mps2-an386", "mps2-an500", "mps3-an547")
PARTS = ("fidelity", "fuzz", "endurance")
OUT = Path(__file__).parents[1] / "docs" / "wire"
FAULTS = Faults(loss=0.01, bitflip=3e-5, reset=1e-4)
CLOSED_LOOP_STEPS = 1000
# What endurance plans with: small, because the wire is what is tried.
SEARCH = PlannerOptions(samples=8, horizon=3, iterations=2, elites=3, policy_samples=2)


@contextmanager
def open_board(name: str, bundle: Path, semihosting: bool) -> Iterator[QemuLink]:
    """Start an emulated board with a bundle's firmware."""
    board = find_board(name)
    link = QemuLink(board, build_firmware(board, bundle, semihosting), semihosting)
    try:
        yield link
    finally:
        link.close()


def open_library(bundle: Path) -> CExecutor:
    """The bundle as a library of this machine."""
    library = load(bundle)
    assert isinstance(library, CExecutor)
    return library


def measure_fidelity(name: str, tflite_bundle: Path, bundle: Path, rows: int) -> dict[str, Any]:
    """Count what differs between a board, TensorFlow Lite Micro and the library."""
    tflm, library = load(tflite_bundle), open_library(bundle)
    task = library.interface.task
    planner = library.open_planner("policy", PlannerOptions().model_dump())
    with open_plant(task) as plant:
        states, actions = trace_executor(tflm, library, plant, CLOSED_LOOP_STEPS)
    with open_plant(task) as plant:
        on_host = trace_library(planner, plant, CLOSED_LOOP_STEPS)
    with open_board(name, bundle, semihosting=True) as link:
        differences = compare_functions(link, bundle, {"tflm": tflm, "library": library}, rows)
        with open_plant(task) as plant:
            on_board = trace_board(link, plant, CLOSED_LOOP_STEPS)
    return {
        "rows_a_function": rows,
        "outputs_that_differ_from": differences,
        "closed_loop_steps": CLOSED_LOOP_STEPS,
        "distinct_states": len(np.unique(states, axis=0)),
        "state_bytes_that_differ": {
            "library": int((on_host[0] != states).sum()),
            "board": int((on_board[0] != states).sum()),
        },
        "actions_that_differ": {
            "library": int((on_host[1] != actions).sum()),
            "board": int((on_board[1] != actions).sum()),
        },
    }


def measure_endurance(name: str, bundle: Path, steps: int, semihosting: bool, planner: str) -> dict[str, Any]:
    """Run one long faulty loop on a board."""
    library = open_library(bundle)

    def report(step: int) -> None:
        if step % 1_000 == 0:
            click.echo(f"{name}: {step} steps")

    with open_board(name, bundle, semihosting) as link, open_plant(library.interface.task) as plant:
        ran = endure(link, library, plant, steps, FAULTS, planner, SEARCH, report)
    return {"link_to": "FIFOs (semihosting)" if semihosting else "UART", **ran}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this; repeatable.")
@click.option("--board", "boards", type=click.Choice(BOARDS), multiple=True, help="Only this; repeatable.")
@click.option("--rows", type=click.IntRange(min=1), default=10_000, show_default=True, help="Inputs a function.")
@click.option("--frames", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="To fuzz with.")
@click.option("--steps", type=click.IntRange(min=1), default=100_000, show_default=True, help="Of endurance.")
@click.option("--semihosting", is_flag=True, help="Endurance through FIFOs instead of the UART: faster.")
@click.option("--planner", type=click.Choice(("policy", "cem", "mppi")), default="policy", help="Of endurance.")
@click.option("--work", type=click.Path(path_type=Path), help="Keep the converted bundles here, and reuse them.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=False, help="Without suffix.")
@reports_errors
def main(
    run: Path,
    parts: tuple[str, ...],
    boards: tuple[str, ...],
    rows: int,
    frames: int,
    steps: int,
    semihosting: bool,
    planner: str,
    work: Path | None,
    out: Path,
) -> None:
    """Convert RUN, measure, and write OUT.json and OUT.md; parts that are not run anew keep their figures."""
    chosen, on = parts or PARTS, boards or BOARDS
    with tempfile.TemporaryDirectory() as directory:
        folder = work or Path(directory)
        bundles = _convert(run, folder)
        for part in chosen:
            for name in on if part != "fuzz" else (None,):
                click.echo(f"{part} {name or ''}")
                if name is None:
                    measured = fuzz(build_fuzzer(Path(directory) / "fuzz", bundles[1]), frames, seed=0)
                elif part == "fidelity":
                    measured = measure_fidelity(name, *bundles, rows)
                else:
                    measured = measure_endurance(name, bundles[1], steps, semihosting, planner)
                    name = f"{name}, {measured['link_to']}, {planner}"
                _keep(out, str(run), part, name, measured)


def _convert(run: Path, folder: Path) -> tuple[Path, Path]:
    """The run as a TFLite bundle and as a C bundle."""
    bundles = folder / "tflite", folder / "c"
    if not all(bundle.exists() for bundle in bundles):
        # Only here: these bring PyTorch and the converter.
        from nmbrl.convert import tflite
        from nmbrl.convert.c.bundle import convert_bundle
        from nmbrl.train.run import open_run

        tflite.convert(open_run(run), bundles[0])
        convert_bundle(*bundles)
    return bundles


def _keep(out: Path, run: str, part: str, name: str | None, measured: dict[str, Any]) -> None:
    """Put one measurement into the result on disk."""
    path = out.with_suffix(".json")
    try:
        result = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise NmbrlError(f"{path} is no JSON: remove it") from error
    result["command"] = f"python benchmarks/wire.py {run}"
    if name is None:
        result[part] = measured
    else:
        result.setdefault(part, {})[name] = measured
    write_text(path, json.dumps(result, indent=2, sort_keys=True) + "\n")
    write_text(out.with_suffix(".md"), page(result))


if __name__ == "__main__":
    main()
