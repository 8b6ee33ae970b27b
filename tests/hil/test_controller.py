"""The controller's messages, and the host that keeps a board's belief right: on firmware built for this machine."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmbrl.hil.client import Client, RefusedError
from nmbrl.hil.controller import METHODS, BoardController
from nmbrl.hil.faults import Faults, FaultyLink
from nmbrl.hil.messages import Identity, Kind, Refusal, Statistics
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load

from .host_board import HostBoard

SMALL = PlannerOptions(samples=8, horizon=3, iterations=2, elites=3, policy_samples=2)


def observations(count: int, seed: int = 0) -> np.ndarray:
    """A wandering observation in the small model's range."""
    steps = np.random.default_rng(seed).normal(0, 0.3, (count, 3))
    return (np.cumsum(steps, axis=0) % 4 - 2).astype(np.float32)


def zero_action(controller: BoardController) -> np.ndarray:
    return np.zeros(controller.model.action_size, np.float32)


def body(episode: int, step: int, action: np.ndarray, observation: np.ndarray) -> bytes:
    return struct.pack("<II", episode, step) + action.astype("<f4").tobytes() + observation.astype("<f4").tobytes()


def refusal(call: Callable[[], bytes]) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        call()
    return refused.value


def test_says_which_model_it_holds(host_board: HostBoard, small_c: tuple[Path, Path]) -> None:
    model = Client(host_board).connect().model
    interface = load(small_c[0]).interface
    assert model is not None
    assert (model.state_size, model.action_size, model.observation_size) == (interface.state_size, 2, 3)
    assert (model.discrete, model.terminates) == (interface.task.action_kind == "discrete", interface.terminates)
    assert model.hash in (small_c[0] / "model.h").read_text()


@pytest.mark.parametrize("method", METHODS)
def test_decides_as_the_library_of_the_bundle(host_board: HostBoard, small_c: tuple[Path, Path], method: str) -> None:
    controller = BoardController(Client(host_board), method, SMALL)
    planner = load(small_c[0]).open_planner(method, SMALL.model_dump())
    action = zero_action(controller)
    for seed in (3, 4):
        controller.reset(seed)
        planner.reset(seed)
        for observation in observations(40, seed):
            planner.update(action, observation)
            decision = controller.decide(action, observation)
            action = planner.plan()
            np.testing.assert_array_equal(decision.action, action)
        np.testing.assert_array_equal(controller.read_belief(), planner.belief)


def test_observe_and_plan_are_decide_in_two(host_board: HostBoard) -> None:
    controller = BoardController(Client(host_board), "cem", SMALL)
    action, observation = zero_action(controller), observations(1)[0]
    controller.reset(1)
    decided = controller.decide(action, observation).action
    request = controller.client.request
    request(Kind.RESET, struct.pack("<IQ", 9, 1))
    assert request(Kind.OBSERVE, body(9, 0, action, observation)) == struct.pack("<II", 9, 1)
    planned = request(Kind.PLAN, struct.pack("<II", 9, 1))
    np.testing.assert_array_equal(np.frombuffer(planned, "<f4", offset=16), decided)


def test_a_repeated_request_does_nothing_twice(host_board: HostBoard) -> None:
    controller = BoardController(Client(host_board), "mppi", SMALL)
    request = controller.client.request
    action = zero_action(controller)
    controller.reset(5)
    for step, observation in enumerate(observations(5)):
        once = request(Kind.DECIDE, body(1, step, action, observation))
        state = request(Kind.READ_STATE)
        assert request(Kind.DECIDE, body(1, step, action, observation)) == once
        assert request(Kind.PLAN, struct.pack("<II", 1, step + 1)) == once
        assert request(Kind.READ_STATE) == state


def test_says_where_it_stands_when_out_of_step(host_board: HostBoard) -> None:
    controller = BoardController(Client(host_board), "policy")
    request = controller.client.request
    action, observation = zero_action(controller), observations(1)[0]
    nowhere = refusal(lambda: request(Kind.DECIDE, body(1, 0, action, observation)))
    assert (nowhere.reason, nowhere.detail) == (Refusal.OUT_OF_STEP, struct.pack("<II", 0, 0))
    controller.reset(0)
    assert refusal(lambda: request(Kind.PLAN, struct.pack("<II", 1, 0))).reason is Refusal.OUT_OF_STEP
    for step in range(3):
        request(Kind.OBSERVE, body(1, step, action, observation))
    for episode, step in ((1, 0), (1, 1), (1, 4), (2, 3), (0, 3)):
        error = refusal(lambda: request(Kind.OBSERVE, body(episode, step, action, observation)))  # noqa: B023
        assert (error.reason, error.detail) == (Refusal.OUT_OF_STEP, struct.pack("<II", 1, 3))


def test_refuses_what_is_no_number_and_what_has_the_wrong_length(host_board: HostBoard) -> None:
    controller = BoardController(Client(host_board), "policy")
    request = controller.client.request
    controller.reset(0)
    action, observation = zero_action(controller), observations(1)[0]
    good = body(1, 0, action, observation)
    state = request(Kind.READ_STATE)
    for bad in (np.nan, np.inf, -np.inf):
        assert refusal(lambda: request(Kind.DECIDE, body(1, 0, action, observation * bad))).reason is Refusal.BAD_VALUE  # noqa: B023
    for kind, content in (
        (Kind.DECIDE, good[:-1]),
        (Kind.DECIDE, good + b"\0"),
        (Kind.OBSERVE, b""),
        (Kind.RESET, bytes(11)),
        (Kind.READ_STATE, b"\0"),
        (Kind.WRITE_STATE, state[:-1]),
        (Kind.SET_PLANNER, bytes(5)),
        (Kind.CALL, b"\0"),
        (Kind.CALL, bytes([0, 1, 7])),
    ):
        assert refusal(lambda: request(kind, content)).reason is Refusal.BAD_LENGTH  # noqa: B023
    for kind, content in (
        (Kind.RESET, bytes(12)),
        (Kind.CALL, bytes([9, 1])),
        (Kind.CALL, bytes([0, 0])),
        (Kind.CALL, bytes([2, 255]) + bytes(100)),
    ):
        reason = refusal(lambda: request(kind, content)).reason  # noqa: B023
        assert reason is (Refusal.BAD_LENGTH if content[:2] == bytes([2, 255]) else Refusal.BAD_VALUE)
    assert request(Kind.READ_STATE) == state
    assert Statistics.unpack(request(Kind.STATISTICS)).refused == 16


def test_a_state_read_back_goes_on_as_if_nothing_had_been(host_firmware: Path) -> None:
    links = [HostBoard(host_firmware) for _ in range(2)]
    first, second = (BoardController(Client(link), "cem", SMALL) for link in links)
    action = zero_action(first)
    first.reset(7)
    for observation in observations(10):
        action = first.decide(action, observation).action
    state = first.client.request(Kind.READ_STATE)
    second.client.request(Kind.WRITE_STATE, state)
    second.episode, second.steps = first.episode, list(first.steps)
    assert second.client.request(Kind.READ_STATE) == state
    for observation in observations(10, seed=1):
        decisions = [controller.decide(action, observation).action for controller in (first, second)]
        np.testing.assert_array_equal(*decisions)
        action = decisions[0]
    for link in links:
        link.close()


@pytest.mark.parametrize("method", ["policy", "cem"])
def test_faults_change_neither_belief_nor_decisions(
    host_firmware: Path, small_c: tuple[Path, Path], method: str
) -> None:
    link = FaultyLink(HostBoard(host_firmware), Faults(loss=0.03, bitflip=2e-4, late=0.02, reset=0.01), seed=11)
    client = Client(link, timeout=0.002)
    controller = BoardController(client, method, SMALL)
    planner = load(small_c[0]).open_planner(method, SMALL.model_dump())
    action = zero_action(controller)
    steps = 2000 if method == "policy" else 400
    for seed in range(4):
        controller.reset(seed)
        planner.reset(seed)
        for observation in observations(steps // 4, seed):
            link.before_decision()
            planner.update(action, observation)
            expected = planner.plan()
            decision = controller.decide(action, observation)
            controller.keep_checkpoint()
            if decision is not None:
                np.testing.assert_array_equal(decision.action, expected)
            action = expected
        while controller.steps[-1].decided is None:
            controller.decide(action, observation)
            planner.update(action, observation)
            planner.plan()
        np.testing.assert_array_equal(controller.read_belief(), planner.belief)
    assert link.counts["restarts"] and link.counts["frames_lost"] and link.counts["bits_flipped"]
    assert controller.counts["rebuilds"] >= link.counts["restarts"] / 2
    assert controller.counts["checkpoints"]
    link.close()


def test_a_silent_board_costs_safe_actions_and_is_brought_back(host_firmware: Path, small_c: tuple[Path, Path]) -> None:
    link = FaultyLink(HostBoard(host_firmware), Faults(), seed=0)
    controller = BoardController(Client(link, timeout=0.002, attempts=2), "mppi", SMALL)
    planner = load(small_c[0]).open_planner("mppi", SMALL.model_dump())
    action = zero_action(controller)
    controller.reset(2)
    planner.reset(2)
    for step, observation in enumerate(observations(60)):
        silent = 20 <= step < 30
        link.faults = Faults(loss=1.0 if silent else 0.0)
        decision = controller.decide(action, observation)
        assert (decision is None) == silent
        planner.update(action, observation)
        if not silent:
            action = planner.plan()
            np.testing.assert_array_equal(decision.action, action)
    assert controller.counts["catch_ups"] == 1
    assert controller.counts["steps_replayed"] == 10
    link.close()


def test_a_planner_that_does_not_fit_is_refused(host_board: HostBoard) -> None:
    with pytest.raises(NmbrlError, match=r"room for 64 samples, 16 elites and horizon 12, not for 500"):
        BoardController(Client(host_board), "cem", PlannerOptions(samples=500))


def test_another_version_of_the_protocol_is_refused() -> None:
    with pytest.raises(NmbrlError, match=r"version 2 of the wire protocol, this nmbrl 1"):
        Identity.unpack(struct.pack("<HHI32s", 2, 2048, 1, b"board"))
