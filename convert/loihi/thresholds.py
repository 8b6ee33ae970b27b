"""Which changes are too small to send: thresholds that save the most messages for an error that is allowed.

A neuron with the threshold T adds an error of up to T, which lasts; with its sensitivity S (`sensitivity`) it adds
(S T)^2 to the square of a run's error. Where thresholds are large against the changes of a decision, messages fall as
1/T. The least messages at a given error then have ``T = scale * share * S^(-2/3)`` (Lagrange), with shares of 1; how
populations' messages set off each other's is not in that, so shares are then searched population by population.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from nmbrl.convert.loihi.rehearsal import Rehearsal
from nmbrl.convert.loihi.scales import NodeKey, Ranges, Scales
from nmbrl.targets.bundle import Function
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.graded import Graded
from nmbrl.targets.loihi.network import Network

# Scales that are tried, finest first, and by what factor a share changes in a sweep over the populations.
SCALES = tuple(5e-4 * 1.1**k for k in range(80))
FACTORS = (1.8, 1.4)
# Errors that are allowed one after the other until enough is not sent.
BUDGETS = tuple(0.02 * 1.2**k for k in range(20))
SMALLEST_SENSITIVITY = 1e-5


@dataclass(frozen=True)
class Choice:
    """Thresholds and what they come to on the calibration data.

    Attributes:
        functions: inputs and outputs of each network.
        networks: with thresholds.
        sent: share of possible messages that are sent in the closed loop with the float model as its plant.
        errors: root mean square error of each group of `Rehearsal`.
    """

    functions: dict[str, Function]
    networks: dict[str, Network]
    sent: float
    errors: dict[str, float]


class Allocation:
    """Finds thresholds.

    Args:
        rehearsal: runs the calibration data.
        sensitivities: of every neuron.
        scales: of the networks.
        ranges: of their nodes.
        networks: without thresholds.
        open_executor: makes an executor of networks.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        sensitivities: dict[NodeKey, np.ndarray],
        scales: Scales,
        ranges: Ranges,
        networks: dict[str, Network],
        open_executor: Callable[[dict[str, Network]], LoihiExecutor],
    ) -> None:
        self.rehearsal, self.scales, self.ranges = rehearsal, scales, ranges
        self.networks, self.open_executor = networks, open_executor
        self.weights = {
            node: np.maximum(values, SMALLEST_SENSITIVITY) ** (-2 / 3) for node, values in sensitivities.items()
        }
        self.shares = dict.fromkeys(sensitivities, 1.0)
        self.scale = dict.fromkeys(rehearsal.GROUPS, 0.0)

    def within(self, budget: float) -> Choice:
        """Choose thresholds whose error is at most `budget` in every group, in the units of `Rehearsal.run`.

        An error that rounding alone makes larger leaves that group without thresholds.
        """
        self._fit("control", budget)
        self._share(self._error("control"))
        for group in self.rehearsal.GROUPS:
            self._fit(group, budget)
        return self._choice()

    def thresholds(self) -> dict[NodeKey, np.ndarray]:
        """Return the thresholds (size,) of each node, in real numbers."""
        groups = {function: group for group, functions in self.rehearsal.GROUPS.items() for function in functions}
        return {
            node: np.minimum(self.scale[groups[node[0]]] * self.shares[node] * weights, self.ranges.values[node])
            for node, weights in self.weights.items()
        }

    def silent(self, share: float) -> Choice:
        """Choose thresholds at which at least `share` of possible messages are not sent.

        Raises:
            NmbrlError: if that many cannot be left unsent: with larger errors, policies send more again.
        """
        best = 0.0
        for budget in BUDGETS:
            choice = self.within(budget)
            if 1 - choice.sent >= share:
                return choice
            best = max(best, 1 - choice.sent)
        raise NmbrlError(f"a sparsity of {share} is out of reach; on calibration data {best:.3f} was the most")

    def _fit(self, group: str, budget: float) -> None:
        """Take the largest scale within a budget, by bisection."""
        low, high = -1, len(SCALES)
        while high - low > 1:
            middle = (low + high) // 2
            self.scale[group] = SCALES[middle]
            low, high = (middle, high) if self._error(group) <= budget else (low, middle)
        self.scale[group] = SCALES[low] if low >= 0 else 0.0

    def _share(self, budget: float) -> None:
        """Move thresholds between the populations of the closed loop where that saves messages for the error."""
        price = self._price()
        best = self._sent() + price * budget**2
        nodes = [node for node in self.shares if node[0] in self.rehearsal.GROUPS["control"]]
        for factor in FACTORS:
            for node in nodes:
                kept = self.shares[node]
                for share in (kept * factor, kept / factor):
                    self.shares[node] = share
                    cost = self._sent() + price * self._error("control") ** 2
                    if cost < best:
                        best = cost
                        break
                    self.shares[node] = kept

    def _price(self) -> float:
        """Return how many messages a unit of squared error saves, when all thresholds grow."""
        before, ends = self.scale["control"], []
        for factor in (1 / sqrt(2), sqrt(2)):
            self.scale["control"] = before * factor
            ends.append((self._sent(), self._error("control") ** 2))
        self.scale["control"] = before
        (sent, error), (fewer, larger) = ends
        return max(sent - fewer, 0.0) / max(larger - error, 1e-6)

    def _choice(self) -> Choice:
        return judge(self.rehearsal, self._made(), self.open_executor)

    def _sent(self) -> float:
        return self.rehearsal.sent(self.open_executor(self._made()))

    def _error(self, group: str) -> float:
        return self.rehearsal.error(group, self.open_executor(self._made()))

    def _made(self) -> dict[str, Network]:
        return with_thresholds(self.networks, self.scales, self.thresholds())


def judge(
    rehearsal: Rehearsal, networks: dict[str, Network], open_executor: Callable[[dict[str, Network]], LoihiExecutor]
) -> Choice:
    """Measure what networks come to on the calibration data; see `Allocation`."""
    errors = {group: rehearsal.error(group, open_executor(networks)) for group in rehearsal.GROUPS}
    executor = open_executor(networks)
    return Choice(executor.functions, networks, rehearsal.sent(executor), errors)


def with_thresholds(
    networks: dict[str, Network], scales: Scales, thresholds: dict[NodeKey, np.ndarray]
) -> dict[str, Network]:
    """Return networks whose neurons do not send changes that are smaller than their thresholds.

    Args:
        networks: of graded neurons.
        scales: of their nodes.
        thresholds: (size,) of each node, in real numbers.
    """
    made = {}
    for function, network in networks.items():
        populations = []
        for population in network.populations:
            assert isinstance(population, Graded)
            node = function, population.name
            steps = 2.0 ** (scales.messages[node] + population.shift)
            populations.append(replace(population, threshold=np.rint(thresholds[node] * steps).astype(np.int32)))
        made[function] = replace(network, populations=tuple(populations))
    return made
