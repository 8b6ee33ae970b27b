"""``nmbrl-loihi``: where a model lies on the chip."""

import json
from pathlib import Path

import click

from nmbrl.runtime.command import reports_errors
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_text
from nmbrl.targets.load import load
from nmbrl.targets.loihi.chips import find_chip
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.placement import Placement, place

PICTURE = click.option("--picture", type=click.Path(path_type=Path), help="Draw it here (.png, .svg, .pdf).")
JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Look at a Loihi bundle: its placement on the chip."""


@main.command("place")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--chip", help="Place it anew on this chip, loihi1 or loihi2  [default: as converted]")
@click.option("--neurons-a-core", type=int, help="Place it anew, with no more neurons a core.")
@PICTURE
@JSON
@reports_errors
def place_command(
    bundle: Path, chip: str | None, neurons_a_core: int | None, picture: Path | None, json_file: Path | None
) -> None:
    """Show which cores hold which neurons of BUNDLE, and how full they are."""
    executor = open_loihi(bundle)
    placement = executor.placement
    if chip is not None or neurons_a_core is not None:
        placement = place(executor.networks, find_chip(chip or placement.chip), neurons_a_core)
    click.echo(_table(placement))
    if picture is not None:
        from nmbrl.runtime.loihi.pictures import check_picture_path, draw_placement, save

        check_picture_path(picture)
        save(draw_placement(placement), picture)
        click.echo(f"wrote {picture}")
    if json_file is not None:
        write_text(json_file, json.dumps(placement.model_dump(mode="json"), indent=2) + "\n")


def open_loihi(path: Path, simulator: str | None = None) -> LoihiExecutor:
    """Open a bundle that must be for Loihi.

    Raises:
        NmbrlError: if it is not, or `load` fails.
    """
    executor = load(path, simulator=simulator)
    if not isinstance(executor, LoihiExecutor):
        raise NmbrlError(f"{path} is for {executor.target}, not for Loihi")
    return executor


def _table(placement: Placement) -> str:
    chip = find_chip(placement.chip)
    lines = [
        f"{chip.name}: {len(placement.cores)} of {chip.cores} cores",
        "core  function   neurons  memory  axons in/out",
    ]
    for number, core in enumerate(placement.cores):
        parts = ", ".join(
            part.population if part.start == 0 else f"{part.population} from {part.start}" for part in core.parts
        )
        lines.append(
            f"{number:4}  {core.function:8} {core.compartments:9,}  {core.synaptic_bits / chip.synaptic_bits:5.1%}"
            f"  {core.axons_in:5,}/{core.axons_out:<5,}  {parts}"
        )
    return "\n".join(lines)
