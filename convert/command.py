"""``nmbrl-convert``: lower a run to one target."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from nmbrl.convert.quiet import quiet
from nmbrl.convert.sensitivity_table import FILE as SENSITIVITY
from nmbrl.convert.sensitivity_table import make_table
from nmbrl.runtime.command import reports_errors
from nmbrl.targets.bundle import MANIFEST, Bundle, check_free
from nmbrl.targets.errors import NmbrlError


@dataclass(frozen=True)
class Lowering:
    """Where a target's `convert(run, out, progress, **options)` lives, its extra, and the options it takes."""

    module: str
    extra: str
    options: tuple[str, ...] = ()


LOIHI_OPTIONS = (
    "method",
    "threshold",
    "error_budget",
    "sparsity",
    "message_bits",
    "weight_bits",
    "chip",
    "neurons_a_core",
)
LOWERINGS = {
    "onnx": Lowering("nmbrl.convert.onnx", "convert"),
    "tflite": Lowering("nmbrl.convert.tflite", "convert", ("int16", "finetune", "seed", "sensitivity")),
    "c": Lowering("nmbrl.convert.c.bundle", "convert,tflite,c"),
    "loihi": Lowering("nmbrl.convert.loihi", "convert,loihi", LOIHI_OPTIONS),
}


def convert(path: Path, target: str, out: Path, console: Console, **options: Any) -> Bundle:
    """Open a run, lower it, and show the progress on `console`.

    Args:
        path: directory of a run; for C also of an int8 TFLite bundle.
        target: name in `LOWERINGS`.
        out: directory of the bundle; a bundle that is there is replaced.
        console: where to say what is being done.
        **options: options of the target; None means its default.

    Raises:
        NmbrlError: for an unknown target, an option that the target does not have, a missing package, a damaged run,
            something else than a bundle at `out`, or whatever the target cannot convert.
    """
    if target not in LOWERINGS:
        raise NmbrlError(f"no target {target!r}; choose from {', '.join(LOWERINGS)}")
    options = {name: value for name, value in options.items() if value is not None}
    foreign = [name for name in options if name not in LOWERINGS[target].options]
    if foreign:
        raise NmbrlError(f"--{foreign[0].replace('_', '-')} is no option of target {target}")
    if not path.exists():
        raise NmbrlError(f"{path} does not exist; give the directory of a run")
    check_free(out)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    # The screen is drawn between steps only, because libraries print while they run.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task(f"{target}: open {path}", total=None)

        def progress(step: str) -> None:
            bar.update(task, description=f"{target}: {step}", refresh=True)
            if not console.is_terminal:
                console.print(f"{target}: {step}")

        progress("load")
        module = _load_lowering(target)
        if target == "c" and (path / MANIFEST).is_file():
            return module.convert_bundle(path, out, progress)
        return module.convert(_open_run(path), out, progress, **options)


def _load_lowering(target: str) -> ModuleType:
    lowering = LOWERINGS[target]
    try:
        with quiet():
            return import_module(lowering.module)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("nmbrl"):
            raise
        raise NmbrlError(f"converting to {target} needs {error.name}: pip install 'nmbrl[{lowering.extra}]'") from error


def _open_run(path: Path) -> Any:
    from nmbrl.train.run import open_run  # the command answers --help without PyTorch

    return open_run(path)


def summarise(bundle: Bundle) -> Table:
    """Return one table of what the conversion measured: a row a function."""
    measured = bundle.measured
    table = Table(title=f"{bundle.target}: {bundle.interface.parameters:,} parameters")
    table.add_column("function")
    for column in ("MACs", "bytes", "arena bytes", "cores"):
        table.add_column(column, justify="right")
    table.add_column("worst / mean error of each output")
    for function in bundle.functions:
        errors = measured.get("errors", {}).get(function, {})
        shown = ", ".join(f"{name} {entry['worst']:.2g} / {entry['mean']:.2g}" for name, entry in errors.items())
        numbers = (measured.get(key, {}).get(function) for key in ("macs", "bytes", "arena_bytes", "cores"))
        table.add_row(function, *("" if number is None else f"{number:,}" for number in numbers), shown)
    return table


def summarise_memory(bundle: Bundle) -> Table:
    """Return what a C bundle takes on a device: constants in flash, buffers in RAM, work of one decision."""
    table = Table(title="on the device")
    for column in ("what", "amount", "unit"):
        table.add_column(column, justify="right" if column == "amount" else "left")
    for name, entry in bundle.measured["memory"].items():
        table.add_row(name, f"{entry['value']:,}", entry["unit"])
    return table


def drift_lines(measured: Mapping[str, Any]) -> Iterator[str]:
    """Say how far imagination departs from the float model's, and what fine-tuning changed, where it was measured."""
    if "drift" in measured:
        yield f"from float, open loop: {_drift(measured['drift'])}"
    if "finetuning" in measured:
        tuning = measured["finetuning"]
        episodes = tuning["episodes"]
        yield (
            f"fine-tuning on {episodes['learning']} episodes, judged on {episodes['judging']}: "
            f"{_drift(tuning['before'])} before; {_drift(tuning['after'])} after; "
            f"errors fell by a factor of {tuning['improvement']:.3g}, {'kept' if tuning['kept'] else 'thrown away'}"
        )


def _drift(drift: Mapping[str, float]) -> str:
    ahead = [name for name in drift if name.startswith("observation_")]
    shown = ", ".join(f"{drift[name]:.2g} after {name.removeprefix('observation_')}" for name in ahead)
    judged = f"action {drift['action']:.2g}, value {drift['value']:.2g}"
    return f"observations {shown} decisions (standard deviations), {judged}"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", required=True, help=f"What to lower the run to: {', '.join(LOWERINGS)}.")
@click.option("--method", help="How to spike (loihi): sigma-delta or lif.")
@click.option("--int16", help="Activations that are int16 (tflite): state, or all  [default: none, all are int8]")
@click.option("--finetune", type=int, help="Fit the weights to their rounding, in as many updates (tflite).")
@click.option("--seed", type=int, help="Of --finetune  [default: the run's]")
@click.option("--sensitivity", is_flag=True, default=None, help="Measure what rounding each tensor costs (tflite).")
@click.option("--threshold", type=float, help="Changes that are not sent, in steps of messages (loihi)  [default: 0]")
@click.option("--error-budget", type=float, help="Send as little as this error of actions allows, e.g. 0.1 (loihi).")
@click.option("--sparsity", type=float, help="Leave this share of messages unsent, e.g. 0.85 (loihi).")
@click.option("--message-bits", type=int, help="Width of messages (loihi), 6 to 24  [default: 16]")
@click.option("--weight-bits", type=int, help="Width of weights (loihi), 2 to 8  [default: 8]")
@click.option("--chip", help="What to place the networks on (loihi): loihi1 or loihi2  [default: loihi2]")
@click.option("--neurons-a-core", type=int, help="Spread the networks over more cores (loihi)  [default: all that fit]")
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the bundle  [default: RUN-TARGET]")
@reports_errors
def main(run: Path, target: str, out: Path | None, **options: Any) -> None:
    """Convert a trained RUN to one target and write a bundle, which is verified against PyTorch on the way.

    For C, RUN may also be an int8 TFLite bundle, or any int8 .tflite file of supported operators, which becomes one
    function with its header.
    """
    console = Console()
    if target == "c" and run.suffix == ".tflite":
        source = _load_lowering(target).convert_model(run, out or run.resolve().with_suffix(""))
        console.print(f"wrote {source}", soft_wrap=True)
        return
    out = out or run.resolve().with_name(f"{run.resolve().name}-{target}")
    bundle = convert(run, target, out, console, **options)
    console.print(summarise(bundle))
    if "memory" in bundle.measured:
        console.print(summarise_memory(bundle))
    for line in drift_lines(bundle.measured):
        console.print(line, soft_wrap=True)
    if SENSITIVITY in bundle.files:
        console.print(make_table(out / SENSITIVITY))
    console.print(f"wrote {out}", soft_wrap=True)
