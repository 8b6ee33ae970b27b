"""Fine-tuning weights and thresholds of the policy's networks, so that they send less for the error that is allowed.

The student is the graphs of `observe` and `act` as sigma-delta neurons, the float model is its teacher and its plant:
the student's actions decide where both go, from varied starts and from recorded states. Training delta networks
(Neil et al. 2017, "Delta Networks for Optimized Recurrent Network Computation") is what this comes from. Gradients pass
rounding straight through: what a neuron leaves unsent is noise that does not depend on its value, and whether it sends
is differentiated as a logistic function of the logarithm of its change over its threshold.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmbrl.convert.loihi.affine import Affine
from nmbrl.convert.loihi.differentiable import Differentiable
from nmbrl.convert.loihi.lowering import Graph, Node
from nmbrl.convert.loihi.rehearsal import LOOP, Rehearsal
from nmbrl.convert.loihi.scales import NodeKey
from nmbrl.convert.threads import one_thread
from nmbrl.targets.errors import NmbrlError

# Closed loops in an update.
BATCH = 96
# Steps of Adam for weights and for logarithms of thresholds.
WEIGHT_RATE, THRESHOLD_RATE = 2e-3, 0.05
LARGEST_GRADIENT = 1.0
# Width of the logistic function, in logarithms of a change.
WIDTH = 0.3
# Price of a squared standard deviation of the belief, in shares of possible messages: planners go on from it.
BELIEF_PRICE = 0.1
# Price of the squared error of actions that is allowed, likewise: messages fall with thresholds until about there.
ACTION_PRICE = 0.03
SMALLEST_THRESHOLD = 1e-5


class FineTuning:
    """Fits the graphs of the closed loop.

    Args:
        rehearsal: of the float model.
        graphs: of every function.
        thresholds: to begin with, (size,) of each node, in real numbers.
        budget: root mean square error of the actions, in the units of `Rehearsal.run`, that is aimed at.
        seed: of starts.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        graphs: dict[str, Graph],
        thresholds: dict[NodeKey, np.ndarray],
        budget: float,
        seed: int,
    ) -> None:
        self.rehearsal, self.budget = rehearsal, budget
        self.random = np.random.default_rng(seed)
        self.students = {
            function: _SigmaDelta(graphs[function], {n: t for (f, n), t in thresholds.items() if f == function})
            for function in rehearsal.GROUPS["control"]
            if function in graphs
        }
        self._neurons = sum(node.size for student in self.students.values() for node in student.graph.nodes)

    @one_thread()
    def run(self, updates: int, progress: Callable[[str], None] = lambda message: None) -> None:
        """Go through so many updates.

        Args:
            updates: steps of Adam.
            progress: told four times how far it is.

        Raises:
            NmbrlError: if the error is no longer finite.
        """
        weights = [weight for student in self.students.values() for weight in student.weights]
        thresholds = [threshold for student in self.students.values() for threshold in student.thresholds.values()]
        optimiser = torch.optim.Adam(
            [{"params": weights, "lr": WEIGHT_RATE}, {"params": thresholds, "lr": THRESHOLD_RATE}]
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: _rate(update / updates))
        price = ACTION_PRICE / self.budget**2
        for update in range(updates):
            if update % max(updates // 4, 1) == 0:
                progress(f"fine-tune: update {update} of {updates}")
            sent, action, belief = self._loop()
            loss = sent + price * action + BELIEF_PRICE * belief
            if not torch.isfinite(loss):
                raise NmbrlError(f"fine-tuning diverged in update {update}; convert without --finetune")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
            optimiser.step()
            schedule.step()

    def graphs(self) -> dict[str, Graph]:
        """Return the fitted graphs."""
        return {function: student.tuned() for function, student in self.students.items()}

    def thresholds(self) -> dict[NodeKey, np.ndarray]:
        """Return the fitted thresholds (size,) of each node, in real numbers."""
        return {
            (function, name): np.exp(threshold.detach().double().numpy())
            for function, student in self.students.items()
            for name, threshold in student.thresholds.items()
        }

    def _loop(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the share of messages sent, the squared error of actions and that of beliefs, in standard deviations.

        The jump to the first belief is left out of the messages.
        """
        teacher = self.rehearsal.teacher
        interface = teacher.interface
        known, plant, action = self.rehearsal.draw(self.random, BATCH)
        belief = {name: torch.from_numpy(part.copy()) for name, part in interface.split(known).items()}
        sent = {function: student.rest(BATCH) for function, student in self.students.items()}
        messages: list[Tensor] = []
        errors = []

        def call(function: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            student = self.students[function]
            sent[function], count = student.advance(sent[function], inputs)
            messages.append(count)
            return {name: sent[function][node] for name, node in student.graph.outputs.items()}

        for decision in range(LOOP):
            observation = teacher.decode(plant)
            known = teacher.observe(known, action, observation)
            given = {
                "a": torch.from_numpy(action),
                "o": torch.from_numpy(interface.normalisation.normalise(observation)),
            }
            belief = self.rehearsal.observe(call, {**belief, **given})
            chosen = self.rehearsal.evaluate(call, "act", belief)["a"]
            errors.append(torch.stack(self.rehearsal.departure(belief, chosen, known, teacher.act(known))))
            if decision == 0:
                messages.clear()
            action = teacher.project_action(chosen.detach().numpy())
            plant, _, _ = teacher.imagine(plant, action)
        action_error, belief_error = torch.stack(errors).mean(0)
        return torch.stack(messages).sum() / (self._neurons * (LOOP - 1)), action_error, belief_error


class _SigmaDelta(Differentiable):
    """A function whose neurons send changes that reach their thresholds.

    Attributes:
        weights: matrices and biases that are fitted; sums, differences and pass-throughs stay exact.
        thresholds: logarithms of thresholds (size,), by node.
    """

    def __init__(self, graph: Graph, thresholds: dict[str, np.ndarray]) -> None:
        super().__init__(graph)
        self.weights: list[Tensor] = []
        for operands in self.operands.values():
            for terms, bias in operands:
                free = [matrix for matrix in terms.values() if not _exact(matrix)]
                for matrix in free:
                    matrix.requires_grad_().register_hook(_keep_zeros(matrix.detach() != 0))
                self.weights += [*free, *([bias.requires_grad_()] if free else [])]
        self.thresholds = {
            name: torch.tensor(np.log(np.maximum(values, SMALLEST_THRESHOLD)), dtype=torch.float32, requires_grad=True)
            for name, values in thresholds.items()
        }

    def rest(self, batch: int) -> dict[str, Tensor]:
        """Return what all nodes have sent (batch, size) where all inputs are 0."""
        values: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            values[node.name] = (
                torch.zeros(batch, node.size)
                if node.kind == "input"
                else self.evaluate(node, values).expand(batch, node.size)
            )
        return values

    def advance(self, sent: dict[str, Tensor], inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Go through a decision.

        Args:
            sent: (batch, size) by node, since the start.
            inputs: (batch, size) by name.

        Returns:
            The same after it, and how many neurons have sent in a lane, on average.
        """
        given = {node: inputs[name] for name, node in self.graph.inputs.items()}
        values: dict[str, Tensor] = {}
        count = torch.zeros(())
        for node in self.graph.nodes:
            target = given[node.name] if node.kind == "input" else self.evaluate(node, values)
            values[node.name], sends = _Gate.apply(target, sent[node.name], self.thresholds[node.name])
            count = count + sends.mean(0).sum()
        return values, count

    def tuned(self) -> Graph:
        """Return the graph with the fitted weights."""
        nodes = tuple(replace(node, operands=tuple(self._operands(node))) for node in self.graph.nodes)
        return replace(self.graph, nodes=nodes)

    def _operands(self, node: Node) -> list[Affine]:
        return [
            Affine(
                {source: matrix.detach().double().numpy().T for source, matrix in terms.items()},
                bias.detach().double().numpy(),
            )
            if any(tensor.requires_grad for tensor in (bias, *terms.values()))
            else operand
            for operand, (terms, bias) in zip(node.operands, self.operands[node.name], strict=True)
        ]


class _Gate(torch.autograd.Function):
    """From values, what was sent and logarithms of thresholds: what has been sent now, and 1 where a neuron sends."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, sent: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        change = value - sent
        sends = change.abs() >= threshold.exp()
        ctx.save_for_backward(change, sends, threshold)
        return torch.where(sends, value, sent), sends.to(value.dtype)

    @staticmethod
    def backward(ctx: Any, to_value: Tensor, to_sends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        change, sends, threshold = ctx.saved_tensors
        size = change.abs().clamp(min=1e-9)
        logistic = torch.sigmoid((size.log() - threshold) / WIDTH)
        slope = to_sends * logistic * (1 - logistic) / WIDTH
        moved = slope * change.sign() / size
        # What is left unsent grows in proportion to the threshold.
        unsent = torch.where(sends, torch.zeros_like(change), -change)
        return to_value + moved, -moved, (to_value * unsent - slope).sum(0)


def _rate(done: float) -> float:
    """Return the share of the rates after a share of the updates: up in the first tenth, down in the last half."""
    return min(1.0, 0.1 + 9 * done, 2 * (1 - done))


def _exact(matrix: Tensor) -> bool:
    return bool(((matrix == 0) | (matrix.abs() == 1)).all())


def _keep_zeros(present: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * present
