"""Holds every message of a simulation against Lava's."""

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.compiled import CompiledSimulator
from nmbrl.targets.loihi.lava.oracle import LavaOracle
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.simulator import Simulator


class LavaComparison:
    """Lava beside the first lane of a simulator that was just made, step for step.

    Args:
        network: what both run.
        simulator: compiled or not, settled on inputs of 0.

    Raises:
        NmbrlError: if Lava is missing, fails, takes too long, or settles on other values.
    """

    def __init__(self, network: Network, simulator: CompiledSimulator | Simulator) -> None:
        self.network = network
        self.time = 0
        self._oracle = LavaOracle(network, network.steps)
        settled = self._oracle.run({}, network.steps)
        for population in network.populations:
            ours, theirs = simulator.read(population.name)[0], settled[population.name].sum(axis=0, dtype=np.int32)
            self._require_equal(population.name, ours, theirs, network.steps - 1)
        self.time += network.steps

    def check(self, values: dict[str, Integers], sent: list[dict[str, Integers]]) -> None:
        """Give Lava the first lane's values and compare.

        Args:
            values: what the inputs (lanes, size) got in the first of the steps.
            sent: what `Simulator.step` returned in each of `Network.steps` steps.

        Raises:
            NmbrlError: naming the first difference; or if Lava fails.
        """
        theirs = self._oracle.run({name: value[0] for name, value in values.items()}, self.network.steps)
        for step, ours in enumerate(sent):
            for population in self.network.populations:
                silent = np.zeros((1, population.size), np.int32)
                self._require_equal(
                    population.name, ours.get(population.name, silent)[0], theirs[population.name][step], step
                )
        self.time += self.network.steps

    def close(self) -> None:
        """End Lava."""
        self._oracle.close()

    def _require_equal(self, name: str, ours: Integers, theirs: Integers, step: int) -> None:
        different = np.flatnonzero(ours != theirs)
        if different.size:
            neuron = int(different[0])
            self.close()
            raise NmbrlError(
                f"Lava differs: neuron {neuron} of {name} sends {theirs[neuron]} in step {self.time + step}, the "
                f"simulator {ours[neuron]} ({different.size} neurons of this population differ)"
            )
