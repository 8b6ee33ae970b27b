"""Fine-tuning weights for the rounding of an integer model, in imagination, so that it stays nearer to the float model.

The student is the integer model's simulation, straight through its rounding; the teacher is the float model. From
beliefs along recorded episodes both observe, then imagine with the recorded actions, with the policy's, and with random
ones, and the student's weights follow the gradient of how far it departs. Ranges, and so the scales of all activations,
stay as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from ai_edge_litert.tools import flatbuffer_utils
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from torch import Tensor

from nmbrl.convert.calibration import Samples, recorded_trajectories
from nmbrl.convert.drift import Drift
from nmbrl.convert.tflite_simulate import Simulation
from nmbrl.convert.threads import one_thread
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array
from nmbrl.train.deployed import DeployedModel, TorchExecutor

# Decisions observed, then imagined, in one student's rollout; gradients of longer ones tell of chaos alone.
OBSERVED, IMAGINED = 4, 8
# Rollouts in an update: a third of each kind of actions.
BATCH = 48
RATE = 1e-3
LARGEST_GRADIENT = 1.0
# Share of the episodes that only judge.
HELD_OUT = 0.25
JUDGED = ("observation_1", "observation_5", "observation_15", "action", "value")

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Split:
    """Recorded episodes for learning and others for judging; the same ones where there is only one."""

    learning: dict[str, np.ndarray]
    judging: dict[str, np.ndarray]


def split_episodes(calibration: Mapping[str, np.ndarray]) -> Split:
    """Hold out the last episodes of a run's calibration."""
    episodes = len(calibration["a"])
    held = min(max(1, round(HELD_OUT * episodes)), episodes - 1)
    cut = episodes - held
    return Split(
        {name: values[:cut] for name, values in calibration.items()},
        {name: values[cut if held else 0 :] for name, values in calibration.items()},
    )


def improvement(before: Drift, after: Drift) -> float:
    """Return by which factor errors fell, as the geometric mean over what is judged; above 1 is better."""
    former, now = before.at(), after.at()
    ratios = [former[name] / max(now[name], 1e-12) for name in JUDGED if name in former]
    return float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-12)))))


@one_thread()
def fine_tune(
    model: DeployedModel,
    simulation: Simulation,
    calibration: dict[str, np.ndarray],
    samples: Samples,
    updates: int,
    seed: int,
    progress: Callable[[str], None] = lambda message: None,
) -> None:
    """Fit a simulation's weights, in place. The same arguments give the same weights on the same machine.

    Args:
        model: the teacher.
        simulation: the student.
        calibration: episodes to learn from.
        samples: inputs of every function, whose outputs' spread is the unit of each error.
        updates: number of steps of Adam, whose rate falls to zero along a cosine.
        seed: of the choice of rollouts and of random actions.
        progress: told four times how far it is.

    Raises:
        NmbrlError: if the error is no longer finite.
    """
    school = _School(model, simulation, calibration, samples, seed)
    optimiser = torch.optim.Adam(simulation.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for update in range(updates):
        if update % max(updates // 4, 1) == 0:
            progress(f"fine-tune: update {update} of {updates}")
        loss = school.loss()
        if not torch.isfinite(loss):
            raise NmbrlError(f"fine-tuning diverged in update {update}; convert without --finetune")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(simulation.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()


class _School:
    """Draws rollouts and measures how far the student departs from the teacher in them."""

    def __init__(
        self,
        model: DeployedModel,
        simulation: Simulation,
        calibration: dict[str, np.ndarray],
        samples: Samples,
        seed: int,
    ) -> None:
        self.model, self.simulation, self.interface = model, simulation, model.interface
        self.generator = torch.Generator().manual_seed(seed)
        executor = TorchExecutor(model)
        observations, actions = recorded_trajectories(executor, calibration)
        previous = np.concatenate([np.zeros_like(actions[:, :1]), actions], 1)
        states = [executor.reset(len(actions))]
        for step in range(observations.shape[1]):
            states.append(executor.observe(states[-1], previous[:, step], observations[:, step]))
        self.observed = min(OBSERVED, actions.shape[1] // 4 + 1)
        self.imagined = min(IMAGINED, actions.shape[1] // 2)
        self.states, self.previous = torch.from_numpy(np.stack(states, 1)), torch.from_numpy(previous)
        self.observations = torch.from_numpy(self.interface.normalisation.normalise(observations))
        self.units = {
            (function, name): float(values.std()) or 1.0
            for function, inputs in samples.inputs.items()
            for name, values in executor.call(function, inputs).items()
        }

    def loss(self) -> Tensor:
        """Mean logarithm of each output's squared error: what counts is the share by which each one falls."""
        errors: dict[tuple[str, str], list[Tensor]] = {}
        episodes = torch.randint(len(self.previous), (BATCH,), generator=self.generator)
        last = self.previous.shape[1] - self.observed - self.imagined
        first = torch.randint(last + 1, (BATCH,), generator=self.generator)
        student = teacher = self._split(self.states[episodes, first])
        for step in range(self.observed):
            given = {"a": self.previous[episodes, first + step], "o": self.observations[episodes, first + step]}
            student, teacher = self._compare("observe", {**student, **given}, {**teacher, **given}, errors)
        for step in range(self.imagined):
            judged = {name: teacher[name] for name in self._split(self.states[:1, 0])}
            for function in ("act", "value", "decode"):
                if function in self.interface.functions:
                    self._compare(function, judged, judged, errors)
            action = self._actions(judged, self.previous[episodes, first + self.observed + step])
            student, teacher = self._compare("imagine", {**student, "a": action}, {**teacher, "a": action}, errors)
        return torch.stack([torch.stack(parts).mean().clamp_min(1e-12).log() for parts in errors.values()]).mean()

    def _compare(
        self, function: str, student: Values, teacher: Values, errors: dict[tuple[str, str], list[Tensor]]
    ) -> tuple[Values, Values]:
        """Evaluate a function on both sides; note the errors of what it computes and return its outputs."""
        computed, expected = self.simulation(function, student), self._teach(function, teacher)
        for name, values in expected.items():
            error = (computed[name] - values) / self.units[function, name]
            errors.setdefault((function, name), []).append(error.square().mean())
        aliases = self.interface.aliases.get(function, {})
        return (
            {**computed, **{output: student[name] for output, name in aliases.items()}},
            {**expected, **{output: teacher[name] for output, name in aliases.items()}},
        )

    @torch.no_grad()
    def _teach(self, function: str, inputs: Values) -> Values:
        outputs = getattr(self.model, function)(*(inputs[name] for name in self.interface.input_sizes(function)))
        return dict(zip(self.interface.output_sizes(function), outputs, strict=True))

    def _actions(self, states: Values, recorded: Tensor) -> Tensor:
        """Recorded actions, the policy's and random ones, a third each."""
        task, third = self.interface.task, BATCH // 3
        policy = self._teach("act", states)["a"][third : 2 * third]
        random = torch.rand(third, task.action_size, generator=self.generator)
        if task.action_kind == "box":
            return torch.cat([recorded[:third], policy.clamp(-1, 1), 2 * random - 1])
        chosen = torch.cat([policy, random]).argmax(-1)
        return torch.cat([recorded[:third], torch.eye(task.action_size)[chosen]])

    def _split(self, state: Tensor) -> Values:
        sizes = [segment.size for segment in self.interface.state]
        return dict(zip((segment.name for segment in self.interface.state), state.split(sizes, -1), strict=True))


def with_weights(floats: Mapping[str, bytes], simulation: Simulation) -> dict[str, bytes]:
    """Return float .tflite models with the weights and biases of a simulation in place of their own."""
    changed = {}
    for function, content in floats.items():
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        for tensor in model.subgraphs[0].tensors:
            parameter = simulation.parameter(function, tensor.name.decode())
            if parameter is not None:
                # Equal constants may share a buffer, but need not stay equal.
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(_values(parameter).tobytes(), np.uint8)
                tensor.buffer = len(model.buffers)
                model.buffers.append(buffer)
        kept = {tensor.buffer for tensor in model.subgraphs[0].tensors} | {
            entry.buffer for entry in model.metadata or ()
        }
        for index, buffer in enumerate(model.buffers):
            if index not in kept:
                buffer.data = None
        changed[function] = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return changed


def _values(parameter: Tensor) -> Array:
    return parameter.detach().numpy()
