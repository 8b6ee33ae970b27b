"""What every test shares: a small world model with random weights, and a run that holds it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from nmbrl.targets.interface import Interface, Normalisation, Segment, Task
from nmbrl.train.deployed import DeployedModel

# The same examples every time; a machine that does other things besides is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


class SmallModel(DeployedModel):
    """A GRU of 12 units with random weights: aliases, residual prediction, and early ends where asked for."""

    def __init__(self, seed: int = 0, discrete: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        observation, action, hidden = 3, 2, 12
        self.encode = nn.Linear(observation + action, 16)
        self.inputs, self.recurrent = nn.Linear(16, 3 * hidden), nn.Linear(hidden, 3 * hidden)
        self.head = nn.Linear(hidden + 16, observation + 2)
        self.policy = nn.Sequential(nn.Linear(observation + hidden, 16), nn.SiLU(), nn.Linear(16, action))
        self.critic = nn.Sequential(nn.Linear(observation + hidden, 16), nn.ReLU(), nn.Linear(16, 1))
        self.discrete = discrete
        self.macs = {
            "observe": 16 * 5 + 3 * 12 * 28,
            "imagine": 16 * 5 + 3 * 12 * 28 + 5 * 28,
            "act": 16 * 15 + 32,
            "value": 16 * 15 + 16,
        }
        self.interface = Interface(
            architecture="gru",
            task=Task(
                env="test/Small-v0",
                action_repeat=1,
                observation_size=observation,
                action_kind="discrete" if discrete else "box",
                action_size=action,
            ),
            normalisation=Normalisation(mean=(0.5, -1.0, 0.0), std=(1.0, 2.0, 0.1)),
            state=(Segment(name="x", size=observation), Segment(name="h", size=hidden)),
            aliases={"observe": {"x": "o"}, "decode": {"o": "x"}},
            terminates=discrete,
            discount=0.99,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
        )

    def _step(self, x, h, a):
        e = nn.functional.silu(self.encode(torch.cat([x, a], dim=1)))
        reset, update, new = self.inputs(e).chunk(3, dim=1)
        h_reset, h_update, h_new = self.recurrent(h).chunk(3, dim=1)
        update = torch.sigmoid(update + h_update)
        new = torch.tanh(new + torch.sigmoid(reset + h_reset) * h_new)
        return new + update * (h - new), e

    def observe(self, x, h, a, o):
        return (self._step(x, h, a)[0],)

    def imagine(self, x, h, a):
        h, e = self._step(x, h, a)
        outputs = self.head(torch.cat([h, e], dim=1))
        c = (torch.sigmoid(outputs[:, 4:]),) if self.discrete else ()
        return x + 0.1 * outputs[:, :3], h, outputs[:, 3:4], *c

    def act(self, x, h):
        a = self.policy(torch.cat([x, h], dim=1))
        return (a if self.discrete else torch.tanh(a),)

    def value(self, x, h):
        return (self.critic(torch.cat([x, h], dim=1)),)


@dataclass
class SmallRun:
    """What `nmbrl.train.run.Run` gives a conversion, without a directory."""

    model: DeployedModel
    calibration: dict[str, np.ndarray]
    id: str = "0123456789abcdef"
    seed: int = 0
    config: dict = field(default_factory=dict)


def make_run(discrete: bool = False, seed: int = 0) -> SmallRun:
    random = np.random.default_rng(seed)
    actions = random.uniform(-1, 1, (2, 40, 2)).astype(np.float32)
    if discrete:
        actions = np.eye(2, dtype=np.float32)[random.integers(2, size=(2, 40))]
    observations = np.cumsum(random.normal(0, 0.1, (2, 41, 3)), axis=1).astype(np.float32) * [1, 2, 0.1] + [0.5, -1, 0]
    return SmallRun(SmallModel(seed, discrete).eval(), {"o": observations.astype(np.float32), "a": actions}, seed=seed)


@pytest.fixture(scope="session")
def discrete_run() -> SmallRun:
    """One whose episodes end early, so that every function has all the outputs that it can have."""
    return make_run(True)


@pytest.fixture(scope="session", params=[False, True], ids=["box", "discrete"])
def small_run(request) -> SmallRun:
    return make_run(request.param)


@pytest.fixture(scope="session")
def small_bundles(tmp_path_factory) -> Callable[[bool], tuple[Path, Path]]:
    """C bundle of a small model, of discrete actions or not, and the int8 TFLite bundle that it was made from.

    Each is made once, in whatever order tests ask for them.
    """
    from nmbrl.convert import tflite
    from nmbrl.convert.c.bundle import convert_bundle

    @cache
    def make(discrete: bool) -> tuple[Path, Path]:
        directory = tmp_path_factory.mktemp("small_c")
        tflite.convert(make_run(discrete), directory / "tflite")
        convert_bundle(directory / "tflite", directory / "c")
        return directory / "c", directory / "tflite"

    return make


@pytest.fixture(scope="session")
def small_c(small_run, small_bundles) -> tuple[Path, Path]:
    """The C bundle of the small model, and its TFLite bundle."""
    return small_bundles(small_run.model.discrete)
