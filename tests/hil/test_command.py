"""`nmbrl-hil` as a user calls it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nmbrl.hil.board import BOARDS
from nmbrl.hil.command import main
from nmbrl.targets.load import load

from .plant import plant_for


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_closed_loop_on_an_emulated_board(small_c: tuple[Path, Path], tmp_path: Path) -> None:
    env = plant_for(load(small_c[0]).interface.task)
    figures = {}
    for name, more in (("sound", ()), ("faulty", ("--faults", "loss=0.02,reset=0.05"))):
        done = run(
            *(small_c[0], "--board", "qemu:mps3-an547", "--semihosting", "--env", env, "--episodes", "1"),
            *("--json", tmp_path / f"{name}.json", *more),
        )
        assert done.exit_code == 0, done.output
        figures[name] = json.loads((tmp_path / f"{name}.json").read_text())
        assert f"{figures[name]['mean_return']:.1f}" in done.output
    sound, faulty = figures["sound"], figures["faulty"]
    assert (sound["target"], sound["board"], sound["planner"]) == ("c on mps3-an547", "mps3-an547", "policy")
    assert sound["returns"] == faulty["returns"]
    assert faulty["faults"]["injected"]["restarts"] >= 1
    decision = sound["instructions"]["decision"]
    assert 1000 < decision["mean"] <= decision["max"]
    cycles = sound["instructions"]["estimated"]["cycles"]
    assert cycles["low"] == pytest.approx(decision["mean"])
    assert cycles["high"] == pytest.approx(2 * decision["mean"])
    assert "Cortex-M55" in cycles["source"]


def test_counts_of_every_function_are_printed_and_written(
    small_c: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = plant_for(load(small_c[0]).interface.task)
    # A path that is not absolute: the compiler runs elsewhere.
    monkeypatch.chdir(small_c[0].parent)
    done = run(
        *(small_c[0].name, "--board", "qemu:mps2-an386", "--semihosting", "--env", env, "--episodes", "1"),
        *("--profile", "--faults", "hang=0.05", "--watchdog", "100", "--json", tmp_path / "figures.json"),
    )
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    counted = figures["instructions"]
    assert counted["functions"]["observe"]["single"] > counted["functions"]["observe"]["batch"] > 0
    assert counted["code"]["nmbrl_dense"] > 0
    total = sum(counted["code"].values())
    assert total > counted["decision"]["mean"] * figures["decisions"]
    assert f"{total:,} instructions since start-up" in done.output
    assert figures["faults"]["injected"]["hangs"] == figures["faults"]["mended"]["watchdog_restarts"] > 0
    assert f"{figures['safe_actions']} of {figures['decisions']} decisions were the safe action" in done.output


def test_a_board_of_ones_own_is_a_folder(small_c: tuple[Path, Path], tmp_path: Path) -> None:
    env = plant_for(load(small_c[0]).interface.task)
    shutil.copytree(BOARDS / "template", tmp_path / "mine")
    source = tmp_path / "mine" / "board.c"
    source.write_text(source.read_text().replace('"template"', '"my own"'))
    done = run(small_c[0], "--board", f"qemu:{tmp_path}/mine", "--env", env, "--episodes", "1")
    assert done.exit_code == 0, done.output
    assert "c on mine, policy, lock step" in done.output


def test_an_emulator_that_ends_is_said_in_one_line(small_c: tuple[Path, Path]) -> None:
    env = plant_for(load(small_c[0]).interface.task)
    command = [sys.executable, "-c", "import plant; from nmbrl.hil.command import main; main()", str(small_c[0])]
    arguments = ["--board", "qemu:mps2-an386", "--env", env, "--episodes", "100000"]
    plants = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True, env=plants) as process:
        emulator = wait_for_child(process.pid)
        os.kill(emulator, signal.SIGKILL)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in complaint


def wait_for_child(parent: int) -> int:
    """The emulator that a process has started, once it runs."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for child in children.read_text().split():
            if "qemu" in Path(f"/proc/{child}/comm").read_text():
                time.sleep(1)
                return int(child)
        time.sleep(0.1)
    raise AssertionError("no emulator")


def test_firmware_is_written_for_flashing(small_c: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(small_c[0], "--board", "mps2-an386", "--firmware", tmp_path / "firmware.elf")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "firmware.elf").read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a --board (qemu:mps2-an386, "),
        (("--board", "qemu:arduino"), "no board 'arduino'; there are mps2-an386, "),
        (("--port", "/dev/ttyNowhere"), "cannot open /dev/ttyNowhere"),
        (("--board", "qemu:mps2-an386", "--samples", "9"), "--samples is no option of the policy"),
        (("--board", "qemu:mps2-an386", "--planner", "cem", "--samples", "1"), "planner option samples"),
        (("--board", "qemu:mps2-an386", "--planner", "cem", "--deviation", "0.1"), "option deviation must be 0 there"),
        (("--board", "qemu:mps2-an386", "--faults", "loss=7"), "a probability is between 0 and 1, not '7'"),
        (("--board", "qemu:template", "--semihosting"), "template talks through its UART only"),
        (("--board", "mps2-an386"), "give qemu:mps2-an386 to emulate it, --firmware FILE to build for it, or --port"),
        (("--board", "qemu:mps2-an386", "--port", "/dev/ttyNowhere"), "are two boards: give one of them"),
        (("--port", "/dev/ttyNowhere", "--firmware", "x.elf"), "--firmware needs the --board that it is for"),
        (("--port", "/dev/ttyNowhere", "--profile"), "--profile needs an emulated board"),
        (("--board", "./nowhere"), "./nowhere is no board's folder: there is no board.toml in it"),
        (("--board", "qemu:mps2-an386", "--interactive", "--json", "x.json"), "--interactive has no figures"),
        (("--board", "qemu:mps2-an386", "--interactive"), "--interactive needs a terminal"),
        (("--board", "qemu:mps2-an386", "--faults", "gremlins"), "give NAME=PROBABILITY with loss, bitflip, "),
    ],
)
def test_wrong_use_is_one_line(small_c: tuple[Path, Path], arguments: tuple[str, ...], message: str) -> None:
    done = run(small_c[0], *arguments)
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert message in done.output
    assert done.output.count("\n") == 1


def test_a_missing_emulator_is_said_before_anything_is_built(
    small_c: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NMBRL_CACHE", str(tmp_path / "cache"))
    done = run(small_c[0], "--board", "qemu:mps2-an386")
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "sudo apt-get install qemu-system-arm" in done.output
    assert not (tmp_path / "cache").exists()


def test_a_board_file_that_is_wrong_says_where(small_c: tuple[Path, Path], tmp_path: Path) -> None:
    for text, message in (
        ("core = ", "board.toml is wrong: Invalid value"),
        ('description = "x"', "board.toml is wrong: core: field required"),
        ((BOARDS / "template" / "board.toml").read_text().replace("board.c", "absent.c"), "there is no absent.c in"),
    ):
        (tmp_path / "board.toml").write_text(text)
        done = run(small_c[0], "--board", f"{tmp_path}/", "--firmware", tmp_path / "out.elf")
        assert (done.exit_code, done.output.count("\n")) == (2, 1)
        assert message in done.output


def test_a_bundle_for_another_target_is_refused(small_c: tuple[Path, Path]) -> None:
    done = run(small_c[1], "--board", "qemu:mps2-an386")
    assert done.exit_code == 2
    assert "is for tflite; boards run C: nmbrl-convert RUN --target c" in done.output


def test_a_changed_source_is_not_built(small_c: tuple[Path, Path], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(small_c[0], bundle)
    (bundle / "model.c").write_text((bundle / "model.c").read_text() + "/* edited */\n")
    done = run(bundle, "--board", "qemu:mps2-an386")
    assert done.exit_code == 2
    assert "model.c" in done.output
