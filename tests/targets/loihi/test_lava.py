"""Equality with Lava, the reference: every message of every population in every step."""

import os
import time
from itertools import product

import loihi_networks
import numpy as np
import pytest

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import build
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.compiled import CompiledSimulator
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.lava import comparison
from nmbrl.targets.loihi.lava.comparison import LavaComparison
from nmbrl.targets.loihi.lava.oracle import LavaOracle
from nmbrl.targets.loihi.network import KINDS, LIF, Input, LIFReset, Network, Synapses
from nmbrl.targets.loihi.simulator import Simulator

from .networks import random_network, random_values

# Between them they hold every kind of population and of synapses.
SEEDS = range(506, 514)


@pytest.mark.slow
def test_random_networks_compute_what_lava_computes():
    """The first steps of some of ``benchmarks/loihi_equality.py``'s networks."""
    drawn = [loihi_networks.draw_bounded(seed, calls=4, steps=6, largest=6) for seed in SEEDS]
    network = loihi_networks.join(network for network, _ in drawn)
    assert {population.kind for population in network.populations} == set(KINDS)
    assert {(part.sparse, part.delay > 0, part.binary) for part in network.synapses} == set(product([0, 1], repeat=3))
    simulator = CompiledSimulator(network)
    lava = LavaComparison(network, simulator)
    try:
        for call in range(4):
            lava.run({f"n{i}.{place}": v for i, (_, calls) in enumerate(drawn) for place, v in calls[call].items()})
    finally:
        lava.close()


@pytest.mark.slow
def test_what_the_host_sets_is_set_in_lava_too():
    """A planner's state: u, v and what is under way, set in the middle of a run."""
    fields = {"du": 2000, "dv": 300, "bias_mant": 5, "bias_exp": 2, "vth": 20}
    neurons = LIF("y", 3, **{name: np.full(3, value, np.int32) for name, value in fields.items()})
    synapses = Synapses("y", "y", np.array([[0, 8, 4], [2, 0, 6], [10, 2, 0]], np.int32), delay=2)
    state = ("y/u", "y/v", "y/arriving", "y/arriving 1", "y/arriving 2")
    network = Network((neurons,), (synapses,), {"b": "y", **{name: name for name in state}}, {"v": "y"}, 12)
    random, simulator = np.random.default_rng(0), Simulator(network)
    lava = LavaComparison(network, simulator)
    try:
        for _ in range(3):
            places = [name for name in ("y", *state) if random.random() < 0.7]
            lava.run({name: random.integers(-200, 200, (1, 3)).astype(np.int32) for name in places})
    finally:
        lava.close()
    assert simulator.activity.messages.sum() > 20


def draw_lanes(copies: int) -> Network:
    """A network of spiking neurons, or so many copies of it side by side."""
    random = np.random.default_rng(3)
    sizes = {"in": 9, "x": 21, "y": 5}

    def fields(size: int) -> dict[str, np.ndarray]:
        limits = {"du": 4096, "dv": 2000, "bias_mant": 60, "bias_exp": 4, "vth": 40}
        return {name: np.tile(random.integers(0, most, size), copies).astype(np.int32) for name, most in limits.items()}

    def synapses(source: str, target: str, **more: int) -> Synapses:
        weights = random.integers(-12, 20, (sizes[target], sizes[source])) * 2
        return Synapses(source, target, np.kron(np.eye(copies), weights).astype(np.int32), **more)

    populations = (
        Input("in", copies * sizes["in"]),
        LIF("x", copies * sizes["x"], **fields(sizes["x"])),
        LIFReset("y", copies * sizes["y"], **fields(sizes["y"]), reset_interval=5, reset_offset=2),
    )
    parts = (synapses("in", "x"), synapses("x", "x", delay=2), synapses("x", "y", weight_exp=-1), synapses("y", "x"))
    return Network(populations, parts, {"u": "in", "b": "y"}, {"v": "y"}, 3)


@pytest.mark.slow
def test_spikes_of_many_lanes_are_those_of_lava():
    """Lanes of one network are neurons side by side in Lava's; all go through some steps in one call."""
    lanes, rows, random = 21, 7, np.random.default_rng(0)
    network = draw_lanes(1)
    simulator, counts = CompiledSimulator(network, lanes), np.zeros((network.steps, 35), int)
    with LavaOracle(draw_lanes(lanes), 1) as lava:
        for call in range(4):
            changes = random.integers(0, 2, (rows, lanes, 9)) * (3 if call == 2 else 1)
            given = {"in": simulator.read("in")[None] + np.cumsum(changes, axis=0, dtype=np.int32)}
            given |= {"y": random.integers(-300, 300, (rows, lanes, 5)).astype(np.int32)} if call else {}
            simulator.play(given)
            for step in range(rows):
                found = lava.run({place: values[step].ravel() for place, values in given.items()}, 1)
                sent = [(found[name].reshape(lanes, -1) != 0).sum(axis=0) for name in network.by_name]
                counts[(call * rows + step) % network.steps] += np.concatenate(sent)
            for place in ("x/u", "x/v", "y/u", "y/v"):
                np.testing.assert_array_equal(simulator.read(place), found[place].reshape(lanes, -1), place)
    np.testing.assert_array_equal(simulator.activity.messages, counts)
    assert counts[:, 9:].sum() > 1000


@pytest.mark.slow
def test_a_converted_model_sends_what_lava_sends(small_run):
    samples = compute_samples(small_run.model, small_run.calibration)
    functions, networks = build(small_run.model, samples.inputs)
    lava = LoihiExecutor(small_run.model.interface, dict(small_run.model.macs), functions, networks, "lava")
    fast = LoihiExecutor(small_run.model.interface, dict(small_run.model.macs), functions, networks)
    try:
        state, expected = lava.reset(2), fast.reset(2)
        for time_step in range(10):
            observation = np.array([[0.5, -1.0 + 0.1 * time_step, 0.02 * time_step], [0, 0, 0]], np.float32)
            state = lava.observe(state, lava.act(state), observation)
            expected = fast.observe(expected, fast.act(expected), observation)
            np.testing.assert_array_equal(state, expected)
        assert lava.counts == fast.counts
    finally:
        lava.close()


class Oracle:
    """Lava's place taken by a simulation, one message of which is changed."""

    def __init__(self, network: Network, rows: int) -> None:
        self.simulator = Simulator(network)
        self.network, self.runs = network, 0

    def run(self, values, steps):
        self.runs += 1
        if self.runs == 1:
            return {p.name: self.simulator.read(p.name) for p in self.network.populations}
        sent = [
            self.simulator.step({k: v[None] for k, v in values.items()} if step == 0 else None) for step in range(steps)
        ]
        messages = {
            p.name: np.stack([step.get(p.name, np.zeros((1, p.size), np.int32))[0] for step in sent])
            for p in self.network.populations
        }
        if self.runs == 3:
            messages["p1"][1, 0] += 1
        return messages

    def close(self) -> None:
        pass


def test_a_difference_is_an_error_that_says_where(monkeypatch):
    monkeypatch.setattr(comparison, "LavaOracle", Oracle)
    network, random = random_network(5), np.random.default_rng(0)
    simulator = Simulator(network)
    lava = LavaComparison(network, simulator)
    values = random_values(random, network, 1)
    lava.run(values)
    with pytest.raises(NmbrlError, match=f"Lava differs: neuron 0 of p1 .* in step {2 * network.steps + 1}"):
        lava.run(values)


def test_lava_that_hangs_is_ended_within_the_limit(monkeypatch):
    monkeypatch.setattr("nmbrl.targets.loihi.lava.oracle.START_LIMIT", 0.2)
    with pytest.raises(NmbrlError, match="Lava did not start within"):
        LavaOracle(random_network(5), 4)


def test_lava_that_dies_is_one_line(monkeypatch):
    network = random_network(5)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(NmbrlError, match="Lava ended instead of a start"):
        LavaOracle(network, 4)


def test_without_lava_only_the_oracle_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    network = random_network(5)
    Simulator(network).step(random_values(np.random.default_rng(0), network, 1))
    with pytest.raises(NmbrlError, match=r"needs Lava: pip install 'nmbrl\[loihi\]'"):
        LavaOracle(network, 4)


@pytest.mark.slow
def test_closing_ends_every_process_of_lava():
    network = random_network(5)
    with LavaOracle(network, network.steps) as oracle:
        oracle.run({}, network.steps)
        group = oracle._child.pid
        os.killpg(group, 0)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a process of Lava outlived its executor")
