"""The emulated boards against TensorFlow Lite Micro: every function, and beliefs after many steps, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nmbrl.hil.board import find_board
from nmbrl.hil.build import build_firmware
from nmbrl.hil.client import Client
from nmbrl.hil.controller import BoardController
from nmbrl.hil.executor import FUNCTIONS, BoardExecutor
from nmbrl.hil.messages import Kind, Statistics
from nmbrl.hil.qemu import ICOUNT_SHIFT, QemuLink, instructions
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.c import CExecutor
from nmbrl.targets.integers import quantise
from nmbrl.targets.load import load
from nmbrl.targets.tflite import TfliteExecutor

ROWS = 10_000
Computed = dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]
SMALL = PlannerOptions(samples=8, horizon=3, iterations=2, elites=3, policy_samples=2)


@pytest.fixture(scope="module", params=["mps2-an386", "mps2-an500", "mps3-an547"])
def link(request: pytest.FixtureRequest, small_c: tuple[Path, Path]) -> Iterator[QemuLink]:
    board = find_board(request.param)
    opened = QemuLink(board, build_firmware(board, small_c[0], semihosting=True), semihosting=True)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def computed(small_c: tuple[Path, Path]) -> Computed:
    """Random integers for every function, and what TensorFlow Lite Micro makes of them."""
    tflm = load(small_c[1])
    assert isinstance(tflm, TfliteExecutor)
    random = np.random.default_rng(0)
    made = {}
    for function in FUNCTIONS:
        sizes = tflm.interface.input_sizes(function)
        inputs = {name: random.integers(-128, 128, (ROWS, size), np.int8) for name, size in sizes.items()}
        made[function] = inputs, tflm.call_integers(function, inputs)
    return made


@pytest.mark.slow
def test_functions_are_equal_to_tflm(link: QemuLink, small_c: tuple[Path, Path], computed: Computed) -> None:
    board = BoardExecutor(read_bundle(small_c[0]), Client(link))
    for function, (inputs, expected) in computed.items():
        outputs = board.call_integers(function, inputs)
        assert expected
        for name in expected:
            np.testing.assert_array_equal(outputs[name], expected[name], f"{function} {name}")
        assert len(np.unique(next(iter(outputs.values())))) > 10
    assert all(ticks > 0 for ticks in board.ticks.values())


@pytest.mark.slow
def test_beliefs_are_equal_to_tflm_after_a_thousand_steps(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    controller = BoardController(Client(link), "policy")
    tflm, library = load(small_c[1]), load(small_c[0])
    assert isinstance(library, CExecutor)
    random = np.random.default_rng(1)
    observations = (np.cumsum(random.normal(0, 0.3, (1000, 1, 3)), axis=0) % 4 - 2).astype(np.float32)
    state = tflm.reset(1)
    action = np.zeros((1, controller.model.action_size), np.float32)
    controller.reset(0)
    seen = set()
    for observation in observations:
        state = tflm.observe(state, action, observation)
        decision = controller.decide(action[0], observation[0])
        action = tflm.project_action(tflm.act(state))
        np.testing.assert_array_equal(decision.action, action[0])
        seen.add(action.tobytes())
    np.testing.assert_array_equal(controller.read_belief(), library.quantise_state(state)[0])
    assert len(seen) > 1


@pytest.mark.parametrize("method", ["cem", "mppi", "shooting"])
def test_planners_choose_what_they_choose_here(link: QemuLink, small_c: tuple[Path, Path], method: str) -> None:
    controller = BoardController(Client(link), method, SMALL)
    planner = load(small_c[0]).open_planner(method, SMALL.model_dump())
    controller.reset(3)
    planner.reset(3)
    action = np.zeros(controller.model.action_size, np.float32)
    random = np.random.default_rng(2)
    for observation in random.normal(0, 1, (15, 3)).astype(np.float32):
        planner.update(action, observation)
        decision = controller.decide(action, observation)
        action = planner.plan()
        np.testing.assert_array_equal(decision.action, action)


def test_instruction_counts_are_the_same_every_time(link: QemuLink) -> None:
    controller = BoardController(Client(link), "policy")
    controller.reset(0)
    action, observation = np.zeros(controller.model.action_size, np.float32), np.ones(3, np.float32)
    counts = []
    for _ in range(5):
        controller.reset(0)
        decision = controller.decide(action, observation)
        ticks = decision.observe_ticks, decision.plan_ticks
        counts.append([instructions(count, controller.identity.tick_hz) for count in ticks])
    # A tick of phase at either end.
    tolerance = 2 * 1e9 / (controller.identity.tick_hz * 2**ICOUNT_SHIFT)
    assert np.ptp(counts, axis=0).max() <= tolerance
    assert min(counts[0]) > 300
    statistics = Statistics.unpack(controller.client.request(Kind.STATISTICS))
    assert statistics.bad_crc == statistics.truncated == 0
    assert 200 < statistics.stack_bytes < 8192


def test_quantised_state_is_what_the_board_says(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    """The first observation from the zero state, worked out from the bundle's scales alone."""
    bundle = read_bundle(small_c[0])
    controller = BoardController(Client(link), "policy")
    controller.reset(0)
    observation = np.array([0.7, -1.5, 0.05], np.float32)
    controller.decide(np.zeros(controller.model.action_size, np.float32), observation)
    normalised = bundle.interface.normalisation.normalise(observation[None])
    tensor = next(t for t in bundle.functions["act"].inputs if t.name == "x")
    np.testing.assert_array_equal(controller.read_belief()[:3], quantise(normalised, tensor)[0])
