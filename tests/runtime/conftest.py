"""A bundle on disk that holds an exact model."""

import sys
from types import ModuleType

import pytest

from nmbrl.targets.bundle import Function, Provenance, Tensor, write_bundle
from nmbrl.targets.load import TARGETS, Target

from .plants import PointMassModel


@pytest.fixture
def point_mass_bundle(tmp_path, monkeypatch):
    """A real bundle on disk for a target of the tests' own, which the commands open like any other."""
    module = ModuleType("nmbrl_tests_target")
    module.open_executor = lambda path, bundle: PointMassModel(**bundle.details)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TARGETS, "exact", Target(module.__name__, "dev"))
    tensor = Tensor(name="x", size=2, dtype="float32")

    def write(**details):
        path = tmp_path / "bundle"
        write_bundle(
            path,
            {"model.bin": b"exact"},
            target="exact",
            interface=PointMassModel().interface,
            functions={"value": Function(file="model.bin", inputs=(tensor,), outputs=(tensor,))},
            provenance=Provenance(run="0" * 16, revision="0", versions={}, seed=0),
            details=details,
        )
        return path

    return write
