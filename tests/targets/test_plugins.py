"""Entry points of other packages: found, run like what nmbrl brings, and one line where they are wrong."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from nmbrl.convert import convert, target_names
from nmbrl.convert.command import main
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.plugins import find_plugins, load_plugin, unknown_options

# A target that keeps nothing of the run but its interface.
MODULE = """
from nmbrl.targets.bundle import Provenance, write_bundle
from nmbrl.targets.interface import Executor


def convert(run, out, progress, depth=1):
    progress(f"depth {depth}")
    provenance = Provenance(run="0", revision="0", versions={}, seed=0, options={"depth": depth})
    interface = run.model.interface
    return write_bundle(out, {}, target="nothing", interface=interface, functions={}, provenance=provenance)


class Nothing(Executor):
    def call(self, function, inputs):
        raise NotImplementedError


def open_executor(path, bundle, colour="red"):
    executor = Nothing("nothing", bundle.interface, {})
    executor.colour = colour
    return executor
"""
ENTRY_POINTS = """
[nmbrl.conversions]
nothing = nothing_target:convert
absent = absent_module:convert

[nmbrl.targets]
nothing = nothing_target:open_executor

[nmbrl.world_models]
nothing = nothing_target:NoSuchClass
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as an installer leaves it."""
    record = tmp_path / "nothing_target-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: nothing-target\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "nothing_target.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_a_target_of_another_package(tmp_path: Path) -> None:
    run = Path(__file__).parents[2] / "examples" / "cartpole-swingup"
    assert target_names()[-2:] == ["absent", "nothing"]
    steps: list[str] = []
    bundle = convert(run, "nothing", tmp_path / "b", steps.append, depth=3)
    assert steps == ["load", "depth 3"] and bundle.provenance.options == {"depth": 3}
    assert load(tmp_path / "b").colour == "red"
    assert load(tmp_path / "b", colour="blue").colour == "blue"
    with pytest.raises(NmbrlError, match="--simulator is no option of target nothing"):
        load(tmp_path / "b", simulator="fast")
    arguments = [str(run), "--target", "nothing", "--out", str(tmp_path / "c"), "--set", "depth=4"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0 and "nothing: depth 4" in done.output
    done = CliRunner().invoke(main, [*arguments, "--set", "width=4"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (2, "error: --width is no option of target nothing")


@pytest.mark.usefixtures("installed")
def test_what_cannot_be_loaded_is_named() -> None:
    with pytest.raises(NmbrlError, match=r"nmbrl\.conversions: absent = absent_module:convert cannot be loaded: No"):
        load_plugin(find_plugins("nmbrl.conversions")["absent"])
    with pytest.raises(NmbrlError, match=r"nmbrl\.world_models: nothing = nothing_target:NoSuchClass cannot be loaded"):
        load_plugin(find_plugins("nmbrl.world_models")["nothing"])


def test_without_the_package_its_bundle_names_the_targets_there_are(tmp_path: Path, installed: None) -> None:
    run = Path(__file__).parents[2] / "examples" / "cartpole-swingup"
    convert(run, "nothing", tmp_path / "b")
    (tmp_path / "nothing_target-1.0.dist-info" / "entry_points.txt").unlink()
    with pytest.raises(NmbrlError, match=r"target 'nothing', which this nmbrl does not run \(onnx, tflite, c, loihi\)"):
        load(tmp_path / "b")


def test_options_are_those_of_the_signature() -> None:
    def some(path, bundle, depth=1): ...

    def any_at_all(path, bundle, **options): ...

    assert unknown_options(some, 2, ["depth", "width", "path"]) == ["width", "path"]
    assert unknown_options(any_at_all, 2, ["width"]) == []
