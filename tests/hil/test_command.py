"""`nmbrl-hil` as a user calls it."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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
        (("--board", "qemu:mps2-an386", "--faults", "loss=7"), "a probability is between 0 and 1, not '7'"),
        (("--board", "qemu:template", "--semihosting"), "template talks through its UART only"),
    ],
)
def test_wrong_use_is_one_line(small_c: tuple[Path, Path], arguments: tuple[str, ...], message: str) -> None:
    done = run(small_c[0], *arguments)
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert message in done.output
    assert done.output.count("\n") == 1


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
