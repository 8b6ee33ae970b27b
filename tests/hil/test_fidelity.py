"""The emulated boards against TensorFlow Lite Micro: every function, and beliefs after many steps, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wire_loop import compare_functions, endure, open_plant, trace_board, trace_executor, trace_library

from nmbrl.hil.board import find_board
from nmbrl.hil.build import build_firmware
from nmbrl.hil.client import Client
from nmbrl.hil.controller import BoardController
from nmbrl.hil.counting import CodeCounter, count_functions
from nmbrl.hil.executor import FUNCTIONS
from nmbrl.hil.faults import Faults
from nmbrl.hil.messages import Kind, Statistics
from nmbrl.hil.qemu import ICOUNT_SHIFT, QemuLink, instructions
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.integers import quantise
from nmbrl.targets.load import load

from .plant import plant_for

SMALL = PlannerOptions(samples=8, horizon=3, iterations=2, elites=3, policy_samples=2)


@pytest.fixture(scope="module", params=["mps2-an386", "mps2-an500", "mps3-an547"])
def link(request: pytest.FixtureRequest, small_c: tuple[Path, Path]) -> Iterator[QemuLink]:
    board = find_board(request.param)
    opened = QemuLink(board, build_firmware(board, small_c[0], semihosting=True), semihosting=True)
    yield opened
    opened.close()


def test_functions_are_equal_to_tflm(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    targets = {"tflm": load(small_c[1]), "library": load(small_c[0])}
    assert compare_functions(link, small_c[0], targets, rows=10_000) == {"tflm": 0, "library": 0}


def test_a_difference_would_be_counted(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    class Off:
        """The library, one element wrong."""

        def call(self, function: str, inputs: dict) -> dict:
            outputs = {name: array.copy() for name, array in load(small_c[0]).call(function, inputs).items()}
            next(iter(outputs.values()))[0, 0] += 1
            return outputs

    assert compare_functions(link, small_c[0], {"off": Off()}, rows=100) == {"off": len(FUNCTIONS)}


def test_states_are_equal_after_a_thousand_closed_loop_steps(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    """Each target in its own loop, with a plant of its own: a difference anywhere would lead to another course."""
    tflm, library = load(small_c[1]), load(small_c[0])
    env = plant_for(library.interface.task)
    planner = library.open_planner("policy", PlannerOptions().model_dump())
    with open_plant(library.interface.task, env) as plant:
        expected = trace_executor(tflm, library, plant, 1000)
    with open_plant(library.interface.task, env) as plant:
        on_host = trace_library(planner, plant, 1000)
    with open_plant(library.interface.task, env) as plant:
        on_board = trace_board(link, plant, 1000)
    for traced in (on_host, on_board):
        np.testing.assert_array_equal(traced[0], expected[0])
        np.testing.assert_array_equal(traced[1], expected[1])
    assert len(np.unique(expected[0], axis=0)) > 100


def test_a_faulty_wire_leaves_board_and_host_agreed(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    """The endurance run of ``benchmarks/wire.py``, shortened."""
    library = load(small_c[0])
    with open_plant(library.interface.task, plant_for(library.interface.task)) as plant:
        ran = endure(link, library, plant, 1500, Faults(loss=0.01, bitflip=1e-4, reset=0.002), "cem", SMALL)
    assert (ran["decisions_that_differ"], ran["belief_bytes_that_differ"]) == (0, 0)
    assert ran["decisions_unanswered"] <= 1
    assert min(ran["injected"][name] for name in ("frames_lost", "bits_flipped", "restarts")) > 0
    assert ran["mended"]["rebuilds"] > 0


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
    before = Statistics.unpack(controller.client.request(Kind.STATISTICS))
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
    assert (statistics.bad_crc, statistics.truncated) == (before.bad_crc, before.truncated)
    assert statistics.observations - before.observations == 5
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


def test_counts_of_the_code_add_up_to_those_of_the_clock(small_c: tuple[Path, Path], tmp_path: Path) -> None:
    board = find_board("mps2-an500")
    firmware = build_firmware(board, small_c[0], semihosting=True)
    counts, ticks = [], []
    for decisions in (10, 60):
        folder = tmp_path / f"a, {decisions}"
        folder.mkdir()
        counter = CodeCounter(folder)
        link = QemuLink(board, firmware, semihosting=True, arguments=counter.arguments)
        controller = BoardController(Client(link), "policy")
        controller.reset(0)
        action, observation = np.zeros(controller.model.action_size, np.float32), np.ones(3, np.float32)
        made = [controller.decide(action, observation) for _ in range(decisions)]
        link.close()
        counts.append(counter.read())
        ticks.append(instructions(sum(d.observe_ticks + d.plan_ticks for d in made), controller.identity.tick_hz))
    wire = (
        "loop",
        "frame",
        "main",
        "start",
        "port",
        "hal",
        "controller",
        "get",
        "put",
        "identify",
        "decide",
        "observe",
    )
    model = [sum(n for name, n in of.items() if not any(part in name for part in wire)) for of in counts]
    # Of each decision the clock sees everything but the few instructions that read it.
    assert (model[1] - model[0]) == pytest.approx(ticks[1] - ticks[0], rel=0.1)
    assert "nmbrl_dense" in counts[0]
    assert list(counts[0].values()) == sorted(counts[0].values(), reverse=True)


def test_instructions_of_every_function_are_counted(link: QemuLink, small_c: tuple[Path, Path]) -> None:
    counted = count_functions(read_bundle(small_c[0]), Client(link))
    assert set(counted) == set(FUNCTIONS)
    for of in counted.values():
        # Each weight is loaded once for several rows.
        assert 0 < of["batch"] < of["single"]
    assert counted["imagine"]["macs"] == read_bundle(small_c[0]).measured["macs"]["imagine"]
