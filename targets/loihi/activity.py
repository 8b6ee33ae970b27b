"""What a network did: messages counted by neuron and step, and the operations that follow from them."""

import numpy as np

from nmbrl.targets.loihi.network import Network


class Activity:
    """Counts of one network since the last `clear`, summed over lanes.

    Args:
        network: what is counted.

    Attributes:
        messages: graded messages (payloads that are not 0) of each neuron, in the order of the populations, in each
            step of a call (`Network.steps`, neurons), int64.
        lane_steps: steps times lanes.
        neurons: of each population, as a slice of the neurons.
    """

    def __init__(self, network: Network) -> None:
        bounds = np.cumsum([0, *(population.size for population in network.populations)])
        names = [population.name for population in network.populations]
        self.neurons = {name: slice(*bounds[i : i + 2]) for i, name in enumerate(names)}
        self.messages = np.zeros((network.steps, bounds[-1]), np.int64)
        self.lane_steps = 0
        self._starts = bounds[:-1]
        self._sizes = np.diff(bounds)
        self.fan_out = np.zeros(bounds[-1], np.int64)
        for part in network.synapses:
            # A weight of 0 is no synapse.
            self.fan_out[self.neurons[part.source]] += np.count_nonzero(part.weights, axis=0)

    def clear(self) -> None:
        """Start counting anew."""
        self.messages[:] = 0
        self.lane_steps = 0

    def by_neuron(self) -> np.ndarray:
        """Return the messages (neurons,) of each neuron."""
        return self.messages.sum(axis=0)

    def by_population(self, messages: np.ndarray) -> dict[str, np.ndarray]:
        """Return counts (populations,) of each population, given those of `by_neuron`.

        ``messages``; ``synaptic_operations``, the synapses that those passed; ``neuron_updates``, neurons times steps,
        as the chip visits every neuron in every step.
        """
        return {
            "messages": np.add.reduceat(messages, self._starts),
            "synaptic_operations": np.add.reduceat(messages * self.fan_out, self._starts),
            "neuron_updates": self._sizes * self.lane_steps,
        }

    def of(self, population: str) -> dict[str, int]:
        """Return the counts of one population, by name; see `by_population`."""
        index = list(self.neurons).index(population)
        return {quantity: int(counts[index]) for quantity, counts in self.by_population(self.by_neuron()).items()}
