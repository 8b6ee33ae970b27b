"""A controller on a board, as the plant sees it: one decision an observation, whatever happens to link and board."""

import struct
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
        decided: whether the board decided on it, or only folded it in; None while no answer tells.
    """

    action: Array
    observation: Array
    decided: bool | None = None


class BoardController:
    """Keeps a board's belief what it would be if no frame were ever lost and the board never restarted.

    The board numbers observations and refuses one that is out of step with where it stands; the host keeps what the
    board has seen since the last checkpoint of its state, and gives it again what it misses.

    Args:
        client: to the board.
        method: one of `METHODS`.
        options: of the planner.

    Attributes:
        identity: what the board says of itself.
        counts: what was mended: ``catch_ups`` (the board had missed observations), ``rebuilds`` (it had restarted),
            ``steps_replayed`` and ``checkpoints``.
    """

    def __init__(self, client: Client, method: str, options: PlannerOptions | None = None) -> None:
        self.client = client
        self.identity: Identity = client.connect()
        self.counts: Counter[str] = Counter()
        self.episode = 0
        self.seed = 0
        self.steps: list[Step] = []
        self._checkpoint: tuple[int, bytes] | None = None
        self._method = method
        self._options = options or PlannerOptions()
        self.model: Model = self._check_model()
        self._configure()

    def reset(self, seed: int) -> None:
        """Begin an episode.

        Raises:
            NoReplyError: if the board does not answer.
        """
        self.episode += 1
        self.seed = seed
        self.steps = []
        self._checkpoint = None
        self.client.request(Kind.RESET, _RESET.pack(self.episode, seed))

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
        self.steps.append(Step(action.astype(np.float32), observation.astype(np.float32)))
        try:
            try:
                reply = self._tell(len(self.steps) - 1, Kind.DECIDE, deadline)
            except RefusedError as error:
                if error.reason is not Refusal.OUT_OF_STEP:
                    raise
                episode, position = _POSITION.unpack(error.detail)
                self._mend(episode, position, deadline)
                reply = self._tell(len(self.steps) - 1, Kind.DECIDE, deadline)
        except NoReplyError:
            return None
        except RefusedError as error:
            # It restarted while it was mended; what it misses shows again the next time.
            if error.reason is not Refusal.OUT_OF_STEP:
                raise
            return None
        _, _, observe_ticks, plan_ticks = _DECISION.unpack_from(reply)
        return Decision(np.frombuffer(reply, "<f4", offset=_DECISION.size).copy(), observe_ticks, plan_ticks)

    def keep_checkpoint(self, deadline: float | None = None) -> None:
        """Read the board's state back when it is time to, so that a restart costs little."""
        last = self._checkpoint[0] if self._checkpoint else 0
        if len(self.steps) - last < CHECKPOINT_EVERY:
            return
        try:
            body = self.client.request(Kind.READ_STATE, deadline=deadline)
        except NoReplyError:
            return
        episode, step = _POSITION.unpack_from(body)
        if episode == self.episode and step == len(self.steps):
            self.counts["checkpoints"] += 1
            self._checkpoint = (step, body)

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
            self.client.request(Kind.SET_PLANNER, body, deadline)
        except RefusedError as error:
            model = self.model
            raise NmbrlError(
                f"the board's planner has room for {model.max_samples} samples, {model.max_elites} elites and horizon "
                f"{model.max_horizon}, not for {o.samples}, {o.elites} and {o.horizon}"
            ) from error

    def _tell(self, index: int, kind: Kind, deadline: float | None) -> bytes:
        """Hand over one observation; an answer tells what became of those before it."""
        step = self.steps[index]
        body = _POSITION.pack(self.episode, index) + step.action.tobytes() + step.observation.tobytes()
        reply = self.client.request(kind, body, deadline)
        if step.decided is None:
            step.decided = kind is Kind.DECIDE
        for earlier in reversed(self.steps[:index]):
            if earlier.decided is not None:
                break
            # The board is past it without having been mended: the request had arrived, its answer had not.
            earlier.decided = True
        return reply

    def _mend(self, episode: int, position: int, deadline: float | None) -> None:
        """Bring a board that has seen `position` observations of `episode` to where this episode is."""
        if episode == self.episode:
            self.counts["catch_ups"] += 1
        else:
            self.counts["rebuilds"] += 1
            self._configure(deadline)
            if self._checkpoint is None:
                position = 0
                self.client.request(Kind.RESET, _RESET.pack(self.episode, self.seed), deadline)
            else:
                position, body = self._checkpoint
                self.client.request(Kind.WRITE_STATE, body, deadline)
        for index in range(position, len(self.steps) - 1):
            self.counts["steps_replayed"] += 1
            step = self.steps[index]
            if step.decided is None:
                step.decided = False
            self._tell(index, Kind.DECIDE if step.decided else Kind.OBSERVE, deadline)
