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
# Decisions of an episode between starts of rollouts and of loops, and most starts of an episode.
STRIDE = 8
STARTS = 8


class Rehearsal:
    """Three runs over a run's recorded trajectories, of the functions in `GROUPS`.

    Args:
        model: the float model.
        calibration: as in `nmbrl.convert.calibration.compute_samples`.

    Attributes:
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
        self._float = TorchExecutor(model)
        observations, actions = recorded_trajectories(self._float, calibration)
        self._actions = torch.from_numpy(actions)
        self._previous = torch.cat([torch.zeros_like(self._actions[:, :1]), self._actions], 1)
        self._raw = observations
        self._observed = torch.from_numpy(self.interface.normalisation.normalise(observations))
        self._states: list[dict[str, Tensor]] = []
        self._states = self._beliefs(self._call_of(self._float))
        self._units: dict[str, Tensor] = {}
        self.reference = {group: self.run(group, self._call_of(self._float)) for group in self.GROUPS}
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
            np.concatenate([self._float.interface.join(_arrays(self._states[start + k])) for start in starts])
            for k in (1, 0)
        )
        observation = np.concatenate([self._raw[:, start] for start in starts])
        action = np.concatenate([self._previous[:, start].numpy() for start in starts])
        for decision in range(LOOP):
            belief = executor.observe(belief, action, observation)
            action = executor.project_action(executor.act(belief))
            plant, _, _ = self._float.imagine(plant, action)
            observation = self._float.decode(plant)
            if decision == 0:
                # The jump from nothing to the first belief is no part of a closed loop.
                executor.counts.clear()
        return executor.counts["messages"] / executor.counts["possible_messages"]

    def _control(self, call: Call) -> Tensor:
        actions = [self._evaluate(call, "act", state)["a"] for state in self._beliefs(call)[1:]]
        return torch.stack(actions, 1)

    def _beliefs(self, call: Call) -> list[dict[str, Tensor]]:
        """Return the state before the first observation, and after each."""
        states = [
            {part.name: torch.zeros(len(self._raw), part.size) for part in self.interface.state},
        ]
        for t in range(self._raw.shape[1]):
            inputs = {**states[-1], "a": self._previous[:, t], "o": self._observed[:, t]}
            states.append(self._state(self._evaluate(call, "observe", inputs)))
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
            outputs = self._evaluate(call, "imagine", {**state, "a": action})
            state = self._state(outputs)
            given.append(torch.cat([self._evaluate(call, "decode", state)["o"], outputs["r"]], 1))
        return torch.stack(given, 1)

    def _valuation(self, call: Call) -> Tensor:
        return torch.stack([self._evaluate(call, "value", state)["v"] for state in self._states[1:]], 1)

    def _evaluate(self, call: Call, function: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = call(function, inputs) if self.interface.output_sizes(function) else {}
        return {**outputs, **{new: inputs[old] for new, old in self.interface.aliases.get(function, {}).items()}}

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
