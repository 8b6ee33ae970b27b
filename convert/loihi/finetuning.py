"""Fine-tuning weights and thresholds of the policy's networks, so that they send less for the error that is allowed.

The student is the graphs of `observe` and `act` as sigma-delta neurons, the float model its teacher and its plant.
Training delta networks (Neil et al. 2017, "Delta Networks for Optimized Recurrent Network Computation") is what this
comes from.
"""

from collections.abc import Callable

import numpy as np
import torch

from nmbrl.convert.loihi.loops import Loops
from nmbrl.convert.loihi.lowering import Graph
from nmbrl.convert.loihi.rehearsal import Rehearsal
from nmbrl.convert.loihi.scales import NodeKey
from nmbrl.convert.loihi.sigma_delta import SigmaDelta
from nmbrl.convert.threads import one_thread
from nmbrl.targets.errors import NmbrlError

# Closed loops side by side, and decisions of theirs in an update.
BATCH, DECISIONS = 96, 12
# Steps of Adam for weights and for logarithms of thresholds.
WEIGHT_RATE, THRESHOLD_RATE = 2e-3, 0.05
LARGEST_GRADIENT = 1.0
# Price of a squared standard deviation of the belief, in shares of possible messages: planners go on from it.
BELIEF_PRICE = 0.1
# Price of the squared error of actions that is allowed, likewise: messages fall with thresholds until about there.
ACTION_PRICE = 0.06


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
        self.students = {
            function: SigmaDelta(graphs[function], {n: t for (f, n), t in thresholds.items() if f == function})
            for function in rehearsal.GROUPS["control"]
            if function in graphs
        }
        self.loops = Loops(rehearsal, self.students, BATCH, np.random.default_rng(seed))

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
            sent, action, belief = self.loops.advance(DECISIONS)
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


def _rate(done: float) -> float:
    """Return the share of the rates after a share of the updates: up in the first tenth, then down to nothing."""
    return min(0.1 + 9 * done, (1 - done) / 0.9)
