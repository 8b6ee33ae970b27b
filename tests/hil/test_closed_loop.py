"""The closed loop with the controller on a board: against the same loop in one process, with faults, in real time."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from nmbrl.hil.client import Client
from nmbrl.hil.closed_loop import Loop, safe_action
from nmbrl.hil.controller import BoardController
from nmbrl.hil.evaluation import Setting, evaluate_board
from nmbrl.hil.faults import Faults, FaultyLink, parse_faults
from nmbrl.hil.frames import FrameDecoder, encode_frame
from nmbrl.hil.links import Link
from nmbrl.hil.messages import Kind
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.evaluation import evaluate
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load

from .host_board import HostBoard
from .plant import BOX, DISCRETE, plant_for

SMALL = PlannerOptions(samples=8, horizon=3, iterations=2, elites=3, policy_samples=2, deviation=0)


@pytest.mark.parametrize("planner", ["policy", "cem", "mppi", "shooting"])
def test_lock_step_is_the_loop_in_one_process(host_board: HostBoard, small_c: tuple[Path, Path], planner: str) -> None:
    executor = load(small_c[0])
    env = plant_for(executor.interface.task)
    options = {} if planner == "policy" else SMALL.model_dump()
    expected = evaluate(executor, planner, episodes=2, seed=5, env=env, options=options)
    setting = Setting(planner=planner, options=SMALL, episodes=2, seed=5, env=env)
    result = evaluate_board(host_board, None, "c on host", executor.interface.task, setting)
    np.testing.assert_array_equal(result.evaluation.returns, expected.returns)
    np.testing.assert_array_equal(result.evaluation.returns_varied, expected.returns_varied)
    assert len(set(expected.returns)) == 2


def test_faults_in_lock_step_cost_no_return(host_board: HostBoard, small_c: tuple[Path, Path]) -> None:
    task = load(small_c[0]).interface.task
    sound = Setting(planner="cem", options=SMALL, episodes=2, env=plant_for(task))
    faulty = Setting(
        planner="cem",
        options=SMALL,
        episodes=2,
        env=plant_for(task),
        faults=Faults(loss=0.05, bitflip=1e-4, late=0.02, reset=0.05),
    )
    expected, result = (evaluate_board(host_board, None, "c on host", task, setting) for setting in (sound, faulty))
    assert result.log.fallbacks == 0
    np.testing.assert_array_equal(result.evaluation.returns, expected.evaluation.returns)
    figures = result.to_json()["faults"]
    assert figures["asked"]["loss"] == 0.05
    assert figures["injected"]["restarts"] > 0
    assert figures["injected"]["frames_lost"] > 0
    assert figures["mended"]["rebuilds"] > 0
    assert figures["link"]["retries"] > 0
    assert expected.to_json()["faults"]["injected"] == {}


def test_the_plant_gets_the_safe_action_when_no_answer_comes(host_board: HostBoard, small_c: tuple[Path, Path]) -> None:
    task = load(small_c[0]).interface.task
    link = FaultyLink(host_board, Faults(), seed=0)
    controller = BoardController(Client(link, timeout=0.001, attempts=2), "policy")
    environment = Environment(plant_for(task))
    loop = Loop(controller, environment)
    counted = iter(range(1000))

    def before_decision() -> None:
        link.faults = Faults(loss=1.0 if 10 <= next(counted) < 15 else 0.0)

    loop.before_decision = before_decision
    episode = loop.run_episode(0)
    actions = np.array(episode.actions)
    np.testing.assert_array_equal(actions[10:15], np.tile(safe_action(task), (5, 1)))
    assert (loop.log.fallbacks, loop.log.longest_outage) == (5, 5)
    assert len(loop.log.decision_ms) == 25
    planner = load(small_c[0]).open_planner("policy", PlannerOptions().model_dump())
    planner.reset(0)
    taken = np.zeros_like(actions[0])
    for observation, action in zip(episode.observations, actions, strict=False):
        planner.update(taken, observation)
        taken = action
    np.testing.assert_array_equal(controller.read_belief(), planner.belief)


def test_in_real_time_late_answers_are_counted_and_the_plant_goes_on(
    host_board: HostBoard, small_c: tuple[Path, Path]
) -> None:
    task = load(small_c[0]).interface.task
    setting = Setting(episodes=1, env=plant_for(task), deadline_s=0.02, faults=Faults(late=0.3))
    result = evaluate_board(host_board, None, "c on host", task, setting)
    figures = result.to_json()
    assert (figures["mode"], figures["deadline_ms"]) == ("real time", 20.0)
    assert figures["decisions"] == 30 + len(result.evaluation.varied[0].actions)
    assert figures["safe_actions"] >= 5
    assert figures["late_answers"]["count"] >= 5
    assert 0 < figures["late_answers"]["by_ms"]["mean"] <= 40
    assert len(result.log.decision_ms) == figures["decisions"] - figures["safe_actions"]


class SlowBoard(Link):
    """A board that is busy for a while with every decision, and takes requests in the order of their arrival."""

    def __init__(self, board: HostBoard) -> None:
        self.busy_s = 0.0
        self.open_decisions = 0
        self.most_open = 0
        self._board = board
        self._free_at = 0.0
        self._answers: list[tuple[float, bool, bytes]] = []

    def write(self, data: bytes) -> None:
        for frame in FrameDecoder().feed(data):
            self._board.write(encode_frame(frame))
            decides = frame.kind == Kind.DECIDE
            self._free_at = max(self._free_at, time.monotonic()) + self.busy_s * decides
            self._answers.append((self._free_at, decides, self._board.read(0)))
            self.open_decisions += decides
            self.most_open = max(self.most_open, self.open_decisions)

    def read(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        if self._answers:
            time.sleep(max(0.0, min(end, self._answers[0][0]) - time.monotonic()))
        else:
            time.sleep(timeout)
        if not self._answers or self._answers[0][0] > time.monotonic():
            return b""
        _, decided, answer = self._answers.pop(0)
        self.open_decisions -= decided
        return answer

    def restart_board(self) -> None:
        raise AssertionError("it was only slow")


def test_a_board_that_is_too_slow_is_in_step_once_it_is_fast_enough(
    host_board: HostBoard, small_c: tuple[Path, Path]
) -> None:
    task = load(small_c[0]).interface.task
    link = SlowBoard(host_board)
    controller = BoardController(Client(link), "policy")
    loop = Loop(controller, Environment(plant_for(task)), deadline_s=0.05)
    answered: list[bool] = []

    def before_decision() -> None:
        link.busy_s = 0.12 if 5 <= len(answered) < 15 else 0.0

    loop.before_decision = before_decision
    loop.on_step = lambda episode: answered.append(len(loop.log.decision_ms) > sum(answered))
    episode = loop.run_episode(0)
    assert not any(answered[5:15])
    assert sum(answered) >= 15
    assert link.most_open == 1
    assert len(controller.client.lateness_s) >= 2
    belief = load(small_c[0]).open_planner("policy", PlannerOptions().model_dump())
    belief.reset(0)
    taken = np.zeros(task.action_size, np.float32)
    for observation, action in zip(episode.observations, episode.actions, strict=False):
        belief.update(taken, observation)
        taken = action
    np.testing.assert_array_equal(controller.read_belief(), belief.belief)


def test_the_plant_keeps_its_pace(host_board: HostBoard, small_c: tuple[Path, Path]) -> None:
    task = load(small_c[0]).interface.task
    loop = Loop(BoardController(Client(host_board), "policy"), Environment(plant_for(task)), deadline_s=0.04)
    steps: list[float] = []
    loop.before_decision = lambda: time.sleep(0.02)
    loop.on_step = lambda episode: steps.append(time.monotonic())
    loop.run_episode(0)
    # What a step takes is no part added to the time until the next; the median, as this machine may pause.
    assert 0.035 < np.median(np.diff(steps)) < 0.05


def test_figures_are_what_every_target_writes(host_board: HostBoard, small_c: tuple[Path, Path]) -> None:
    executor = load(small_c[0])
    env = plant_for(executor.interface.task)
    setting = Setting(episodes=1, env=env)
    figures = evaluate_board(host_board, None, "c on host", executor.interface.task, setting).to_json()
    assert set(evaluate(executor, episodes=1, env=env).to_json()) <= set(figures)
    assert json.loads(json.dumps(figures)) == figures
    assert figures["target"] == "c on host"
    assert figures["board_statistics"]["decisions"] == figures["decisions"]
    # A real board has no emulator to count instructions.
    assert figures["instructions"] is None
    assert figures["ticks"]["hz"] == 1000


def test_an_environment_that_does_not_fit_is_refused(host_board: HostBoard, small_c: tuple[Path, Path]) -> None:
    task = load(small_c[0]).interface.task
    other = DISCRETE if plant_for(task) == BOX else BOX
    with pytest.raises(NmbrlError, match="does not fit the model: action_kind"):
        evaluate_board(host_board, None, "c on host", task, Setting(env=other))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss", "'loss': give NAME=PROBABILITY with loss, bitflip, late, reset, hang"),
        ("gain=0.1", "'gain=0.1': give NAME=PROBABILITY"),
        ("loss=2", "--faults loss: a probability is between 0 and 1, not '2'"),
        ("bitflip=often", "--faults bitflip: a probability is between 0 and 1, not 'often'"),
        ("loss=", "--faults loss: a probability is between 0 and 1, not ''"),
        ("loss=0.1,loss=0.2", "--faults loss: given twice"),
        ("loss=nan", "--faults loss: a probability"),
    ],
)
def test_faults_that_cannot_be_read_are_named(text: str, message: str) -> None:
    with pytest.raises(NmbrlError) as refused:
        parse_faults(text)
    assert message in str(refused.value)


def test_faults_happen_as_often_as_asked() -> None:
    class Echo(Link):
        def __init__(self) -> None:
            self.arrived: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.arrived.append(data)

        def read(self, timeout: float) -> bytes:
            return b"\0\x11\x22\0"

        def restart_board(self) -> None:
            raise AssertionError("nobody asked for it")

    echo = Echo()
    link = FaultyLink(echo, Faults(loss=0.1, bitflip=0.001, late=0.05), seed=1)
    frame = b"\0" + bytes(range(1, 100)) + b"\0"
    for _ in range(5000):
        link.write(frame)
    lost = 5000 - len(echo.arrived)
    assert lost == link.counts["frames_lost"]
    assert abs(lost / 5000 - 0.1) < 0.02
    flips = sum((a ^ b).bit_count() for data in echo.arrived for a, b in zip(data, frame, strict=True))
    assert flips == link.counts["bits_flipped"]
    assert abs(flips / (8 * len(frame) * len(echo.arrived)) - 0.001) < 0.0001
    received = sum(link.read(0).count(b"\x11\x22") for _ in range(5000))
    assert abs(link.counts["frames_held_back"] / 5000 - 0.05) < 0.02
    assert 4000 < received < 4900
