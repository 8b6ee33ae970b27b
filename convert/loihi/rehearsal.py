"""What a model does with its calibration data: the same run for the float model, differentiable, and for Loihi."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nmbrl.convert.calibration import recorded_trajectories
from nmbrl.targets.interface import Array, Executor
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.train.deployed import DeployedModel, TorchExecutor

# Evaluates one core function on tensors (batch, size) by name, aliases left out.
Call = Callable[[str, dict[str, Tensor]], dict[str, Tensor]]
# Decisions of an imagined rollout, and of the closed loop with the model as its plant.
HORIZON = 15
LOOP = 36
# Most decisions of the random prefix of a drawn start, and the share of those starts that have none.
PREFIX = 12
NATIVE = 0.3
# Decisions of an episode between starts of rollouts and of loops, and most starts of an episode.
STRIDE = 8
STARTS = 8


class Rehearsal:
    """Three runs over a run's recorded trajectories, of the functions in `GROUPS`.

    Args:
        model: the float model.
        calibration: as in `nmbrl.convert.calibration.compute_samples`.

    Attributes:
        teacher: runs the float model.
        reference: what the float model gives in each run, by group.

    Raises:
        NmbrlError: if the trajectories do not fit the model or are not finite.
    """

    GROUPS: Mapping[str, tuple[str, ...]] = {
        "control": ("observe", "act"),
        "imagination": ("imagine", "decode"),
        "valuation": ("value",),
    }

    def __init__(self, model: DeployedModel, calibration: dict[str, np.ndarray]) -> None:
        self.interface = model.interface
        self.teacher = TorchExecutor(model)
        observations, actions = recorded_trajectories(self.teacher, calibration)
        self._actions = torch.from_numpy(actions)
        self._previous = torch.cat([torch.zeros_like(self._actions[:, :1]), self._actions], 1)
        self._raw = observations
        self._observed = torch.from_numpy(self.interface.normalisation.normalise(observations))
        self._states: list[dict[str, Tensor]] = []
        self._states = self._beliefs(self._call_of(self.teacher))
        self._spread = {name: torch.stack([s[name] for s in self._states]).std((0, 1)) for name in self._states[0]}
        self._units: dict[str, Tensor] = {}
        self.reference = {group: self.run(group, self._call_of(self.teacher)) for group in self.GROUPS}
        self._units = {group: self._unit(group, given) for group, given in self.reference.items()}
        self.reference = {group: given / self._units[group] for group, given in self.reference.items()}

    def run(self, group: str, call: Call) -> Tensor:
        """Return what one group's run gives, (lanes, decisions, size).

        ``control``: actions along the recorded observations and actions. ``imagination``: observations and rewards of
        rollouts with the recorded actions, from the float model's beliefs. ``valuation``: values along those beliefs.
        Actions are in [-1, 1], all else is in standard deviations.
        """
        given = {"control": self._control, "imagination": self._imagination, "valuation": self._valuation}[group](call)
        return given / self._units[group] if group in self._units else given

    def error(self, group: str, executor: Executor) -> float:
        """Return the root mean square difference from the float model in a group's run."""
        return float((self.run(group, self._call_of(executor)) - self.reference[group]).square().mean().sqrt())

    def sent(self, executor: LoihiExecutor) -> float:
        """Return the share of possible messages that are sent where the float model is the plant."""
        starts = self._starts(LOOP)
        plant, belief = (
            np.concatenate([self.teacher.interface.join(_arrays(self._states[start + k])) for start in starts])
            for k in (1, 0)
        )
        observation = np.concatenate([self._raw[:, start] for start in starts])
        action = np.concatenate([self._previous[:, start].numpy() for start in starts])
        for decision in range(LOOP):
            belief = executor.observe(belief, action, observation)
            action = executor.project_action(executor.act(belief))
            plant, _, _ = self.teacher.imagine(plant, action)
            observation = self.teacher.decode(plant)
            if decision == 0:
                # The jump from nothing to the first belief is no part of a closed loop.
                executor.counts.clear()
        return executor.counts["messages"] / executor.counts["possible_messages"]

    def draw(self, random: np.random.Generator, lanes: int) -> tuple[Array, Array, Array]:
        """Draw where closed loops start: half from recorded states, half as episodes do, some behind a random prefix.

        Returns:
            Belief before the first observation (lanes, state_size), the float model's state as the plant after it, and
            the action between them (lanes, action_size).
        """
        recorded = lanes // 2
        episode = random.integers(len(self._raw), size=recorded)
        first = random.integers(max(self._actions.shape[1] - LOOP, 0) + 1, size=recorded)
        states = np.stack([self.interface.join(_arrays(state)) for state in self._states], 1)
        none = np.zeros((lanes - recorded, self._actions.shape[-1]), np.float32)
        belief = self.teacher.reset(len(none))
        plant = self.teacher.observe(belief, none, self._raw[random.integers(len(self._raw), size=len(none)), 0])
        prefix = np.where(random.random(len(none)) < NATIVE, 0, random.integers(PREFIX + 1, size=len(none)))
        for decision in range(PREFIX):
            action = self.teacher.project_action(random.uniform(-1, 1, none.shape).astype(np.float32))
            plant = np.where((decision < prefix)[:, None], self.teacher.imagine(plant, action)[0], plant)
        return (
            np.concatenate([states[episode, first], belief]),
            np.concatenate([states[episode, first + 1], plant]),
            np.concatenate([self._previous.numpy()[episode, first], none]),
        )

    def observe(self, call: Call, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the belief (batch, size) by segment, from the last one, the action ``a`` and the observation ``o``."""
        return self._state(self.evaluate(call, "observe", inputs))

    def evaluate(self, call: Call, function: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Evaluate a core function on tensors (batch, size) by name, aliases included."""
        outputs = call(function, inputs) if self.interface.output_sizes(function) else {}
        return {**outputs, **{new: inputs[old] for new, old in self.interface.aliases.get(function, {}).items()}}

    def departure(
        self, belief: dict[str, Tensor], action: Tensor, known: Array, wanted: Array
    ) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of actions (in the units of `run`) and of beliefs (in standard deviations).

        Args:
            belief: (batch, size) by segment.
            action: (batch, action_size), as `act` gives it.
            known: the float model's belief (batch, state_size).
            wanted: its action.
        """
        actions = ((action - torch.from_numpy(wanted)) / self._units["control"]).square().mean()
        segments = self.interface.split(known)
        beliefs = [
            (belief[name] - torch.from_numpy(segments[name])) / self._spread[name].clamp(min=1e-2)
            for name in self.interface.output_sizes("observe")
        ]
        return actions, torch.cat(beliefs, 1).square().mean()

    def _control(self, call: Call) -> Tensor:
        actions = [self.evaluate(call, "act", state)["a"] for state in self._beliefs(call)[1:]]
        return torch.stack(actions, 1)

    def _beliefs(self, call: Call) -> list[dict[str, Tensor]]:
        """Return the state before the first observation, and after each."""
        states = [
            {part.name: torch.zeros(len(self._raw), part.size) for part in self.interface.state},
        ]
        for t in range(self._raw.shape[1]):
            inputs = {**states[-1], "a": self._previous[:, t], "o": self._observed[:, t]}
            states.append(self.observe(call, inputs))
        return states

    def _imagination(self, call: Call) -> Tensor:
        starts = self._starts(HORIZON)
        state = {
            part.name: torch.cat([self._states[start + 1][part.name] for start in starts])
            for part in self.interface.state
        }
        given = []
        for ahead in range(HORIZON):
            action = torch.cat([self._actions[:, start + ahead] for start in starts])
            outputs = self.evaluate(call, "imagine", {**state, "a": action})
            state = self._state(outputs)
            given.append(torch.cat([self.evaluate(call, "decode", state)["o"], outputs["r"]], 1))
        return torch.stack(given, 1)

    def _valuation(self, call: Call) -> Tensor:
        return torch.stack([self.evaluate(call, "value", state)["v"] for state in self._states[1:]], 1)

    def _state(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {part.name: outputs[part.name] for part in self.interface.state}

    def _starts(self, decisions: int) -> list[int]:
        return list(range(0, max(self._actions.shape[1] - decisions, 0) + 1, STRIDE))[:STARTS]

    def _unit(self, group: str, given: Tensor) -> Tensor:
        """Return what one unit of each number is: a standard deviation, but of box actions 1."""
        if group == "control" and self.interface.task.action_kind == "box":
            return torch.ones(given.shape[-1])
        return given.std((0, 1)).clamp(min=1e-3)

    def _call_of(self, executor: Executor) -> Call:
        def call(function: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            taken = self.interface.input_sizes(function)
            executor.counts[function] += len(next(iter(inputs.values())))
            outputs = executor.call(function, {name: inputs[name].numpy() for name in taken})
            return {name: torch.from_numpy(array.copy()) for name, array in outputs.items()}

        return call


def _arrays(tensors: dict[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
