"""``nmbrl-convert``: lower a run to one target."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from nmbrl.convert.conversion import convert, load_conversion, target_names
from nmbrl.convert.sensitivity_table import FILE as SENSITIVITY
from nmbrl.convert.sensitivity_table import make_table
from nmbrl.runtime.command import reports_errors
from nmbrl.targets.bundle import Bundle
from nmbrl.targets.errors import NmbrlError


def convert_visibly(path: Path, target: str, out: Path, console: Console, **options: Any) -> Bundle:
    """Do what `convert` does, and show on `console` what is being done."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    # The screen is drawn between steps only, because libraries print while they run.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task(f"{target}: open {path}", total=None)

        def progress(step: str) -> None:
            bar.update(task, description=f"{target}: {step}", refresh=True)
            if not console.is_terminal:
                console.print(f"{target}: {step}")

        return convert(path, target, out, progress, **options)


def _parse(assignments: Sequence[str]) -> dict[str, Any]:
    if not assignments:
        return {}
    from nmbrl.train.settings import parse_assignments  # needs PyYAML

    return parse_assignments(assignments)


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
    ahead = sorted(int(name.removeprefix("observation_")) for name in drift if name.startswith("observation_"))
    shown = ", ".join(f"{drift[f'observation_{steps}']:.2g} after {steps}" for steps in ahead)
    judged = f"action {drift['action']:.2g}, value {drift['value']:.2g}"
    return f"observations {shown} decisions (standard deviations), {judged}"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", required=True, help=f"What to lower the run to: {', '.join(target_names())}.")
@click.option("--method", help="How to spike (loihi): sigma-delta or lif  [default: sigma-delta]")
@click.option("--int16", help="Activations that are int16 (tflite): state, or all  [default: none, all are int8]")
@click.option("--finetune", type=int, help="Updates that fit weights to rounding (tflite) or thresholds (loihi).")
@click.option("--seed", type=int, help="Of --finetune or --method lif (loihi)  [default: the run's]")
@click.option("--sensitivity", is_flag=True, default=None, help="Measure what rounding each tensor costs (tflite).")
@click.option("--threshold", type=float, help="Changes that are not sent, in steps of messages (loihi)  [default: 0]")
@click.option("--error-budget", type=float, help="Send as little as this error of actions allows, e.g. 0.1 (loihi).")
@click.option("--sparsity", type=float, help="Leave this share of messages unsent, e.g. 0.85 (loihi).")
@click.option("--message-bits", type=int, help="Width of messages (loihi), 6 to 24  [default: 16]")
@click.option("--weight-bits", type=int, help="Width of weights (loihi), 2 to 8, of lif 1 to 9  [default: 8]")
@click.option("--time-steps", type=int, help="Of a decision (loihi, lif), 2 to 64  [default: 6]")
@click.option("--updates", type=int, help="Train the spiking student so long (loihi, lif)  [default: 9000]")
@click.option("--resume", is_flag=True, default=None, help="Go on with a training that was ended (loihi, lif).")
@click.option("--chip", help="What to place the networks on (loihi): loihi1 or loihi2  [default: loihi2]")
@click.option("--neurons-a-core", type=int, help="Spread the networks over more cores (loihi)  [default: all that fit]")
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the bundle  [default: RUN-TARGET]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of a target that another package adds.",
)
@reports_errors
def main(run: Path, target: str, out: Path | None, assignments: Sequence[str], **options: Any) -> None:
    """Convert a trained RUN to one target and write a bundle, which is verified against PyTorch on the way.

    For C, RUN may also be an int8 TFLite bundle, or any int8 .tflite file of supported operators, which becomes one
    function with its header.
    """
    console = Console()
    if target == "c" and run.suffix == ".tflite":
        source = load_conversion(target).convert_model(run, out or run.resolve().with_suffix(""))
        console.print(f"wrote {source}", soft_wrap=True)
        return
    out = out or run.resolve().with_name(f"{run.resolve().name}-{target}")
    further = _parse(assignments)
    for name in further.keys() & options.keys():
        raise NmbrlError(f"--set {name}: give --{name.replace('_', '-')}")
    options |= further
    bundle = convert_visibly(run, target, out, console, **options)
    console.print(summarise(bundle))
    if "memory" in bundle.measured:
        console.print(summarise_memory(bundle))
    for line in drift_lines(bundle.measured):
        console.print(line, soft_wrap=True)
    if SENSITIVITY in bundle.files:
        console.print(make_table(out / SENSITIVITY))
    console.print(f"wrote {out}", soft_wrap=True)
