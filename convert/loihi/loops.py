"""Closed loops that sigma-delta students learn in: their actions decide where they and the float model, the plant, go.

Loops go on from update to update (truncated backpropagation through time, Williams and Peng 1990), so that what a
student does in the end, as a swing that is lost, is learnt from as well.
"""

import numpy as np
import torch
from torch import Tensor

from nmbrl.convert.loihi.rehearsal import Rehearsal
from nmbrl.convert.loihi.sigma_delta import SigmaDelta

# Decisions that a loop lasts, on average; imagination has left what a plant can do after about so many.
LIFE = 100


class Loops:
    """Closed loops side by side, from starts of `Rehearsal.draw`; one that ends makes room for a new one.

    Args:
        rehearsal: of the float model.
        students: the graphs of `observe` and `act`, by function.
        lanes: loops side by side.
        random: draws starts and ends.
    """

    def __init__(
        self, rehearsal: Rehearsal, students: dict[str, SigmaDelta], lanes: int, random: np.random.Generator
    ) -> None:
        self.rehearsal, self.students, self.random = rehearsal, students, random
        self._neurons = sum(node.size for student in students.values() for node in student.graph.nodes)
        self._known, self._plant, self._action = rehearsal.draw(random, lanes)
        self._belief = self._known.copy()
        self._sent = {function: student.rest(lanes) for function, student in students.items()}
        self._fresh = np.ones(lanes, bool)

    def advance(self, decisions: int) -> tuple[Tensor, Tensor, Tensor]:
        """Go on for so many decisions; then some loops end.

        Returns:
            The share of messages sent, and both errors of `Rehearsal.departure`. Of a loop's first decision no
            message counts: the jump from nothing to the first belief is no part of a closed loop.
        """
        teacher = self.rehearsal.teacher
        interface = teacher.interface
        belief = {name: torch.from_numpy(part.copy()) for name, part in interface.split(self._belief).items()}
        messages: list[Tensor] = []
        errors = []

        def call(function: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            student = self.students[function]
            self._sent[function], count = student.advance(self._sent[function], inputs)
            messages.append(count)
            return {name: self._sent[function][node] for name, node in student.graph.outputs.items()}

        for decision in range(decisions):
            observation = teacher.decode(self._plant)
            self._known = teacher.observe(self._known, self._action, observation)
            given = {
                "a": torch.from_numpy(self._action),
                "o": torch.from_numpy(interface.normalisation.normalise(observation)),
            }
            belief = self.rehearsal.observe(call, {**belief, **given})
            chosen = self.rehearsal.evaluate(call, "act", belief)["a"]
            errors.append(torch.stack(self.rehearsal.departure(belief, chosen, self._known, teacher.act(self._known))))
            if decision == 0:
                messages = [count[~self._fresh] for count in messages]
            self._action = teacher.project_action(chosen.detach().numpy())
            self._plant, _, _ = teacher.imagine(self._plant, self._action)
        possible = self._neurons * (decisions * len(self._fresh) - self._fresh.sum())
        action_error, belief_error = torch.stack(errors).mean(0)
        self._belief = interface.join({name: part.detach().numpy() for name, part in belief.items()})
        self._end(self.random.random(len(self._fresh)) < decisions / LIFE)
        return torch.cat(messages).sum() / max(possible, 1), action_error, belief_error

    def _end(self, ends: np.ndarray) -> None:
        """Let loops (lanes,) begin anew, and all others go on without the gradients of what was."""
        self._fresh = ends
        known, plant, action = self.rehearsal.draw(self.random, int(ends.sum()))
        self._known[ends] = self._belief[ends] = known
        self._plant[ends], self._action[ends] = plant, action
        for function, student in self.students.items():
            rest = student.rest(len(ends))
            self._sent[function] = {
                node: torch.where(torch.from_numpy(ends)[:, None], rest[node], sent).detach()
                for node, sent in self._sent[function].items()
            }
