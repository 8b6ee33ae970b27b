"""What a controller on a board achieves on its task, what went wrong on the way, and what a decision costs there."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nmbrl.hil.board import Board
from nmbrl.hil.client import Client
from nmbrl.hil.closed_loop import Log, Loop
from nmbrl.hil.controller import WATCHDOG_S, BoardController
from nmbrl.hil.cost import decision_cost
from nmbrl.hil.faults import Faults, FaultyLink
from nmbrl.hil.links import Link
from nmbrl.hil.messages import Kind, Statistics
from nmbrl.hil.qemu import instructions
from nmbrl.runtime.closed_loop import Episode, Progress
from nmbrl.runtime.environment import check_task
from nmbrl.runtime.evaluation import SEED_STRIDE, Evaluation
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.interface import Task


@dataclass(frozen=True)
class Setting:
    """What is run on the board.

    Attributes:
        planner: name of the planner.
        options: of the planner.
        episodes: of each kind of start.
        seed: of the first episode; the k-th has ``seed + 1000 k``, as in `nmbrl.runtime.evaluation.evaluate`.
        env: another environment than the model's own; None for that.
        perturbation: changes to the plant.
        faults: put into the link.
        deadline_s: seconds a decision in real time; None for lock step.
        watchdog_s: seconds of silence after which the board is restarted.
    """

    planner: str = "policy"
    options: PlannerOptions | None = None
    episodes: int = 5
    seed: int = 0
    env: str | None = None
    perturbation: Mapping[str, float] | None = None
    faults: Faults | None = None
    deadline_s: float | None = None
    watchdog_s: float = WATCHDOG_S


@dataclass
class BoardEvaluation:
    """Episodes with the controller on a board.

    Attributes:
        evaluation: returns and latencies, as every target has them.
        setting: what was asked for.
        log: decisions one by one.
        board: None for a real board at a port.
        tick_hz: of the board's counter.
        sent: what host and link counted: requests, retries, stale replies, frames damaged, ...
        lateness_s: by how much answers missed their deadline, those that came at all.
        mended: what the controller had to mend.
        injected: faults that were put in.
        statistics: what the board counted since it last started.
        functions: instructions of the model's functions, of an emulated board (`nmbrl.hil.counting`).
        code: instructions of the firmware's functions since it was started, if they were counted.
        provenance: of the bundle that the firmware was built from, by label.
        firmware: what the linked firmware takes on the board; see `nmbrl.hil.build.firmware_sizes`.
        command: repeats the evaluation.
    """

    evaluation: Evaluation
    setting: Setting
    log: Log
    board: Board | None
    tick_hz: int
    sent: dict[str, int]
    lateness_s: list[float]
    mended: dict[str, int]
    injected: dict[str, int]
    statistics: Statistics
    functions: dict[str, dict[str, Any]] | None = None
    code: dict[str, int] | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    firmware: dict[str, int] | None = None
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """The figures as `nmbrl-hil --json` writes them."""
        deadline = self.setting.deadline_s
        decisions = sum(len(e.actions) for e in self.evaluation.native + self.evaluation.varied)
        return {
            **self.evaluation.to_json(),
            "board": None if self.board is None else self.board.name,
            "core": None if self.board is None else self.board.core,
            "provenance": self.provenance,
            "firmware": self.firmware,
            "command": self.command,
            "mode": "lock step" if deadline is None else "real time",
            "deadline_ms": None if deadline is None else 1e3 * deadline,
            "decisions": decisions,
            "safe_actions": self.log.fallbacks,
            "longest_outage": self.log.longest_outage,
            "late_answers": {"count": len(self.lateness_s), "by_ms": _spread([1e3 * late for late in self.lateness_s])},
            "plant_overruns": self.log.overruns,
            "faults": {
                "asked": (self.setting.faults or Faults()).model_dump(),
                "injected": self.injected,
                "link": self.sent,
                "mended": self.mended,
            },
            "board_statistics": asdict(self.statistics),
            "ticks": self._ticks(),
            "instructions": self._instructions(),
        }

    def _ticks(self) -> dict[str, Any]:
        return {"hz": self.tick_hz, "observe": _spread(self.log.observe_ticks), "plan": _spread(self.log.plan_ticks)}

    def _instructions(self) -> dict[str, Any] | None:
        """Exact counts, where an emulator made the ticks."""
        if self.board is None or not self.log.plan_ticks:
            return None
        observe, plan = (
            [instructions(ticks, self.tick_hz) for ticks in counted]
            for counted in (self.log.observe_ticks, self.log.plan_ticks)
        )
        decision = [a + b for a, b in zip(observe, plan, strict=True)]
        return {
            "observe": _spread(observe),
            "plan": _spread(plan),
            "decision": _spread(decision),
            "functions": self.functions,
            "code": self.code,
            "source": "counted by QEMU -icount, exact to a tick of the board's clock at either end; no latency",
            "estimated": decision_cost(self.board.core, float(np.mean(decision))),
        }


def _spread(values: list[int] | list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "max": float(np.max(values))} if values else {}


def evaluate_board(
    link: Link, board: Board | None, target: str, task: Task, setting: Setting, progress: Progress | None = None
) -> BoardEvaluation:
    """Run episodes from native and from varied starts with the controller on a board.

    Args:
        link: to the board; it is left open.
        board: what is emulated; None for a real board.
        target: name that reports show.
        task: that the model was trained on.
        setting: what to run.
        progress: see `nmbrl.runtime.closed_loop.run_episodes`.

    Raises:
        NmbrlError: if the board does not answer, or the environment does not fit.
    """
    faulty = FaultyLink(link, setting.faults, setting.seed) if setting.faults else None
    client = Client(faulty or link)
    controller = BoardController(client, setting.planner, setting.options, setting.watchdog_s)
    env = setting.env or task.env
    perturbation = dict(setting.perturbation or {})
    with closing(make_environment(env, task.action_repeat, perturbation)) as environment:
        check_task(task, environment)
        loop = Loop(controller, environment, setting.deadline_s)
        if faulty:
            loop.before_decision = faulty.before_decision
        if progress is not None:
            loop.on_step = lambda episode: progress([episode], 1)
        native, varied = (_run(loop, setting, kind, progress) for kind in (False, True))
    statistics = Statistics.unpack(client.request(Kind.STATISTICS))
    milliseconds = np.array(loop.log.decision_ms or [np.nan])
    return BoardEvaluation(
        evaluation=Evaluation(
            target=target,
            planner=setting.planner,
            env=env,
            action_repeat=task.action_repeat,
            seed=setting.seed,
            perturbation=perturbation,
            native=native,
            varied=varied,
            decision_ms=milliseconds,
            counts={},
        ),
        setting=setting,
        log=loop.log,
        board=board,
        tick_hz=controller.identity.tick_hz,
        sent=dict(client.counts),
        lateness_s=client.lateness_s,
        mended=dict(controller.counts),
        injected=dict(faulty.counts) if faulty else {},
        statistics=statistics,
    )


def _run(loop: Loop, setting: Setting, varied: bool, progress: Progress | None) -> list[Episode]:
    done = []
    for k in range(setting.episodes):
        done.append(loop.run_episode(setting.seed + SEED_STRIDE * k, varied))
        if progress is not None:
            progress(done[-1:], 0)
    return done
