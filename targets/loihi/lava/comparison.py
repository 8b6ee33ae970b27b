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

    Attributes:
        last: messages (lanes, size) of the simulator's last step, by population.

    Raises:
        NmbrlError: if Lava is missing, fails, takes too long, or settles on other values.
    """

    def __init__(self, network: Network, simulator: CompiledSimulator | Simulator) -> None:
        self.network = network
        self.time = 0
        self.last: dict[str, Integers] = {}
        self._oracle = LavaOracle(network, network.steps)
        self._simulator = simulator
        if not network.rests:
            return
        settled = self._oracle.run({}, network.steps)
        for population in network.populations:
            ours, theirs = simulator.read(population.name)[0], settled[population.name].sum(axis=0, dtype=np.int32)
            self._require_equal(f"{population.name} sends", ours, theirs, network.steps - 1)
        self.time += network.steps

    def run(self, values: dict[str, Integers], steps: int | None = None) -> int:
        """Run steps of both and compare every message, and u and v of leaky neurons, in every step.

        Args:
            values: what the host gives (lanes, size), by place; see `Network`.
            steps: how many, at most `Network.steps`, which None stands for.

        Returns:
            How many numbers were equal.

        Raises:
            NmbrlError: naming the first difference; or if Lava fails.
        """
        steps = self.network.steps if steps is None else steps
        theirs = self._oracle.run({place: value[0] for place, value in values.items()}, steps)
        for step in range(steps):
            sent = self._simulator.step(values if step == 0 else None)
            for name, expected in theirs.items():
                if "/" in name:
                    self._require_equal(f"{name} is", self._simulator.read(name)[0], expected[step], step)
                else:
                    ours = sent[name][0] if name in sent else np.zeros_like(expected[step])
                    self._require_equal(f"{name} sends", ours, expected[step], step)
            self.last = sent
        self.time += steps
        return sum(expected.size for expected in theirs.values())

    def close(self) -> None:
        """End Lava."""
        self._oracle.close()

    def _require_equal(self, name: str, ours: Integers, theirs: Integers, step: int) -> None:
        different = np.flatnonzero(ours != theirs)
        if different.size:
            neuron = int(different[0])
            self.close()
            raise NmbrlError(
                f"Lava differs: neuron {neuron} of {name} {theirs[neuron]} in step {self.time + step}, in the "
                f"simulator {ours[neuron]} ({different.size} neurons of this population differ)"
            )
