"""The one interface: what a deployed world model and policy are, whatever runs them (DESIGN.md, "One interface")."""

from abc import ABC, abstractmethod
from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Array = NDArray[np.float32]
FUNCTIONS = ("observe", "imagine", "act", "value", "decode")


class Frozen(BaseModel):
    """A record that is validated when made and does not change afterwards; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Segment(Frozen):
    """A named slice of the flat state vector; targets may quantise each segment with its own scale."""

    name: str
    size: int = Field(gt=0)


class Task(Frozen):
    """The environment that a model was trained on, as the closed loop needs to rebuild it.

    Attributes:
        env: Gymnasium id, e.g. ``dm_control/cartpole-swingup-v0``.
        action_repeat: physics steps (frames) that one decision lasts.
        observation_size: length of the flattened observation.
        action_kind: ``box`` (actions in [-1, 1], scaled to the environment's bounds) or ``discrete`` (one-hot).
        action_size: dimensions of a box action, or number of discrete actions.
    """

    env: str
    action_repeat: int = Field(ge=1)
    observation_size: int = Field(gt=0)
    action_kind: Literal["box", "discrete"]
    action_size: int = Field(gt=0)


class Normalisation(Frozen):
    """Raw observation to model input: ``x = clip((o - mean) / std, -clip, clip)``, elementwise, float32.

    It is part of the boundary of every executor: callers always pass raw observations.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: float = Field(default=10.0, gt=0)

    def normalise(self, observation: Array) -> Array:
        """Map raw observations (batch, observation_size) to model inputs of the same shape."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return np.clip((observation - mean) / std, -self.clip, self.clip).astype(np.float32)

    def restore(self, x: Array) -> Array:
        """Map model inputs (batch, observation_size) back to raw observations."""
        return (x * np.asarray(self.std, np.float32) + np.asarray(self.mean, np.float32)).astype(np.float32)


class Interface(Frozen):
    """Shapes and constants of a deployed model.

    Attributes:
        architecture: ``gru`` or ``rssm``; information only, nothing dispatches on it outside `train/` and `convert/`.
        state: segments of the flat state vector, in order.
        aliases: outputs that are an input passed through, as ``{function: {output: input}}``; targets do not compute
            them (a state that holds the observation itself decodes by looking at it).
        terminates: whether episodes can end early; if not, ``c`` is 1 and is no output of ``imagine``.
        discount: discount factor of one decision, for planners that bootstrap with `value`.
        parameters: number of deployed parameters.
    """

    architecture: str
    task: Task
    normalisation: Normalisation
    state: tuple[Segment, ...]
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)
    terminates: bool
    discount: float = Field(gt=0, le=1)
    parameters: int = Field(gt=0)

    @property
    def state_size(self) -> int:
        """Length of the flat state vector."""
        return sum(segment.size for segment in self.state)

    def split(self, state: Array) -> dict[str, Array]:
        """Cut a flat state (batch, state_size) into its segments, as views."""
        bounds = np.cumsum([0, *(segment.size for segment in self.state)])
        return {segment.name: state[:, bounds[i] : bounds[i + 1]] for i, segment in enumerate(self.state)}

    def join(self, segments: dict[str, Array]) -> Array:
        """Concatenate segments to a flat state (batch, state_size)."""
        return np.concatenate([segments[segment.name] for segment in self.state], axis=1)

    def input_sizes(self, function: str) -> dict[str, int]:
        """Names and sizes of a core function's inputs: the state segments, then ``a`` and ``o`` where it takes them."""
        sizes = {segment.name: segment.size for segment in self.state}
        if function in ("observe", "imagine"):
            sizes["a"] = self.task.action_size
        if function == "observe":
            sizes["o"] = self.task.observation_size
        return sizes

    def output_sizes(self, function: str) -> dict[str, int]:
        """Names and sizes of the outputs that a target computes for a core function (aliases left out).

        ``observe`` gives the next state segments; ``imagine`` those, then ``r`` and, where episodes can end, ``c``;
        ``act`` gives ``a``, ``value`` gives ``v`` and ``decode`` gives ``o`` (normalised).
        """
        state = {segment.name: segment.size for segment in self.state}
        sizes = {
            "observe": state,
            "imagine": {**state, "r": 1, **({"c": 1} if self.terminates else {})},
            "act": {"a": self.task.action_size},
            "value": {"v": 1},
            "decode": {"o": self.task.observation_size},
        }[function]
        return {name: size for name, size in sizes.items() if name not in self.aliases.get(function, {})}

    @property
    def functions(self) -> tuple[str, ...]:
        """The core functions that have anything to compute."""
        return tuple(function for function in FUNCTIONS if self.output_sizes(function))


class Executor(ABC):
    """Runs a deployed model. Batch is the leading axis; arrays at this boundary are float32.

    Subclasses implement `call`, which sees normalised observations and state segments; this class does what is the
    same everywhere. An action is in [-1, 1] for box actions and one-hot for discrete ones; ``act`` gives the mean
    action, or logits for discrete actions (`project_action` turns either into something an environment accepts).

    Args:
        target: name that reports show, e.g. ``onnx``.
        interface: shapes and constants of the model.
        macs: multiply-accumulates of one call of each function for one sample, by function.

    Attributes:
        provenance: where the model comes from, by label, as far as whoever opened it knows.
        layers: multiply-accumulates of one call of each function for one sample, layer by layer, as far as known.
    """

    def __init__(self, target: str, interface: Interface, macs: dict[str, int]) -> None:
        self.target = target
        self.interface = interface
        self.macs = macs
        self._counts: Counter[str] = Counter()
        self.provenance: dict[str, str] = {}
        self.layers: dict[str, dict[str, int]] = {}

    @property
    def counts(self) -> Counter[str]:
        """Totals since the start or the last ``clear()``: calls of a function, one a sample, and what a target counts.

        Targets count ``synaptic_operations``, ``messages`` and ``neuron_updates``, for example.
        """
        return self._counts

    @abstractmethod
    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function of `Interface.functions` on named arrays (batch, size), float32.

        Names and sizes are those of `Interface.input_sizes` and `Interface.output_sizes`; observations are normalised.
        """

    def _evaluate(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """`call`, counted, with the outputs that are inputs passed through put beside what it computed."""
        outputs: dict[str, Array] = {}
        if self.interface.output_sizes(function):
            self._counts[function] += len(next(iter(inputs.values())))
            outputs = self.call(function, inputs)
        passed = {output: inputs[name] for output, name in self.interface.aliases.get(function, {}).items()}
        return {**outputs, **passed}

    def reset(self, batch: int) -> Array:
        """Return the state (batch, state_size) before the first observation: zeros."""
        return np.zeros((batch, self.interface.state_size), np.float32)

    def observe(self, state: Array, action: Array, observation: Array) -> Array:
        """Fold in the raw observation that followed `action`; the first one after a reset follows a zero action."""
        inputs = {
            **self.interface.split(state),
            "a": action,
            "o": self.interface.normalisation.normalise(observation),
        }
        return self.interface.join(self._evaluate("observe", inputs))

    def imagine(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        """Imagine one decision ahead: next state, reward (batch,) and probability of continuing (batch,)."""
        outputs = self._evaluate("imagine", {**self.interface.split(state), "a": action})
        reward = outputs["r"][:, 0]
        return self.interface.join(outputs), reward, outputs["c"][:, 0] if "c" in outputs else np.ones_like(reward)

    def act(self, state: Array) -> Array:
        """Return the policy's mean action (batch, action_size); logits where actions are discrete."""
        return self._evaluate("act", self.interface.split(state))["a"]

    def value(self, state: Array) -> Array:
        """Return the value (batch,): the discounted sum of rewards, in the environment's units, from this state on."""
        return self._evaluate("value", self.interface.split(state))["v"][:, 0]

    def decode(self, state: Array) -> Array:
        """Return the raw observation (batch, observation_size) that the state stands for."""
        return self.interface.normalisation.restore(self._evaluate("decode", self.interface.split(state))["o"])

    def project_action(self, action: Array) -> Array:
        """Make a raw action valid: clip a box action to [-1, 1]; one-hot the largest logit of a discrete one."""
        if self.interface.task.action_kind == "box":
            return np.clip(action, -1.0, 1.0).astype(np.float32)
        return np.eye(self.interface.task.action_size, dtype=np.float32)[np.argmax(action, axis=-1)]

    def keep(self, lanes: NDArray[np.bool_]) -> None:  # noqa: B027 - most executors hold nothing between calls
        """Go on with some lanes only: a mask (lanes,). Where a call has several rows a lane, they are side by side."""

    def close(self) -> None:  # noqa: B027 - most executors hold nothing to release
        """Release what the executor holds (a subprocess, a port)."""
