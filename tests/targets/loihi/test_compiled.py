"""The C core is the NumPy definition, bit for bit: messages, values, counts and overflows."""

import platform
import sys
from pathlib import Path

import loihi_networks
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nmbrl.targets import compiler
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi import compiled
from nmbrl.targets.loihi.compiled import CompiledSimulator, open_library
from nmbrl.targets.loihi.executor import open_simulator
from nmbrl.targets.loihi.network import Input, Network, SigmaDelta, Synapses
from nmbrl.targets.loihi.simulator import Simulator, WidthError

from .networks import draw_network, random_network, random_values


def assert_equal(network, ours, theirs, sent):
    for population in network.populations:
        silent = np.zeros((ours.batch, population.size), np.int32)
        np.testing.assert_array_equal(ours.read(population.name), theirs.read(population.name), population.name)
        for step, (mine, expected) in enumerate(sent):
            name = population.name
            np.testing.assert_array_equal(mine[name], expected.get(name, silent), f"{name} in step {step}")
    np.testing.assert_array_equal(ours.activity.messages, theirs.activity.messages)
    assert ours.activity.lane_steps == theirs.activity.lane_steps and ours.time == theirs.time


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), thresholds=st.booleans(), batch=st.integers(1, 40), scale=st.sampled_from([1, 300]))
def test_random_networks_are_equal_in_every_message(seed, thresholds, batch, scale):
    """Inputs of 300 times the size make messages wider than 16 bits, and products wrap."""
    network = draw_network(seed, thresholds)
    ours, theirs = CompiledSimulator(network, batch), Simulator(network, batch)
    random, sent = np.random.default_rng(seed), []
    for time in range(3 * network.steps):
        # Values change while others are under way as well.
        values = random_values(random, network, batch, scale) if time % 3 == 0 else None
        sent.append((ours.step(values), theirs.step(values)))
    assert_equal(network, ours, theirs, sent)


def variables(network):
    """Every place that a simulator can read."""
    for population in network.populations:
        under_way = [f"arriving {k}" if k else "arriving" for k in range(network.horizon(population.name))]
        for variable in (*population.variables, *(under_way if population.ports else ())):
            yield f"{population.name}/{variable}"


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), batches=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_spiking_networks_are_equal_in_every_message_and_variable(seed, batches):
    """Lanes come and go while spikes are under way; the host sets potentials and biases."""
    network = loihi_networks.draw_network(seed)
    ours, theirs, random = CompiledSimulator(network), Simulator(network), np.random.default_rng(seed)
    for batch in batches:
        ours.resize(batch), theirs.resize(batch)
        values, sent = loihi_networks.draw_values(random, network, batch), []
        for step in range(4):
            given = values if step == 0 else None
            sent.append((ours.step(given), theirs.step(given)))
            for place in variables(network):
                np.testing.assert_array_equal(ours.read(place), theirs.read(place), f"{place} in step {step}")
        ours.run(values, 7), theirs.run(values, 7)
        for mine, expected in sent:
            for population in network.populations:
                np.testing.assert_array_equal(mine[population.name], expected[population.name], population.name)
    np.testing.assert_array_equal(ours.activity.messages, theirs.activity.messages)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 70), threads=st.integers(1, 3), share=st.sampled_from([1, 0.1]))
def test_rows_of_values_in_many_lanes_and_threads_are_equal(seed, batch, threads, share):
    """Enough neurons and lanes for products of matrices where there are, as for events."""
    network = loihi_networks.draw_network(seed, largest=90)
    ours, theirs = CompiledSimulator(network, batch, threads=threads), Simulator(network, batch)
    random = np.random.default_rng(seed)
    given = {
        place: random.integers(-most, most + 1, (6, batch, network.by_name[place].size)).astype(np.int32)
        for place, most in loihi_networks.HOST_LIMITS.items()
        if "/" not in place
    }
    given = {place: values * (random.random(values.shape) < share) for place, values in given.items()}
    ours.play(given), theirs.play(given)
    for place in variables(network):
        np.testing.assert_array_equal(ours.read(place), theirs.read(place), place)
    np.testing.assert_array_equal(ours.activity.messages, theirs.activity.messages)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    batches=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    threads=st.integers(1, 2),
    largest=st.sampled_from([4, 20, 90]),
    graded=st.booleans(),
    written=st.sampled_from([None, "p1/u", "p1/v", "p1/arriving"]),
)
def test_spikes_in_many_lanes_are_equal(seed, batches, threads, largest, graded, written):
    """Inputs that send spikes or numbers; potentials that the host sets, of more bits than a float holds."""
    network = loihi_networks.draw_spiking(seed, largest)
    ours, theirs = CompiledSimulator(network, threads=threads), Simulator(network)
    random = np.random.default_rng(seed)
    sizes = {name: population.size for name, population in network.by_name.items()}
    for batch in batches:
        rows = int(random.integers(1, 22))
        changes = random.integers(-500 if graded else 0, 500 if graded else 2, (rows, batch, sizes["in.u"]))
        given = {"in.u": np.cumsum(changes, axis=0).astype(np.int32)}
        if batch % 2:
            given["p1"] = random.integers(-2000, 2000, (rows, batch, sizes["p1"])).astype(np.int32)
        if batch % 3 == 0:
            given["p1/v"] = random.integers(-9000, 9000, (rows, batch, sizes["p1"])).astype(np.int32)
        far = random.integers(-(1 << 31), 1 << 31, (batch, sizes["p1"])) >> random.integers(0, 20)
        for simulator in (ours, theirs):
            simulator.resize(batch)
            if written:
                simulator.write(written, far.astype(np.int32))
            simulator.play(given)
        for place in variables(network):
            np.testing.assert_array_equal(ours.read(place), theirs.read(place), place)
        np.testing.assert_array_equal(ours.activity.messages, theirs.activity.messages)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    batches=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    threads=st.integers(1, 2),
    largest=st.sampled_from([4, 20, 90, 150]),
    most=st.sampled_from([1, 300, 32_639, 5_000_000, 2**30]),
    share=st.sampled_from([0.05, 0.5, 1]),
)
def test_numbers_in_many_lanes_and_steps_are_equal(seed, batches, threads, largest, most, share):
    """More neurons, lanes and steps than go at a time; messages of any width; what is under way is read and written."""
    network = loihi_networks.draw_graded(seed, largest)
    ours, theirs = CompiledSimulator(network, threads=threads), Simulator(network)
    random, size = np.random.default_rng(seed), network.by_name["in.u"].size
    for batch in batches:
        rows = int(random.integers(1, 45))
        changes = random.integers(-most, most + 1, (rows, batch, size)) * (random.random((rows, batch, size)) < share)
        written = random.integers(-1000, 1000, (batch, network.by_name["p1"].size)).astype(np.int32)
        for simulator in (ours, theirs):
            simulator.resize(batch)
            if network.by_name["p1"].ports == 1 and batch % 2:
                simulator.write("p1/arriving", written)
            simulator.play({"in.u": np.cumsum(changes, axis=0, dtype=np.int32)})
            simulator.step()
        for place in variables(network):
            np.testing.assert_array_equal(ours.read(place), theirs.read(place), place)
        np.testing.assert_array_equal(ours.activity.messages, theirs.activity.messages)


def test_more_lanes_and_steps_than_go_at_once_are_equal():
    for seed in range(4):
        network, random = loihi_networks.draw_spiking(seed, 20), np.random.default_rng(seed)
        ours, theirs = CompiledSimulator(network, 277), Simulator(network, 277)
        changes = random.integers(0, 2, (71, 277, network.by_name["in.u"].size))
        ours.play({"in.u": np.cumsum(changes, axis=0, dtype=np.int32)})
        theirs.play({"in.u": np.cumsum(changes, axis=0, dtype=np.int32)})
        for place in variables(network):
            np.testing.assert_array_equal(ours.read(place), theirs.read(place), place)
        np.testing.assert_array_equal(ours.activity.messages, theirs.activity.messages)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 6))
def test_a_lane_that_is_read_and_written_goes_on_elsewhere(seed, batch):
    """What planners do: the state of one lane, continued in many, in another simulator."""
    network = loihi_networks.draw_network(seed, largest=5)
    # What is under way to a second port is no variable.
    assume(all(part.port == 0 for part in network.synapses))
    first = CompiledSimulator(network)
    first.run(loihi_networks.draw_values(np.random.default_rng(seed), network, 1), 9)
    before = {place: first.read(place) for place in variables(network)}
    first.run(steps=9)
    for kind in (CompiledSimulator, Simulator):
        other = kind(network, batch)
        other.run(steps=9)
        for place, value in before.items():
            other.write(place, np.repeat(value, batch, axis=0))
        other.run(steps=9)
        for place in before:
            np.testing.assert_array_equal(other.read(place), np.repeat(first.read(place), batch, axis=0), place)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 5))
def test_the_first_overflow_of_a_spiking_network_is_the_same(seed, batch):
    network, caught = loihi_networks.draw_network(seed, largest=6), []
    for kind in (CompiledSimulator, Simulator):
        random = np.random.default_rng(seed)
        try:
            simulator = kind(network, batch, strict=True)
            for _ in range(4):
                simulator.run(loihi_networks.draw_values(random, network, batch))
            caught.append(None)
        except WidthError as error:
            caught.append((str(error), error.population, error.variable, error.step, error.amount))
    assert caught[0] == caught[1]


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), batches=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_calls_of_any_number_of_lanes_are_equal(seed, batches):
    network = random_network(seed)
    ours, theirs, random = CompiledSimulator(network, 2), Simulator(network, 2), np.random.default_rng(seed)
    for batch in batches:
        values = random_values(random, network, batch)
        for simulator in (ours, theirs):
            simulator.resize(batch)
            simulator.run(values)
        assert_equal(network, ours, theirs, [])


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), kept=st.lists(st.booleans(), min_size=2, max_size=12).filter(any))
@pytest.mark.parametrize("make", [CompiledSimulator, Simulator])
def test_lanes_that_are_kept_go_on_as_if_alone(make, seed, kept):
    """In the middle of a call, with messages under way."""
    lanes, random = np.array(kept), np.random.default_rng(seed)
    network = loihi_networks.draw_network(seed)
    first = loihi_networks.draw_values(random, network, len(lanes))
    then = loihi_networks.draw_values(random, network, int(lanes.sum()))
    together, alone = make(network, len(lanes)), make(network, int(lanes.sum()))
    together.run(first, 3), alone.run({place: values[lanes] for place, values in first.items()}, 3)
    together.keep(lanes)
    together.activity.clear(), alone.activity.clear()
    for simulator in (together, alone):
        simulator.run(then, 4)
    for place in variables(network):
        np.testing.assert_array_equal(together.read(place), alone.read(place), place)
    np.testing.assert_array_equal(together.activity.messages, alone.activity.messages)
    assert together.activity.lane_steps == alone.activity.lane_steps


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 20), scale=st.sampled_from([1, 20, 300]))
def test_the_first_overflow_is_the_same(seed, batch, scale):
    network = draw_network(seed, False)
    caught = []
    for kind in (CompiledSimulator, Simulator):
        random = np.random.default_rng(seed)
        try:
            simulator = kind(network, batch, strict=True)
            for _ in range(4):
                simulator.run(random_values(random, network, batch, scale))
            caught.append(None)
        except WidthError as error:
            caught.append((str(error), error.population, error.variable, error.step, error.amount))
    assert caught[0] == caught[1]


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63, 64, 65, 130, 257])
def test_populations_of_any_size_are_equal(size):
    random = np.random.default_rng(size)
    weights = (random.integers(-128, 128, (size, size)) * 2).astype(np.int32)
    target = SigmaDelta("y", size, message_bits=24, bias=np.zeros(size, np.int32), state_exp=3)
    shifted = Synapses("y", "y", 2 * np.eye(size, dtype=np.int32), weight_exp=-3, delay=1)
    network = Network(
        (Input("in", size), target),
        (Synapses("in", "y", weights), Synapses("in", "y", weights, weight_exp=-2, delay=3), shifted),
        {"u": "in"},
        {"y": "y"},
        6,
    )
    ours, theirs = CompiledSimulator(network, 3), Simulator(network, 3)
    for high in (100, 2**13, 2**24, 2**30):
        values = {"in": random.integers(-high, high, (3, size)).astype(np.int32)}
        for simulator in (ours, theirs):
            simulator.run(values)
        assert_equal(network, ours, theirs, [])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_plain_c_and_narrower_vectors_are_equal(level, monkeypatch):
    if level == "x86-64-v4" and "avx512vl" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no AVX-512")
    native, other = open_library(), open_library((f"-march={level}",))
    for seed in range(30):
        network, sent = draw_network(seed, False) if seed % 3 else loihi_networks.draw_spiking(seed), []
        for library in (native, other):
            monkeypatch.setattr(compiled, "open_library", lambda library=library: library)
            simulator, random = CompiledSimulator(network, 17), np.random.default_rng(seed)
            for _ in range(3):
                values = {
                    place: random.integers(-300, 301, (17, network.by_name[place].size)).astype(np.int32)
                    for place in network.inputs.values()
                }
                simulator.run(values)
            sent.append([simulator.read(place) for place in variables(network)])
        for ours, theirs in zip(*sent, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_clang_computes_the_same(monkeypatch, tmp_path):
    """What stands in where a machine has no compiler of its own."""
    monkeypatch.setenv("CC", f"{sys.executable} -m ziglang cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for remembered in (compiler.find_compiler, open_library):
        remembered.cache_clear()
    try:
        library = open_library()
    finally:
        monkeypatch.undo()
        compiler.find_compiler.cache_clear()
        open_library.cache_clear()
    for seed in range(12):
        network = draw_network(seed, False) if seed % 3 else loihi_networks.draw_spiking(seed)
        with monkeypatch.context() as patched:
            patched.setattr(compiled, "open_library", lambda: library)
            simulators = CompiledSimulator(network, 17), Simulator(network, 17)
        for simulator in simulators:
            random = np.random.default_rng(seed)
            for _ in range(3):
                simulator.run(random_values(random, network, 17))
        for place in variables(network):
            np.testing.assert_array_equal(*(simulator.read(place) for simulator in simulators), place)


def test_a_part_of_the_neurons_passes_along_a_diagonal():
    """What a slice, a concatenation or a gate makes: a matrix with one band, off the middle."""
    for offset in (-2, 0, 3):
        weights = np.zeros((5, 7), np.int32)
        for target in range(5):
            if 0 <= target + offset < 7:
                weights[target, target + offset] = 2 * (target + 1)
        target = SigmaDelta("y", 5, message_bits=24, bias=np.zeros(5, np.int32), state_exp=0)
        network = Network((Input("in", 7), target), (Synapses("in", "y", weights),), {"u": "in"}, {"y": "y"}, 2)
        simulator = CompiledSimulator(network)
        values = np.arange(1, 8, dtype=np.int32)
        simulator.run({"in": values[None]})
        np.testing.assert_array_equal(simulator.read("y")[0], weights @ values)


def test_a_lane_left_out_keeps_what_is_under_way():
    """Three of four lanes rest while the first goes on in the middle of a call, with the longest delay."""
    target = SigmaDelta("y", 1, message_bits=24, bias=np.zeros(1, np.int32), state_exp=0)
    synapses = Synapses("in", "y", np.full((1, 1), 2, np.int32), delay=62)
    network = Network((Input("in", 1), target), (synapses,), {"u": "in"}, {"y": "y"}, 64)
    simulator = CompiledSimulator(network, 4)
    simulator.run({"in": np.array([[1], [2], [3], [4]], np.int32)}, steps=10)
    simulator.resize(1)
    simulator.run(steps=simulator._layout.native.stored)
    simulator.resize(4)
    simulator.run(steps=64 - 10)
    np.testing.assert_array_equal(simulator.read("y")[:, 0], [2, 4, 6, 8])


def test_without_a_compiler_numpy_stands_in(monkeypatch):
    def missing(*_, **__):
        raise NmbrlError("there is no C compiler")

    monkeypatch.setattr("nmbrl.targets.loihi.compiled.build_library", missing)
    open_library.cache_clear()
    network = random_network(3)
    assert isinstance(open_simulator(network, 2, "fast"), Simulator)
    monkeypatch.undo()
    assert isinstance(open_simulator(network, 2, "fast"), CompiledSimulator)
    assert isinstance(open_simulator(network, 2, "numpy"), Simulator)
    with pytest.raises(WidthError):
        wide = draw_network(1, False)
        for _ in range(4):
            strict = open_simulator(wide, 1, "strict")
            strict.run(random_values(np.random.default_rng(0), wide, 1, 10**5))
