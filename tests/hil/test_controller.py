"""The controller's messages, and the host that keeps a board's belief right: on firmware built for this machine."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmbrl.hil.client import Client, RefusedError
from nmbrl.hil.controller import CHECKPOINT_EVERY, METHODS, BoardController
from nmbrl.hil.faults import Faults, FaultyLink
from nmbrl.hil.frames import Frame, FrameDecoder, encode_frame
from nmbrl.hil.links import Link
from nmbrl.hil.messages import ERROR, REPLY, Identity, Kind, Refusal, Statistics
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load

from .host_board import HostBoard

SMALL = PlannerOptions(samples=8, horizon=3, iterations=2, elites=3, policy_samples=2, deviation=0)


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
    second.episode, second.count = first.episode, first.count
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
        while decision is None:
            decision = controller.decide(action, observation)
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


def test_no_episode_begins_before_the_planner_is_set(host_board: HostBoard) -> None:
    request = Client(host_board).request
    state = request(Kind.READ_STATE)
    for kind, content in ((Kind.RESET, struct.pack("<IQ", 1, 0)), (Kind.WRITE_STATE, state)):
        assert refusal(lambda: request(kind, content)).reason is Refusal.NO_PLANNER  # noqa: B023


def test_a_board_that_restarts_between_episodes_keeps_its_planner(
    host_board: HostBoard, small_c: tuple[Path, Path]
) -> None:
    controller = BoardController(Client(host_board), "cem", SMALL)
    planner = load(small_c[0]).open_planner("cem", SMALL.model_dump())
    action = zero_action(controller)
    for seed in (1, 2):
        host_board.restart_board()
        controller.reset(seed)
        planner.reset(seed)
        for observation in observations(5, seed):
            planner.update(action, observation)
            np.testing.assert_array_equal(controller.decide(action, observation).action, planner.plan())


def test_only_what_came_since_the_last_checkpoint_is_kept(host_board: HostBoard) -> None:
    controller = BoardController(Client(host_board), "policy")
    controller.reset(0)
    for observation in observations(10 * CHECKPOINT_EVERY):
        controller.decide(zero_action(controller), observation)
        controller.keep_checkpoint()
        assert len(controller.steps) <= CHECKPOINT_EVERY
    assert controller.counts["checkpoints"] == 10


def test_a_board_that_hangs_is_restarted_by_the_watchdog(host_firmware: Path, small_c: tuple[Path, Path]) -> None:
    link = FaultyLink(HostBoard(host_firmware), Faults(), seed=0)
    client = Client(link, timeout=0.002, attempts=2)
    controller = BoardController(client, "mppi", SMALL, watchdog_s=0.02)
    planner = load(small_c[0]).open_planner("mppi", SMALL.model_dump())
    action = zero_action(controller)
    unanswered = 0
    for seed in range(3):
        controller.reset(seed)
        planner.reset(seed)
        for step, observation in enumerate(observations(60, seed)):
            # In the second episode it hangs twice, in the third before the first decision.
            link.faults = Faults(hang=float((seed, step) in ((1, 20), (1, 45))))
            link.before_decision()
            decision = controller.decide(action, observation)
            controller.keep_checkpoint()
            planner.update(action, observation)
            if decision is None:
                unanswered += 1
                # The board is asked again only after it was told of this one: it did not decide on it.
                continue
            action = planner.plan()
            np.testing.assert_array_equal(decision.action, action)
        np.testing.assert_array_equal(controller.read_belief(), planner.belief)
        link.faults = Faults(hang=1.0)
        link.before_decision()
    assert link.counts["hangs"] == 5
    assert controller.counts["watchdog_restarts"] == 4
    assert 4 <= unanswered <= 40
    link.close()


def test_replies_of_another_firmware_are_one_line() -> None:
    class Wrong(Link):
        """Answers every request with one body, or with an error of one body."""

        def __init__(self, body: bytes, error: bool) -> None:
            self.body, self.error = body, error
            self.answers = b""

        def write(self, data: bytes) -> None:
            for frame in FrameDecoder().feed(data):
                kind = ERROR if self.error else frame.kind | REPLY
                self.answers += encode_frame(Frame(kind, frame.sequence, self.body))

        def read(self, timeout: float) -> bytes:
            answers, self.answers = self.answers, b""
            return answers

        def restart_board(self) -> None:
            raise AssertionError("nobody asked for it")

    for link in (Wrong(b"", True), Wrong(b"\x63\x01", True), Wrong(b"abc", False)):
        with pytest.raises(NmbrlError, match=r"the board answers PLAN with .*: flash it again"):
            Client(link).request(Kind.PLAN, bytes(8), size=20)
