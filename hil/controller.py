"""A controller on a board, as the plant sees it: one decision an observation, whatever happens to link and board."""

import struct
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from nmbrl.hil.client import Client, NoReplyError, RefusedError
from nmbrl.hil.messages import Identity, Kind, Model, Refusal
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array

METHODS = ("policy", "shooting", "cem", "mppi")
_RESET = struct.Struct("<IQ")
_POSITION = struct.Struct("<II")
_DECISION = struct.Struct("<IIII")
_PLANNER = struct.Struct("<BHHHHHfffff")
# Observations between two checkpoints: at most so many are folded in again after a restart.
CHECKPOINT_EVERY = 25
# Seconds without a valid frame after which a board that is being asked counts as stuck.
WATCHDOG_S = 2.0
# How often a board may restart while it is being mended before a decision is given up.
ATTEMPTS = 3


@dataclass(frozen=True)
class Decision:
    """What the board decided.

    Attributes:
        action: (action_size,), valid.
        observe_ticks: of folding in the observation.
        plan_ticks: of the search.
    """

    action: Array
    observe_ticks: int
    plan_ticks: int


@dataclass
class Step:
    """An observation that the controller has to know.

    Attributes:
        action: that led to it.
        observation: raw.
        sent: whether the board was told.
        decided: whether the board decided on it, or only folded it in; None while no answer tells.
    """

    action: Array
    observation: Array
    sent: bool = False
    decided: bool | None = None


class BoardController:
    """Keeps a board's belief what it would be if no frame were ever lost and the board never restarted.

    The board numbers observations and refuses one that is out of step with where it stands; the host keeps what the
    board has seen since the last checkpoint of its state, and gives it again what it misses. A board that stays silent
    is restarted from outside.

    Args:
        client: to the board.
        method: one of `METHODS`.
        options: of the planner.
        watchdog_s: seconds of silence after which the board is restarted.

    Attributes:
        identity: what the board says of itself.
        counts: what was mended: ``catch_ups`` (the board had missed observations), ``rebuilds`` (it had restarted),
            ``steps_replayed``, ``checkpoints`` and ``watchdog_restarts``.
        count: observations of this episode.
        steps: those since the last checkpoint, by their number.
    """

    def __init__(
        self, client: Client, method: str, options: PlannerOptions | None = None, watchdog_s: float = WATCHDOG_S
    ) -> None:
        self.client = client
        self.identity: Identity = client.connect()
        self.counts: Counter[str] = Counter()
        self.episode = 0
        self.seed = 0
        self.count = 0
        self.steps: dict[int, Step] = {}
        self.watchdog_s = watchdog_s
        self._checkpoint: tuple[int, bytes] | None = None
        self._checkpoint_due = CHECKPOINT_EVERY
        self._method = method
        self._options = options or PlannerOptions()
        self.model: Model = self._check_model()
        self._decision_size = _DECISION.size + 4 * self.model.action_size
        self._configure()

    def reset(self, seed: int) -> None:
        """Begin an episode.

        Raises:
            NoReplyError: if the board does not answer, not even after a restart.
        """
        self.episode += 1
        self.seed = seed
        self.count = 0
        self.steps = {}
        self._checkpoint = None
        self._checkpoint_due = CHECKPOINT_EVERY
        for attempt in range(ATTEMPTS):
            try:
                self._begin()
                return
            except NoReplyError:
                if attempt == ATTEMPTS - 1:
                    raise
                self._restart()
                self.client.connect()
            except RefusedError as error:
                if error.reason is not Refusal.NO_PLANNER:
                    raise
                self._configure()

    def decide(self, action: Array, observation: Array, deadline: float | None = None) -> Decision | None:
        """Hand over the observation that followed `action` and ask what to do next.

        Args:
            action: (action_size,), what the plant was given last; zeros after a reset.
            observation: raw, (observation_size,).
            deadline: `time.monotonic` by which the answer must be here; None asks until the attempts are used up.

        Returns:
            The decision; None if there was none in time. The controller then mends what there is to mend when it is
            asked next.
        """
        self.steps[self.count] = Step(action.astype(np.float32), observation.astype(np.float32))
        self.count += 1
        try:
            if deadline is not None and not self.client.settle(deadline):
                raise NoReplyError("the board is busy")
            reply = self._ask(deadline)
        except NoReplyError:
            reply = None
        if reply is None:
            if self.client.silence() > self.watchdog_s:
                self._restart()
            return None
        _, _, observe_ticks, plan_ticks = _DECISION.unpack_from(reply)
        return Decision(np.frombuffer(reply, "<f4", offset=_DECISION.size).copy(), observe_ticks, plan_ticks)

    def keep_checkpoint(self, deadline: float | None = None) -> None:
        """Read the board's state back when it is time to, and there is time for it, so that a restart costs little."""
        if self.count < self._checkpoint_due:
            return
        if deadline is not None and deadline - time.monotonic() < self.client.expected(Kind.READ_STATE):
            return
        self._checkpoint_due = self.count + CHECKPOINT_EVERY
        try:
            body = self.client.request(Kind.READ_STATE, deadline=deadline)
        except NoReplyError:
            return
        if _POSITION.unpack_from(body) == (self.episode, self.count):
            self.counts["checkpoints"] += 1
            self._checkpoint = (self.count, body)
            self.steps = {}

    def read_belief(self) -> np.ndarray:
        """The board's belief, int8 (state_size,)."""
        body = self.client.request(Kind.READ_STATE)
        offset = _POSITION.size + 8 + 4 + 4 + 2 + 4 * self.model.action_size
        return np.frombuffer(body, np.int8, self.model.state_size, offset).copy()

    def _check_model(self) -> Model:
        if self.identity.model is None:
            raise NmbrlError(f"the firmware on {self.identity.name} holds no model: build and flash it with the bundle")
        return self.identity.model

    def _configure(self, deadline: float | None = None) -> None:
        o = self._options
        sizes = (o.samples, o.horizon, o.iterations, o.elites, o.policy_samples)
        body = _PLANNER.pack(
            METHODS.index(self._method), *sizes, o.temperature, o.std_start, o.std_floor, o.correlation, o.margin
        )
        try:
            self.client.request(Kind.SET_PLANNER, body, deadline, size=0)
        except RefusedError as error:
            model = self.model
            raise NmbrlError(
                f"the board's planner has room for {model.max_samples} samples, {model.max_elites} elites and horizon "
                f"{model.max_horizon}, not for {o.samples}, {o.elites} and {o.horizon}"
            ) from error

    def _begin(self, deadline: float | None = None) -> None:
        self.client.request(Kind.RESET, _RESET.pack(self.episode, self.seed), deadline, size=_POSITION.size)

    def _restart(self) -> None:
        self.counts["watchdog_restarts"] += 1
        self.client.restart_board()

    def _ask(self, deadline: float | None) -> bytes | None:
        """The board's decision on the newest observation, after whatever it takes to bring it there."""
        newest = self.count - 1
        for _ in range(ATTEMPTS):
            try:
                # Passed over while the board was busy.
                for index in [i for i, step in self.steps.items() if not step.sent and i < newest]:
                    self.steps[index].decided = False
                    self._tell(index, Kind.OBSERVE, deadline)
                return self._tell(newest, Kind.DECIDE, deadline)
            except RefusedError as error:
                self._mend(error, deadline)
        return None

    def _tell(self, index: int, kind: Kind, deadline: float | None) -> bytes:
        """Hand over one observation; an answer tells what became of those before it."""
        step = self.steps[index]
        step.sent = True
        body = _POSITION.pack(self.episode, index) + step.action.tobytes() + step.observation.tobytes()
        size = self._decision_size if kind is Kind.DECIDE else _POSITION.size
        reply = self.client.request(kind, body, deadline, size)
        if step.decided is None:
            step.decided = kind is Kind.DECIDE
        while (earlier := self.steps.get(index := index - 1)) is not None and earlier.decided is None:
            # The board is past it without having been mended: the request had arrived, its answer had not.
            earlier.decided = True
        return reply

    def _mend(self, refusal: RefusedError, deadline: float | None) -> None:
        """Bring a board that says where it stands to where this episode is, up to the newest observation.

        Raises:
            RefusedError: if it was refused for another reason than being out of step.
        """
        if refusal.reason is not Refusal.OUT_OF_STEP or len(refusal.detail) != _POSITION.size:
            raise refusal
        episode, position = _POSITION.unpack(refusal.detail)
        first = self._checkpoint[0] if self._checkpoint else 0
        try:
            if episode == self.episode and first <= position < self.count:
                self.counts["catch_ups"] += 1
            else:
                self.counts["rebuilds"] += 1
                self._configure(deadline)
                position = first
                if self._checkpoint is None:
                    self._begin(deadline)
                else:
                    self.client.request(Kind.WRITE_STATE, self._checkpoint[1], deadline, size=_POSITION.size)
            for index in range(position, self.count - 1):
                self.counts["steps_replayed"] += 1
                step = self.steps[index]
                if step.decided is None:
                    step.decided = False
                self._tell(index, Kind.DECIDE if step.decided else Kind.OBSERVE, deadline)
        except RefusedError as again:
            # It restarted while it was mended: where it stands shows when it is asked again.
            if again.reason not in (Refusal.OUT_OF_STEP, Refusal.NO_PLANNER):
                raise
