"""``nmbrl-loihi nir`` and ``nmbrl-loihi import``: spiking networks to NIR files, and NIR files to Loihi."""

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from nmbrl.runtime.command import reports_errors
from nmbrl.targets.errors import NmbrlError

DIRECTORY = click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the files.")


@click.command("nir")
@click.argument("bundle", type=click.Path(path_type=Path))
@DIRECTORY
@reports_errors
def nir_command(bundle: Path, out: Path) -> None:
    """Write each function of BUNDLE (of --method lif) as a .nir file that other simulators run."""
    for path in _nir().export_bundle(bundle, out).values():
        click.echo(f"wrote {path}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@DIRECTORY
@click.option("--inputs", help="What the graph takes: spikes, or currents (real numbers)  [default: spikes]")
@click.option("--dt", type=float, help="Seconds a time step  [default: 0.0001, as snnTorch]")
@click.option("--weight-bits", type=int, help="Width of weights, 2 to 8, on loihi1 to 9  [default: 8]")
@click.option("--steps", type=int, help="Of a decision, which outputs are summed over  [default: the file's, else 1]")
@click.option("--chip", help="What to place the network on: loihi1 or loihi2  [default: loihi2]")
@reports_errors
def import_command(file: Path, out: Path, **options: Any) -> None:
    """Write the NIR graph of FILE (LIF, CubaLIF, Affine, Linear) as a Loihi network in fixed point."""
    nir = _nir()
    report = nir.import_file(file, out, **{name: value for name, value in options.items() if value is not None})
    click.echo(nir.describe(report))
    click.echo(f"wrote {out / file.stem}.json, {report.placement.chip}: {len(report.placement.cores)} cores")


def _nir() -> Any:
    try:
        return import_module("nmbrl.convert.loihi.nir")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("nmbrl"):
            raise
        raise NmbrlError(f"NIR needs {error.name}: pip install 'nmbrl[nir]'") from error
