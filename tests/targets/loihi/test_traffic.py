import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.targets.loihi.chips import LOIHI_1, LOIHI_2
from nmbrl.targets.loihi.latency import latencies
from nmbrl.targets.loihi.network import Input, Network, SigmaDelta, Synapses
from nmbrl.targets.loihi.placement import place
from nmbrl.targets.loihi.simulator import Simulator
from nmbrl.targets.loihi.traffic import Routes

from .networks import random_network, random_values


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), neurons=st.integers(2, 9))
def test_traffic_is_what_each_message_meets(seed, neurons):
    """Every message is followed to every synapse, one at a time."""
    network = random_network(seed)
    placement = place({"f": network}, LOIHI_2, neurons)
    routes, cores = Routes("f", network, placement), placement.cores_of("f")
    simulator, random = Simulator(network), np.random.default_rng(seed)
    sent = []
    for _ in range(2):
        values = random_values(random, network, 1)
        sent += [simulator.step(values if step == 0 else None) for step in range(network.steps)]
    traffic = routes.trace(simulator.activity.messages)
    operations = np.zeros((network.steps, len(placement.cores)))
    packets, hops = np.zeros(len(placement.cores)), [0, 0]
    for time, messages in enumerate(sent):
        for part in network.synapses:
            for source in np.flatnonzero(messages.get(part.source, np.zeros((1, 1)))[0]):
                reached = cores[part.target][np.flatnonzero(part.weights[:, source])]
                np.add.at(operations[time % network.steps], reached, 1)
                x, y = LOIHI_2.position(cores[part.source][source])
                for core in np.unique(reached):
                    packets[core] += 1
                    hops[0] += abs(LOIHI_2.position(core)[0] - x)
                    hops[1] += abs(LOIHI_2.position(core)[1] - y)
    np.testing.assert_array_equal(traffic.synaptic_operations, operations)
    np.testing.assert_array_equal(traffic.packets_in.sum(axis=0), packets)
    messages = simulator.activity.by_neuron()
    assert [messages @ routes.hops_east_west, messages @ routes.hops_north_south] == hops
    assert messages @ routes.packets == packets.sum() == traffic.packets_out.sum()
    assert traffic.messages.sum() == messages.sum()


def spread():
    """Three inputs that each reach 40 neurons, four neurons a core."""
    target = SigmaDelta("y", 40, bias=np.zeros(40, np.int32), state_exp=0)
    synapses = Synapses("in", "y", np.full((40, 3), 2, np.int32))
    return Network((Input("in", 3), target), (synapses,), {"u": "in"}, {"y": "y"}, 2)


def test_a_modelled_time_by_hand():
    network = spread()
    routes = {"f": Routes("f", network, place({"f": network}, LOIHI_2))}
    messages = np.zeros((2, 43))
    messages[0, :3] = 1
    traffic = {"f": routes["f"].trace(messages)}
    published, fitted, scaled = latencies(routes, traffic, {"f": 2.0})
    # Two calls of two steps on one tile; the first step has all the messages, which stay in the tile.
    assert published.seconds == pytest.approx(2 * (120 * 3.5 + 2 * (43 * 8.4 + 113) + 2.1) * 1e-9)
    assert published.low == pytest.approx(2 * (120 * 3.5 + 2 * (43 * 5.3 + 113) + 2.1) * 1e-9)
    assert fitted.seconds == pytest.approx(2 * (120 * 3.8 + 3 * (30 + 5.1 + 16) + 2 * (43 * 9.7 + 600)) * 1e-9)
    assert scaled.low < scaled.seconds < scaled.high == published.seconds
    assert "Intel" in scaled.source and "Intel's ratios" in scaled.name


def test_spreading_shortens_a_step_and_lengthens_the_ways():
    network = spread()
    messages = np.zeros((2, 43))
    messages[0, :3] = 1
    found = []
    for neurons in (None, 4):
        placement = place({"f": network}, dataclasses.replace(LOIHI_1, kinds=LOIHI_2.kinds, message_bits=16), neurons)
        routes = Routes("f", network, placement)
        found.append((routes, routes.trace(messages)))
    (one, full), (many, thin) = found
    assert full.synaptic_operations.sum() == thin.synaptic_operations.sum() == 120
    assert thin.synaptic_operations.max() == 12 and full.synaptic_operations.max() == 120
    assert one.hops_east_west.sum() == one.hops_north_south.sum() == 0
    assert many.hops_north_south.sum() > 0 and many.tiles == 3
