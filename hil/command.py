"""`nmbrl-hil`: the environment on the host, the controller on a board, closed loop over a wire."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from nmbrl.hil.board import Board, find_board
from nmbrl.hil.controller import METHODS, WATCHDOG_S
from nmbrl.hil.evaluation import Setting
from nmbrl.hil.faults import parse_faults
from nmbrl.hil.interactive import check_terminal, drive
from nmbrl.hil.session import EMULATED, build, connect, find_emulated, read_c_bundle, run_on_board
from nmbrl.hil.summary import summarise
from nmbrl.runtime.command import repeat_command, reports_errors
from nmbrl.runtime.perturbation import parse_perturbation
from nmbrl.runtime.planners import PlannerOptions, make_options
from nmbrl.runtime.progress import episode_progress
from nmbrl.runtime.run_command import planner_options
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes, write_text


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Path(path_type=Path), metavar="BUNDLE")
@click.option("--board", metavar="NAME", help="qemu:NAME is emulated; NAME or FOLDER is what --firmware is for.")
@click.option("--port", metavar="DEVICE", help="Serial port of a board that is flashed already.")
@click.option("--baud", type=click.IntRange(min=1200), default=115200, show_default=True, help="Of the serial port.")
@click.option("--uart/--semihosting", default=True, help="What an emulated board talks through; UART by default.")
@click.option("--firmware", type=click.Path(path_type=Path), metavar="FILE", help="Write the board's firmware here.")
@click.option("--planner", type=click.Choice(METHODS), default="policy", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=5, show_default=True, help="Of each kind of start.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@click.option("--env", metavar="ID", help="Another environment with the same spaces.")
@click.option("--perturb", metavar="CHANGES", default="", help="E.g. pole_length=1.3,cart_mass=1.5,delay=1.")
@click.option(
    "--faults", metavar="FAULTS", default="", help="E.g. loss=0.1,bitflip=1e-4,late=0.05,reset=0.01,hang=0.01"
)
@click.option("--real-time", type=click.FloatRange(min=1.0), metavar="MS", help="Deadline of a decision: no lock step.")
@click.option(
    "--watchdog",
    type=click.FloatRange(min=1.0),
    default=1e3 * WATCHDOG_S,
    show_default=True,
    metavar="MS",
    help="Silence after which the board is restarted.",
)
@click.option("--profile", is_flag=True, help="Count the instructions of every function of emulated firmware.")
@click.option("--interactive", is_flag=True, help="Watch, push and drive the plant from the keyboard.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here.")
@planner_options
@reports_errors
def main(
    bundle: Path,
    board: str | None,
    port: str | None,
    baud: int,
    uart: bool,
    firmware: Path | None,
    planner: str,
    episodes: int,
    seed: int,
    env: str | None,
    perturb: str,
    faults: str,
    real_time: float | None,
    watchdog: float,
    profile: bool,
    interactive: bool,
    json_file: Path | None,
    **options: Any,
) -> None:
    """Run the controller of BUNDLE (target c) on a board, and the environment here.

    Name an emulated board (--board qemu:mps2-an386, qemu:mps2-an500, qemu:mps3-an547), or the serial --port of a real
    one. Firmware for a real board is built by --board NAME --firmware FILE.
    """
    # Ended from outside, it ends the emulator, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    manifest = read_c_bundle(bundle)
    setting = Setting(
        planner=planner,
        options=_checked(options, planner),
        episodes=episodes,
        seed=seed,
        env=env,
        perturbation=parse_perturbation(perturb),
        faults=parse_faults(faults) if faults else None,
        deadline_s=None if real_time is None else real_time / 1e3,
        watchdog_s=watchdog / 1e3,
    )
    if interactive:
        if json_file is not None or profile:
            raise NmbrlError("--interactive has no figures: leave out --json and --profile")
        check_terminal()
    described = _describe(board, port)
    if firmware is not None:
        if board is None or described is None:
            raise NmbrlError("--firmware needs the --board that it is for")
        write_bytes(firmware, build(described, bundle, setting).read_bytes())
        click.echo(f"wrote {firmware}: {described.description}")
        if port is None and not board.startswith(EMULATED):
            return
    if interactive:
        emulated = find_emulated(board) if port is None else None
        with connect(bundle, setting, emulated, port, baud, not uart) as client:
            click.echo(drive(client.link, manifest.interface.task, setting))
        return
    with episode_progress(2 * episodes) as progress:
        result = run_on_board(bundle, board, setting, port, baud, not uart, profile, progress)
    result.command = repeat_command()
    click.echo(summarise(result))
    if json_file is not None:
        write_text(json_file, json.dumps(result.to_json(), indent=2) + "\n")


def _checked(options: dict[str, Any], planner: str) -> PlannerOptions:
    given = {name: value for name, value in options.items() if value is not None}
    if given and planner == "policy":
        raise NmbrlError(f"--{next(iter(given)).replace('_', '-')} is no option of the policy; give another --planner")
    chosen = make_options(**given)
    chosen.check_device()
    return chosen


def _describe(board: str | None, port: str | None) -> Board | None:
    if board is not None and not board.startswith(EMULATED):
        return find_board(board)
    if board is not None and port is not None:
        raise NmbrlError(f"--board {board} and --port {port} are two boards: give one of them")
    return find_emulated(board) if port is None else None
