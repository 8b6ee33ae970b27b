import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.chips import LOIHI_1, LOIHI_2, find_chip
from nmbrl.targets.loihi.network import LIF, Input, Network, Product, SigmaDelta, Synapses, Table
from nmbrl.targets.loihi.packing import PlacementError
from nmbrl.targets.loihi.placement import Placement, place, read_placement

from .networks import random_network

# Loihi 1 as if its neurons could be of our kinds, so that its other limits can be reached.
GRADED_LOIHI_1 = dataclasses.replace(LOIHI_1, kinds=LOIHI_2.kinds, message_bits=32)


def zeros(size):
    return np.zeros(size, np.int32)


def dense(inputs, outputs, weights=None, name="y", **options):
    """Inputs all connected to outputs."""
    weights = np.full((outputs, inputs), 2, np.int32) if weights is None else weights
    target = SigmaDelta(name, outputs, bias=zeros(outputs), state_exp=0)
    return Network(
        (Input("in", inputs), target), (Synapses("in", name, weights, **options),), {"u": "in"}, {"y": name}, 2
    )


def axons_in(network, core):
    """Pairs of a connection and a source neuron that has a weight to a neuron of this core, counted plainly."""
    return sum(
        bool(part.weights[piece.start : piece.stop, source].any())
        for piece in core.parts
        for part in network.synapses
        if part.target == piece.population
        for source in range(part.weights.shape[1])
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), neurons=st.integers(2, 9))
def test_every_neuron_has_one_core_within_the_limits(seed, neurons):
    network = random_network(seed)
    placement = place({"f": network}, LOIHI_2, neurons)
    cores = placement.cores_of("f")
    assert {name: len(numbers) for name, numbers in cores.items()} == {p.name: p.size for p in network.populations}
    used = Counter()
    for population in network.populations:
        assert list(cores[population.name]) == sorted(cores[population.name])
        for core in cores[population.name]:
            used[core] += max(1, population.ports)
    assert [used[number] for number in range(len(placement.cores))] == [c.compartments for c in placement.cores]
    assert max(used.values()) <= neurons
    assert [axons_in(network, core) for core in placement.cores] == [core.axons_in for core in placement.cores]
    assert sum(core.synapses for core in placement.cores) == sum(np.count_nonzero(s.weights) for s in network.synapses)
    leaving = {
        (index, source, core)
        for index, part in enumerate(network.synapses)
        for target, source in np.argwhere(part.weights)
        for core in [cores[part.target][target]]
    }
    assert sum(core.axons_out for core in placement.cores) == len(leaving)
    assert Placement.model_validate(placement.model_dump(mode="json")) == placement


def test_synaptic_memory_by_hand():
    # Each of 3 axons stores 100 synapses of 8 + 2 bits densely: 64 and 36 of them, each behind 10 bits.
    (core,) = place({"f": dense(3, 100, delay=2)}, LOIHI_2).cores
    assert core.synaptic_bits == 3 * (11 * 64 + 6 * 64)
    # One synapse an axon is listed: 8 bits, 13 of its target's index and 10 of the header are one word.
    (core,) = place({"f": dense(100, 100, weights=2 * np.eye(100, dtype=np.int32))}, LOIHI_2).cores
    assert core.synaptic_bits == 100 * 64
    table = Table("t", 4, message_bits=16, bias=zeros(4), values=np.arange(9, dtype=np.int32), exponent=3)
    alone = Network((Input("in", 1), table), (), {"u": "in"}, {"y": "t"}, 1)
    assert place({"f": alone}, LOIHI_2).cores[0].synaptic_bits == 9 * 16


def test_a_population_too_large_for_a_core_is_split():
    placement = place({"f": dense(16, 3000)}, GRADED_LOIHI_1)
    assert [core.compartments for core in placement.cores] == [1024, 1024, 968]
    # 2,000 x 2,000 weights of 8 bits need four times a core's memory.
    placement = place({"f": dense(2000, 2000)}, LOIHI_2)
    assert len(placement.cores) >= 32 and all(c.synaptic_bits <= LOIHI_2.synaptic_bits for c in placement.cores)
    assert min(c.synaptic_bits for c in placement.cores[:-1]) > 0.9 * LOIHI_2.synaptic_bits


def leaky(size, du, vth):
    fields = {"du": du, "vth": vth, "dv": 0, "bias_mant": 0, "bias_exp": 0}
    neurons = LIF("y", size, **{name: np.full(size, value, np.int32) for name, value in fields.items()})
    synapses = Synapses("y", "y", np.full((size, size), 3, np.int32), weight_bits=9)
    return Network((neurons,), (synapses,), {"b": "y"}, {"v": "y", "u": "y/u"}, 4)


def test_leaky_neurons_lie_on_both_chips():
    assert len(place({"f": leaky(100, 9, 5)}, LOIHI_1).cores) == 1
    with pytest.raises(PlacementError, match="Loihi 2: population y of f: bits of a weight from y: 9, at most 8"):
        place({"f": leaky(100, 9, 5)}, LOIHI_2)
    # A core of Loihi 1 has 32 pairs of decays and 8 thresholds.
    assert [core.parts[0].stop for core in place({"f": leaky(100, np.arange(100), 5)}, LOIHI_1).cores] == [
        32,
        64,
        96,
        100,
    ]
    assert len(place({"f": leaky(100, 9, np.arange(100))}, LOIHI_1).cores) == 13


def test_a_product_takes_the_place_of_two():
    product = Product("p", 600, bias_0=zeros(600), bias_1=zeros(600), exponent=4)
    network = Network((Input("in", 1), product), (), {"u": "in"}, {"y": "p"}, 1)
    assert [core.compartments for core in place({"f": network}, GRADED_LOIHI_1).cores] == [1023, 178]


def test_axons_out_split_the_population_that_they_leave():
    # Each of 512 neurons reaches 16 cores: 8,192 axons, twice what may leave one core.
    weights = np.zeros((16 * 1024, 512), np.int32)
    weights[::1024] = 2
    placement = place({"f": dense(512, 16 * 1024, weights)}, dataclasses.replace(GRADED_LOIHI_1, compartments=1024))
    assert all(core.axons_out <= 4096 for core in placement.cores)
    assert max(core.axons_out for core in placement.cores) > 3000


@pytest.mark.parametrize(
    ("network", "chip", "population", "limit", "actual", "maximum"),
    [
        (dense(4, 4), LOIHI_1, "in of f", "bits of a message", 16, 1),
        (dense(5000, 1), GRADED_LOIHI_1, "y of f", "axons into the core (fan-in) for a single neuron", 5000, 4096),
        (dense(200_000, 1), LOIHI_2, "y of f", "bits of synaptic memory for a single neuron", None, 1 << 20),
        (dense(1, 140_000), GRADED_LOIHI_1, "y of f (the largest)", "cores of all populations", 137, 128),
        (dense(2, 2, weight_bits=8), dataclasses.replace(LOIHI_2, weight_bits=4), "y of f", "from in", 8, 4),
        (dense(2, 2, delay=62), dataclasses.replace(LOIHI_2, delay=7), "y of f", "delay from in", 62, 7),
        (
            dense(200, 300),
            dataclasses.replace(LOIHI_2, synapses=50_000),
            "y of f (the largest)",
            "synapses on",
            60_000,
            50_000,
        ),
        (dense(2, 2), dataclasses.replace(GRADED_LOIHI_1, axons_out=1, compartments=1), "in of f", "leave", 2, 1),
    ],
)
def test_a_violated_limit_names_population_actual_and_maximum(network, chip, population, limit, actual, maximum):
    with pytest.raises(PlacementError) as caught:
        place({"f": network}, chip)
    error = caught.value
    assert error.population == population and limit in error.limit and error.maximum == maximum
    assert error.actual > maximum if actual is None else error.actual == actual
    assert f"population {population}" in str(error) and f"{error.actual:,}, at most {maximum:,}" in str(error)


def test_a_kind_that_the_chip_lacks_is_named():
    with pytest.raises(NmbrlError, match="Loihi 1: population in of f: it has no input neurons"):
        place({"f": dense(2, 2)}, dataclasses.replace(LOIHI_1, message_bits=16))


def test_functions_share_no_core():
    placement = place({"f": dense(2, 2), "g": dense(3, 1)}, LOIHI_2)
    assert placement.count() == {"f": 1, "g": 1}


def test_neighbouring_tiles_are_one_hop_apart():
    for chip in (LOIHI_1, LOIHI_2):
        positions = [chip.position(core) for core in range(chip.cores)]
        assert len(set(positions)) == chip.tiles[0] * chip.tiles[1]
        assert max(Counter(positions).values()) == chip.cores_a_tile
        steps = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in itertools.pairwise(positions)]
        assert max(steps) == 1


def test_a_placement_that_is_damaged_or_of_another_network_is_one_line():
    networks = {"f": dense(2, 2)}
    content = place(networks, LOIHI_2).model_dump(mode="json")
    assert read_placement(content, networks) == place(networks, LOIHI_2)
    with pytest.raises(NmbrlError, match="does not fit f"):
        read_placement(content, {"f": dense(2, 3)})
    with pytest.raises(NmbrlError, match="placement is damaged"):
        read_placement(None, networks)
    with pytest.raises(NmbrlError, match="unknown chip 'loihi3'"):
        find_chip("loihi3")
