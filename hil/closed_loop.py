"""The closed loop with the plant on the host and the controller on a board: in lock step, or in real time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nmbrl.hil.controller import BoardController, Decision
from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.environment import Environment
from nmbrl.targets.interface import Array, Task


@dataclass
class Log:
    """What happened in the loop, over all episodes.

    Attributes:
        decision_ms: from asking to having the answer, for decisions that came in time, milliseconds by the wall clock.
        observe_ticks: of the board, one an answered decision.
        plan_ticks: of the board, one an answered decision.
        fallbacks: decisions in which the plant was given the safe action.
        longest_outage: most of them in a row.
        overruns: times that the plant itself took longer than a decision may.
    """

    decision_ms: list[float] = field(default_factory=list)
    observe_ticks: list[int] = field(default_factory=list)
    plan_ticks: list[int] = field(default_factory=list)
    fallbacks: int = 0
    longest_outage: int = 0
    overruns: int = 0

    def note(self, decision: Decision | None, elapsed_s: float, outage: int) -> None:
        """Write down one decision, the `outage`-th in a row without an answer."""
        if decision is None:
            self.fallbacks += 1
            self.longest_outage = max(self.longest_outage, outage)
            return
        self.decision_ms.append(1e3 * elapsed_s)
        self.observe_ticks.append(decision.observe_ticks)
        self.plan_ticks.append(decision.plan_ticks)


def safe_action(task: Task) -> Array:
    """What the plant gets when no decision is there: no force, or the first of discrete actions."""
    action = np.zeros(task.action_size, np.float32)
    if task.action_kind == "discrete":
        action[0] = 1.0
    return action


@dataclass
class Loop:
    """Runs episodes.

    Attributes:
        controller: on the board.
        environment: the plant.
        deadline_s: seconds between steps of the plant, which takes them at these times, answer or not. None is lock
            step: the plant waits.
        log: what happened.
        before_decision: called before each decision (faults restart the board here).
        change_action: what an onlooker makes of each action before the plant gets it.
        on_step: called after each step with the episode so far.
        stop: asked after each step whether the episode is to end here.
    """

    controller: BoardController
    environment: Environment
    deadline_s: float | None = None
    log: Log = field(default_factory=Log)
    before_decision: Callable[[], None] = lambda: None
    change_action: Callable[[Array], Array] = lambda action: action
    on_step: Callable[[Episode], None] = lambda episode: None
    stop: Callable[[], bool] = lambda: False

    def run_episode(self, seed: int, varied: bool = False) -> Episode:
        """Run one episode from `seed`; see `Environment.reset` for `varied`.

        Raises:
            NmbrlError: if the board is gone, or cannot be brought to begin an episode.
        """
        episode = Episode(seed, varied, [self.environment.reset(seed, varied=varied)])
        first_frame = self.environment.frames
        self.controller.reset(seed)
        fallback = safe_action(self.environment.task)
        action = np.zeros(self.environment.task.action_size, np.float32)
        outage = 0
        end = None if self.deadline_s is None else time.monotonic()
        running = True
        while running:
            self.before_decision()
            begun = time.monotonic()
            end = self._next(end, begun)
            decision = self.controller.decide(action, episode.observations[-1], end)
            outage = 0 if decision is not None else outage + 1
            self.log.note(decision, time.monotonic() - begun, outage)
            if decision is not None:
                self.controller.keep_checkpoint(end)
            if end is not None:
                time.sleep(max(0.0, end - time.monotonic()))
            action = self.change_action(fallback if decision is None else decision.action)
            observation, reward, terminated, truncated = self.environment.step(action)
            episode.observations.append(observation)
            episode.actions.append(action)
            episode.rewards.append(reward)
            episode.terminated = terminated
            self.on_step(episode)
            running = not (terminated or truncated or self.stop())
        episode.frames = self.environment.frames - first_frame
        return episode

    def _next(self, last: float | None, now: float) -> float | None:
        """When the plant takes its next step: at a steady pace, from anew where it has fallen behind."""
        if last is None or self.deadline_s is None:
            return None
        if now > last + self.deadline_s:
            self.log.overruns += 1
            return now + self.deadline_s
        return last + self.deadline_s
