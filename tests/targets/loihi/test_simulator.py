import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.targets.loihi.compiled import CompiledSimulator
from nmbrl.targets.loihi.network import LIF, Input, Network, Product, SigmaDelta, Synapses, Table, fit_weights
from nmbrl.targets.loihi.simulator import Simulator, WidthError

from .networks import random_network, random_values


class Reference:
    """The rules of the specification, neuron by neuron in Python's integers: every population in every step."""

    def __init__(self, network):
        self.network = network
        self.sigma = {p.name: [[0] * p.size for _ in range(p.ports)] for p in network.populations}
        self.sent = {p.name: [0] * p.size for p in network.populations}
        self.held = {p.name: [0] * p.size for p in network.populations}
        # What each connection delivers 1 + delay steps from now, the next first.
        self.buffers = [[np.zeros(len(s.weights), int)] * (s.delay + 1) for s in network.synapses]

    def step(self, values):
        self.held |= {name: [int(x) for x in value] for name, value in values.items()}
        for synapses, buffer in zip(self.network.synapses, self.buffers, strict=True):
            target = self.sigma[synapses.target][synapses.port]
            for neuron, current in enumerate(buffer.pop(0)):
                target[neuron] += int(current)
        messages = {p.name: [self.fire(p, neuron) for neuron in range(p.size)] for p in self.network.populations}
        for synapses, buffer in zip(self.network.synapses, self.buffers, strict=True):
            sums = synapses.weights.astype(int) @ np.array(messages[synapses.source], int)
            exponent = synapses.weight_exp
            buffer.append(sums << exponent if exponent > 0 else sums >> -exponent)
        return messages

    def fire(self, population, neuron):
        shift = getattr(population, "state_exp", 0)
        change = self.activation(population, neuron) - (self.sent[population.name][neuron] << shift)
        message = change >> shift if abs(change) >= int(population.thresholds[neuron]) else 0
        self.sent[population.name][neuron] += message
        return message

    def activation(self, population, neuron):
        sums = [port[neuron] for port in self.sigma[population.name]]
        if isinstance(population, Input):
            return self.held[population.name][neuron]
        if isinstance(population, Product):
            a, b = sums[0] + int(population.bias_0[neuron]), sums[1] + int(population.bias_1[neuron])
            product = (a >> population.shift_0) * (b >> population.shift_1)
            # Values that change while others are under way can overflow: the product is an int32, as Lava's is.
            return ((product + 2**31) % 2**32 - 2**31) >> population.exponent
        potential = sums[0] + int(population.bias[neuron])
        if isinstance(population, SigmaDelta):
            return max(potential, 0) if population.relu else potential
        segment, segments = 2**population.exponent, len(population.values) - 1
        place = min(max(potential + segments * segment // 2, 0), segments * segment - 1)
        left, right = (int(population.values[place // segment + i]) for i in range(2))
        return left + ((right - left) * (place % segment) * 2 + segment) // (2 * segment)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), thresholds=st.booleans())
def test_every_message_of_random_networks_follows_the_rules(seed, thresholds):
    network = random_network(seed, thresholds)
    simulator, reference = Simulator(network, batch=3), [Reference(network) for _ in range(3)]
    for _ in range(network.steps):
        for lane in reference:
            lane.step({})
    random = np.random.default_rng(seed)
    for time in range(4 * network.steps):
        # Values change while others are under way as well.
        values = random_values(random, network, 3) if time % 3 == 0 else {}
        ours = simulator.step(values)
        for lane, plain in enumerate(reference):
            theirs = plain.step({name: value[lane] for name, value in values.items()})
            for name, messages in theirs.items():
                np.testing.assert_array_equal(ours[name][lane] if name in ours else np.zeros(len(messages)), messages)


def single(population, weight=2, **options):
    """One input neuron, one synapse, one neuron."""
    synapses = Synapses("in.u", population.name, np.full((population.size, 1), weight, np.int32), **options)
    return Network((Input("in.u", 1), population), (synapses,), {"u": "in.u"}, {"y": population.name}, 2)


def bias(*values):
    return np.array(values, np.int32)


def test_nothing_drifts_over_a_long_sine():
    network = single(SigmaDelta("y", 1, 64, 24, bias=bias(0), state_exp=6), weight=2)
    simulator = Simulator(network)
    for time in range(5000):
        value = round(20000 * np.sin(time / 50))
        simulator.step({"in.u": np.array([[value]], np.int32)})
    simulator.step()
    assert abs(int(simulator.read("y")[0, 0]) * 64 - 2 * value) <= 64 + 63


def vector(*values):
    return np.array(values, np.int32)


def test_a_leaky_neuron_by_hand():
    """Two neurons: one with leaks and spikes, one that only adds its bias up, read by the host."""
    fields = {"du": vector(2047, 4095), "dv": vector(1024, 0), "bias_mant": vector(0, -3), "bias_exp": vector(0, 2)}
    neurons = LIF("y", 2, **fields, vth=vector(10, 131071))
    synapses = Synapses("in.u", "y", vector(6, 0)[:, None])
    network = Network((Input("in.u", 1), neurons), (synapses,), {"u": "in.u"}, {"y": "y", "u": "y/u"}, 1)
    simulator, seen = Simulator(network), []
    for time in range(6):
        # Messages are changes: 1 in the first step, 1 in the second, none afterwards.
        messages = simulator.step({"in.u": vector(min(time + 1, 2))[None]})
        seen.append((*simulator.read("y/u")[0], *simulator.read("y")[0], messages["y"][0, 0]))
    # du = 2047 keeps half, dv = 1024 three quarters; 6 << 6 arrives in steps 1 and 2; threshold 10 << 6 = 640.
    # v: 384; 288 + 576 = 864 spikes; 288; 216 + 144 = 360; 270 + 72
    assert seen == [
        (0, 0, 0, -12, 0),
        (384, 0, 384, -24, 0),
        (576, 0, 0, -36, 1),
        (288, 0, 288, -48, 0),
        (144, 0, 360, -60, 0),
        (72, 0, 342, -72, 0),
    ]


def test_the_host_drives_a_bias_and_sets_a_potential():
    fields = {name: vector(0) for name in ("du", "bias_mant", "dv")}
    network = Network(
        (LIF("y", 1, **fields, bias_exp=vector(3), vth=vector(100)),), (), {"b": "y", "v": "y/v"}, {"v": "y"}, 5
    )
    assert (network.limit("y"), network.limit("y/v")) == (4095, 2**23 - 1)
    for kind in (Simulator, CompiledSimulator):
        simulator = kind(network, 2)
        simulator.run({"y": np.array([[10], [-10]], np.int32), "y/v": np.array([[0], [7]], np.int32)})
        np.testing.assert_array_equal(simulator.read("y")[:, 0], [5 * 80, 7 - 5 * 80])
        # The bias stays until another is given.
        simulator.run(steps=1)
        np.testing.assert_array_equal(simulator.read("y")[:, 0], [6 * 80, 7 - 6 * 80])


@pytest.mark.parametrize(
    ("value", "weight", "variable", "amount"),
    [(2**13, 254, "u", 2**13 * 254 * 64 - 2**23 + 1), (2**14, 254, "synaptic input", 2**14 * 254 - 2**21 + 1)],
)
def test_strict_names_what_overflows_in_a_leaky_neuron(value, weight, variable, amount):
    fields = {name: vector(0) for name in ("du", "bias_mant", "bias_exp", "dv", "vth")}
    synapses = Synapses("in.u", "y", vector(weight)[None])
    network = Network((Input("in.u", 1), LIF("y", 1, **fields)), (synapses,), {"u": "in.u"}, {"y": "y"}, 2)
    for kind in (Simulator, CompiledSimulator):
        with pytest.raises(WidthError, match=f"{variable} of population y .* by {amount} in step 1"):
            kind(network, strict=True).run({"in.u": vector(value)[None]})


def test_weights_are_truncated_as_lava_does():
    weights = np.array([-300, -255, -7, -1, 0, 1, 7, 255, 300])
    assert fit_weights(weights, "mixed").tolist() == [-256, -256, -8, -2, 0, 0, 6, 254, 254]
    assert fit_weights(weights, "mixed", 9).tolist() == [-256, -255, -7, -1, 0, 1, 7, 255, 255]
    assert fit_weights(weights, "excitatory", 6).tolist() == [0, 0, 0, 0, 0, 0, 4, 252, 252]
    assert fit_weights(weights, "inhibitory", 6).tolist() == [-252, -252, -4, 0, 0, 0, 0, 0, 0]


def test_a_delayed_message_arrives_that_much_later():
    simulator = Simulator(single(SigmaDelta("y", 1, bias=bias(0), state_exp=0), delay=5))
    simulator.step({"in.u": np.array([[7]], np.int32)})
    arrivals = [int(simulator.read("y")[0, 0]) for _ in range(8) if simulator.step() is not None]
    assert arrivals == [0] * 5 + [14] * 3


def test_activity_counts_messages_and_the_synapses_they_pass():
    weights = np.array([[2, 0, 4], [6, 8, 0]], np.int32)
    target = SigmaDelta("y", 2, bias=bias(0, 0), state_exp=0)
    network = Network((Input("in.u", 3), target), (Synapses("in.u", "y", weights),), {"u": "in.u"}, {"y": "y"}, 2)
    simulator = Simulator(network, batch=2)
    simulator.step({"in.u": np.array([[1, 1, 1], [0, 1, 0]], np.int32)})
    simulator.step()
    # Lane 0 passes 2 + 1 + 1 synapses, lane 1 one; then y changes in 2 and in 1 neurons.
    assert simulator.activity.of("in.u") == {"messages": 4, "synaptic_operations": 5, "neuron_updates": 12}
    assert simulator.activity.of("y") == {"messages": 3, "synaptic_operations": 0, "neuron_updates": 8}
    np.testing.assert_array_equal(simulator.activity.messages, [[1, 2, 1, 0, 0], [0, 0, 0, 1, 2]])


@pytest.mark.parametrize(
    ("population", "options", "value", "variable", "amount"),
    [
        (SigmaDelta("y", 1, bias=bias(0), state_exp=10), {"weight": 128, "weight_exp": 7}, 2**14 - 1, "synaptic", None),
        (SigmaDelta("y", 1, bias=bias(0), state_exp=0), {"weight": 2}, 2**15 - 1, "message", 2**16 - 2 - (2**15 - 1)),
        (
            Product("y", 1, message_bits=24, bias_0=bias(0), bias_1=bias(2**22), exponent=20),
            {"weight": 256 - 2},
            2**13,
            "product",
            254 * 2**13 * 2**22 - (2**31 - 1),
        ),
    ],
)
def test_strict_names_what_overflows(population, options, value, variable, amount):
    weight = options.pop("weight")
    network = single(population, weight, **options)
    simulator = Simulator(network, strict=True)
    settled = simulator.time
    simulator.step({"in.u": np.array([[value]], np.int32)})
    with pytest.raises(WidthError, match=f"{variable}.* of population y .* in step") as caught:
        simulator.step()
    assert caught.value.step == settled + 1
    if amount is not None:
        assert caught.value.amount == amount
    loose = Simulator(network)
    loose.step({"in.u": np.array([[value]], np.int32)})
    loose.step()


def test_a_table_meets_its_entries_and_the_middle_between_them():
    values = np.array([0, 10, 40, 20, 0], np.int32)
    table = Table("y", 5, bias=bias(-16, -8, 0, 4, 100), values=values, exponent=3)
    simulator = Simulator(single(table, weight=2))
    np.testing.assert_array_equal(simulator.read("y")[0], [0, 10, 40, 30, 3])


def test_lanes_that_join_later_start_as_the_first_did():
    network = random_network(7)
    values = random_values(np.random.default_rng(0), network, 4)
    together, grown = Simulator(network, 4), Simulator(network, 1)
    for time in range(network.steps):
        grown.step({name: value[:1] for name, value in values.items()} if time == 0 else None)
    grown.resize(4)
    for simulator in (together, grown):
        for time in range(network.steps):
            simulator.step(values if time == 0 else None)
    for population in network.populations:
        np.testing.assert_array_equal(together.read(population.name), grown.read(population.name))
