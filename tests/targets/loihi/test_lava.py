"""Equality with Lava, the reference: every message of every population in every step."""

import dataclasses
import os
import time

import numpy as np
import pytest

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import build
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.lava import comparison
from nmbrl.targets.loihi.lava.comparison import LavaComparison
from nmbrl.targets.loihi.lava.oracle import LavaOracle
from nmbrl.targets.loihi.network import Network, Population
from nmbrl.targets.loihi.simulator import Simulator

from .networks import random_network, random_values

# Between them they hold every kind of population, with thresholds and without.
SEEDS = (0, 5)


def side_by_side(networks: list[Network]) -> Network:
    """Several networks as one, because Lava takes long to start."""

    def prefixed(index: int, name: str) -> str:
        return f"n{index}.{name}"

    populations: list[Population] = []
    synapses, inputs = [], {}
    for index, network in enumerate(networks):
        populations += [dataclasses.replace(p, name=prefixed(index, p.name)) for p in network.populations]
        for part in network.synapses:
            ends = {"source": prefixed(index, part.source), "target": prefixed(index, part.target)}
            synapses.append(dataclasses.replace(part, **ends))
        inputs |= {prefixed(index, name): prefixed(index, value) for name, value in network.inputs.items()}
    steps = max(network.steps for network in networks)
    return Network(tuple(populations), tuple(synapses), inputs, {}, steps)


@pytest.mark.slow
def test_random_networks_send_what_lava_sends():
    network = side_by_side([random_network(seed, thresholds=bool(seed)) for seed in SEEDS])
    simulator, random = Simulator(network), np.random.default_rng(0)
    lava = LavaComparison(network, simulator)
    try:
        for _ in range(8):
            values = random_values(random, network, 1)
            lava.check(values, [simulator.step(values if step == 0 else None) for step in range(network.steps)])
    finally:
        lava.close()
    kinds = {population.kind for population in network.populations}
    assert kinds == {"input", "sigma_delta", "table", "product"}


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
    lava.check(values, [simulator.step(values if step == 0 else None) for step in range(network.steps)])
    sent = [simulator.step(values if step == 0 else None) for step in range(network.steps)]
    with pytest.raises(NmbrlError, match=f"Lava differs: neuron 0 of p1 .* in step {2 * network.steps + 1}"):
        lava.check(values, sent)


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
