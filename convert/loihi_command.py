"""``nmbrl-loihi``: where a model lies on the chip, and what thresholds and time do to it."""

import json
from pathlib import Path
from typing import Any

import click

from nmbrl.convert.nir_command import import_command, nir_command
from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.planners import PLANNERS
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
    """Look at a Loihi bundle: its placement, what a decision costs, what thresholds and time do to it. And NIR."""


main.add_command(nir_command)
main.add_command(import_command)


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
    _check_picture(picture)
    executor = open_loihi(bundle)
    placement = executor.placement
    if chip is not None or neurons_a_core is not None:
        placement = place(executor.networks, find_chip(chip or placement.chip), neurons_a_core)
    click.echo(_table(placement))
    if picture is not None:
        from nmbrl.runtime.loihi.pictures import draw_placement, save

        save(draw_placement(placement), picture)
        click.echo(f"wrote {picture}")
    if json_file is not None:
        write_text(json_file, json.dumps(placement.model_dump(mode="json"), indent=2) + "\n")


@main.command("count")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--planner", type=click.Choice(list(PLANNERS)), default="policy", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="From native starts.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@PICTURE
@JSON
@reports_errors
def count_command(
    bundle: Path, planner: str, episodes: int, seed: int, picture: Path | None, json_file: Path | None
) -> None:
    """Run BUNDLE closed loop: messages, operations and hops of a decision, and what published models make of them."""
    from nmbrl.runtime.loihi.counting import count

    _check_picture(picture)
    tally = count(open_loihi(bundle), planner, episodes, seed)
    figures = tally.to_json()
    click.echo(_summary(figures))
    if picture is not None:
        from nmbrl.runtime.loihi.pictures import draw_tally, save

        save(draw_tally(tally), picture)
        click.echo(f"wrote {picture}")
    if json_file is not None:
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


@main.command("drift")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--decisions", type=click.IntRange(min=10), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@JSON
@reports_errors
def drift_command(bundle: Path, decisions: int, seed: int, json_file: Path | None) -> None:
    """Run BUNDLE closed loop without ever starting its networks anew, and compare with networks that have no past."""
    from nmbrl.runtime.loihi.drift import measure_drift

    figures = measure_drift(open_loihi(bundle), open_loihi(bundle), decisions, seed)
    for row in figures:
        click.echo(
            f"decisions {row['first']:6,} to {row['last']:6,}: mean difference {row['mean']:.3g},"
            f" largest {row['largest']:.3g}"
        )
    if json_file is not None:
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


@main.command("trade-off")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--budgets", default="0,0.04,0.08,0.12,0.16,0.24", show_default=True, help="Errors that are allowed.")
@click.option(
    "--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="Of native and of varied starts."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@click.option("--finetune", type=click.IntRange(min=0), default=0, help="Updates; see nmbrl-convert.")
@PICTURE
@JSON
@reports_errors
def trade_off_command(
    run: Path, budgets: str, episodes: int, seed: int, finetune: int, picture: Path | None, json_file: Path | None
) -> None:
    """Convert RUN with several error budgets: synaptic operations a decision against return and rollout error."""
    from nmbrl.convert.loihi.trade_off import measure_trade_off
    from nmbrl.train.run import open_run

    _check_picture(picture)
    if not run.exists():
        raise NmbrlError(f"{run} does not exist; give the directory of a run")
    figures = measure_trade_off(open_run(run), _numbers(budgets), episodes, seed, finetune, click.echo)
    if picture is not None:
        from nmbrl.runtime.loihi.pictures import draw_trade_off, save

        save(draw_trade_off(figures), picture)
        click.echo(f"wrote {picture}")
    if json_file is not None:
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise NmbrlError(f"--budgets {text} is no list of numbers such as 0,0.05,0.1") from None


def _check_picture(path: Path | None) -> None:
    if path is not None:
        from nmbrl.runtime.loihi.pictures import check_picture_path

        check_picture_path(path)


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


def _summary(figures: dict[str, Any]) -> str:
    decision, busiest = figures["per_decision"], figures["busiest"]
    low, high = figures["interval"]
    lines = [
        f"{figures['env']}, {figures['planner']}: return {figures['mean_return']:.1f} [{low:.1f}, {high:.1f}],"
        f" {figures['episodes']} episodes, {figures['decisions']:,} decisions; a decision:",
        f"  {decision['messages']:,.0f} messages of {decision['possible_messages']:,.0f} possible,"
        f" {decision['synaptic_operations']:,.0f} synaptic operations,"
        f" {decision['neuron_updates']:,.0f} neuron updates,",
        f"  {decision['packets']:,.0f} packets, {decision['hops_east_west']:,.0f} hops east or west,"
        f" {decision['hops_north_south']:,.0f} north or south, {decision['steps']:,.0f} steps",
        f"  busiest core: {busiest['core']} ({busiest['function']}),"
        f" {busiest['synaptic_operations']:,.0f} synaptic operations in step {busiest['step']}",
        figures["label"],
    ]
    for row in figures["energy"]:
        between = "" if row["low"] is None else f" [{1e6 * row['low']:.3g}, {1e6 * row['high']:.3g}]"
        lines.append(f"  {1e6 * row['joules']:.3g}{between} µJ  {row['name']} (counted x constant)")
    lines += [
        f"  {1e6 * row['seconds']:.3g} [{1e6 * row['low']:.3g}, {1e6 * row['high']:.3g}] µs  {row['name']} (modelled)"
        for row in figures["latency"]
    ]
    return "\n".join(lines)
