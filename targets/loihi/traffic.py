"""Where on the chip the work of a function falls: operations of each core in each step, and what crosses the mesh."""

from dataclasses import dataclass

import numpy as np

from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.chips import find_chip
from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.placement import Placement

Counts = np.ndarray


@dataclass(frozen=True)
class Traffic:
    """What one call of a function does, in each step on each core (steps, cores), float64.

    A message is worked off in the step in which it is sent; a synapse's delay is spent behind it.

    Attributes:
        messages: sent by neurons of the core.
        synaptic_operations: done by the core.
        neuron_updates: done by the core.
        packets_out: messages times the axons that they leave through.
        packets_in: the same, where they arrive.
        flows: packets from core to core (steps, cores, cores).
        cores: numbers on the chip of the cores; the function has no others.
    """

    messages: Counts
    synaptic_operations: Counts
    neuron_updates: Counts
    packets_out: Counts
    packets_in: Counts
    flows: Counts
    cores: np.ndarray


class Routes:
    """Which cores each neuron of a placed network reaches, through how many axons and synapses.

    Args:
        function: name of the network in the placement.
        network: the network.
        placement: where it lies.

    Attributes:
        packets: packets that a message of each neuron becomes (neurons,).
        hops_east_west: tiles that they cross along the mesh's longer side, all packets of a message together.
        hops_north_south: the same, along the other side; packets go east or west first.
    """

    def __init__(self, function: str, network: Network, placement: Placement) -> None:
        self.network = network
        cores = placement.cores_of(function)
        self.activity = Activity(network)
        self.cores = np.unique(np.concatenate(list(cores.values())))
        located = np.concatenate([cores[population.name] for population in network.populations])
        # Numbers of the neurons' cores among those of the function.
        self.home = np.searchsorted(self.cores, located)
        shape = (len(self.home), len(self.cores))
        self.axons, self.synapses = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for part in network.synapses:
            sources, home = self.activity.neurons[part.source], self.home[self.activity.neurons[part.target]]
            for core in np.unique(home):
                fan = np.count_nonzero(part.weights[home == core], axis=0)
                self.synapses[sources, core] += fan
                self.axons[sources, core] += fan > 0
        x, y = np.array([find_chip(placement.chip).position(int(core)) for core in self.cores]).T
        self.distance = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
        self.packets = self.axons.sum(axis=1)
        self.hops_east_west, self.hops_north_south = (
            (self.axons * distance[self.home]).sum(axis=1) for distance in self.distance
        )
        self.tiles = len(set(zip(x, y, strict=True)))

    def trace(self, messages: np.ndarray) -> Traffic:
        """Return the traffic of one call.

        Args:
            messages: mean of `Activity.messages` over calls.
        """
        homes = np.eye(len(self.cores))[self.home]
        flows = np.stack([homes.T @ (step[:, None] * self.axons) for step in messages])
        return Traffic(
            messages=messages @ homes,
            synaptic_operations=messages @ self.synapses,
            neuron_updates=np.tile(homes.sum(axis=0), (len(messages), 1)),
            packets_out=flows.sum(axis=2),
            packets_in=flows.sum(axis=1),
            flows=flows,
            cores=self.cores,
        )
