"""Bundles of exact models whose returns and errors can be computed by hand."""

import sys
from types import ModuleType

import gymnasium
import pytest
from click.testing import CliRunner

from nmbrl.convert import loihi
from nmbrl.runtime.report.command import main
from nmbrl.targets.bundle import Function, Provenance, Tensor, write_bundle
from nmbrl.targets.costs import LOIHI_COUNTS
from nmbrl.targets.load import TARGETS, Target

from ...conftest import make_run
from ...hil.plant import plant_for
from ..plants import PointMass, PointMassModel

REWARDED = "nmbrl_tests/RewardedPointMass-v0"
BONUS = 50.0


class RewardedPointMass(PointMass):
    """The point mass with so much reward a step that returns are positive."""

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + BONUS, *rest


gymnasium.register(REWARDED, RewardedPointMass, order_enforce=False, disable_env_checker=True)


class CountingModel(PointMassModel):
    """Stands for any target, and counts spikes where that target does."""

    EVENTS = LOIHI_COUNTS

    def __init__(self, target, spikes=0, broken=False, interrupts=False, **options):
        super().__init__(**options)
        self.target, self._spikes, self._broken, self._interrupts = target, spikes, broken, interrupts

    def call(self, function, inputs):
        if self._interrupts:
            raise KeyboardInterrupt
        if self._broken:
            raise RuntimeError("the arena is too small\nand more")
        if self._spikes:
            self.counts.update({name: self._spikes * len(inputs["x"]) for name in self.EVENTS})
        return super().call(function, inputs)


def bundle_writer(folder, monkeypatch):
    """Return what writes a real bundle of a `CountingModel` that reports itself as any target."""
    module = ModuleType("nmbrl_tests_any_target")
    module.open_executor = lambda path, bundle, **options: CountingModel(**bundle.details)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TARGETS, "any", Target(module.__name__, "dev"))
    tensor = Tensor(name="x", size=2, dtype="float32")

    def write(name, target, measured=None, task_env=REWARDED, files=None, **details):
        write_bundle(
            folder / name,
            {"model.bin": b"exact", **(files or {})},
            target="any",
            interface=PointMassModel(task_env=task_env).interface,
            functions={"act": Function(file="model.bin", inputs=(tensor,), outputs=(tensor,))},
            provenance=Provenance(run="0123456789abcdef", revision="r1", versions={"onnx": "1.2"}, seed=7),
            measured=measured or {},
            details={"target": target, "task_env": task_env, **details},
        )
        return folder / name

    return write


@pytest.fixture(scope="session")
def loihi_bundle(tmp_path_factory):
    """A real Loihi bundle of the small model, of an environment that can be made."""
    run = make_run()
    task = run.model.interface.task
    task = task.model_copy(update={"env": plant_for(task)})
    run.model.interface = run.model.interface.model_copy(update={"task": task})
    path = tmp_path_factory.mktemp("report") / "neurons"
    loihi.convert(run, path)
    return path


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    return bundle_writer(tmp_path, monkeypatch)


def call(*arguments, films=False):
    """Call the command; without films, which have tests of their own, unless they are asked for."""
    switch = [] if films else ["--no-films"]
    return CliRunner().invoke(main, [*map(str, arguments), *switch])


@pytest.fixture
def invoke():
    return call
