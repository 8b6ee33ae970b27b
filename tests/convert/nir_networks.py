"""Random LIF networks and random NIR graphs, and simulators of NIR that are not ours."""

import contextlib
import io
import itertools

import nir
import numpy as np
import torch

from nmbrl.convert.loihi.nir.graph import DT
from nmbrl.targets.loihi.executor import open_simulator
from nmbrl.targets.loihi.network import LIF, Network, Synapses


def draw_network(seed: int, alike: bool = False) -> Network:
    """One to three LIF populations in a row, each with or without synapses to itself, and a readout or spikes out.

    Args:
        seed: of the draw.
        alike: whether neurons of a population have the same constants and no bias, as snnTorch demands.
    """
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 9, random.integers(1, 4))
    populations = [
        # What goes through the first one's memory is no whole number in the graph, as it holds the input as well.
        _draw_population(random, f"p{index}", int(size), alike, memory=alike or index > 0)
        for index, size in enumerate(sizes)
    ]
    synapses = []
    for index, target in enumerate(populations):
        if index:
            synapses.append(_draw_synapses(random, populations[index - 1], target))
        if random.random() < 0.7:
            synapses.append(_draw_synapses(random, target, target))
    last = populations[-1]
    if random.random() < 0.5:
        return Network(tuple(populations), tuple(synapses), {"x": "p0"}, {"y": last.name}, 1)
    size = int(random.integers(1, 4))

    def full(number: int) -> np.ndarray:
        return np.full(size, number, np.int32)

    biases = random.integers(-500, 500, size).astype(np.int32)
    readout = LIF("y", size, du=full(4095), dv=full(0), bias_mant=biases, bias_exp=full(2), vth=full(131071))
    synapses.append(_draw_synapses(random, last, readout))
    return Network((*populations, readout), tuple(synapses), {"x": "p0"}, {"y": "y/v"}, 1)


def _draw_population(random: np.random.Generator, name: str, size: int, alike: bool, memory: bool) -> LIF:
    def draw(low: int, high: int) -> np.ndarray:
        return np.full(size, random.integers(low, high, 1 if alike else size), np.int32)

    du = draw(200, 4000) if memory and random.random() < 0.7 else np.full(size, 4095, np.int32)
    biases = draw(0, 1) if alike else draw(-100, 300)
    return LIF(name, size, du=du, dv=draw(50, 2000), bias_mant=biases, bias_exp=draw(2, 3), vth=draw(60, 400))


def _draw_synapses(random: np.random.Generator, source: LIF, target: LIF) -> Synapses:
    weights = random.integers(-30, 100, (target.size, source.size)) * 2
    return Synapses(
        source.name, target.name, weights.astype(np.int32), weight_exp=int(random.integers(-1, 2)), binary=True
    )


def draw_given(seed: int, network: Network, steps: int) -> np.ndarray:
    """Mantissas that the host gives the first population (steps, lanes, size), each held for a while."""
    random = np.random.default_rng((seed, 1))
    size = network.by_name["p0"].size
    return np.repeat(random.integers(0, 1500, (steps // 5, 2, size)), 5, axis=0).astype(np.int32)


def run_chip(network: Network, given: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network of `draw_network` and return what each population does (steps, lanes, size), in the graph's time.

    Population k begins k steps late on the chip, and until then rests.
    """
    steps, lanes = given.shape[:2]
    simulator = open_simulator(network, lanes, "numpy")
    names = list(network.by_name)
    found = {name: np.zeros((steps, lanes, part.size)) for name, part in network.by_name.items()}
    for step in range(steps + len(names) - 1):
        for level, name in enumerate(names):
            zeros = np.zeros((lanes, network.by_name[name].size), np.int32)
            if step <= level:
                simulator.write(f"{name}/u", zeros)
            if step <= level or name == "y":
                simulator.write(f"{name}/v", zeros)
        simulator.write("p0", given[min(step, steps - 1)])
        messages = simulator.step()
        for level, name in enumerate(names):
            if 0 <= step - level < steps:
                found[name][step - level] = simulator.read("y/v") / 64 if name == "y" else messages[name]
    return found


def run_snntorch(graph: nir.NIRGraph, inputs: np.ndarray) -> np.ndarray:
    """Run a graph in snnTorch: the output (steps, lanes, size)."""
    from snntorch.import_nir import import_from_nir

    # It says what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        module = import_from_nir(graph)
    state, outputs = None, []
    with torch.no_grad():
        for now in torch.tensor(inputs, dtype=torch.float32):
            output, state = module(now, state)
            outputs.append(output.numpy())
    return np.stack(outputs)


def run_norse(graph: nir.NIRGraph, inputs: np.ndarray) -> np.ndarray:
    """Run a graph in Norse: the output (steps, lanes, size)."""
    import norse.torch

    module = norse.torch.from_nir(graph, ignore_warnings=True, dt=DT)
    (name,) = [name for name, node in graph.nodes.items() if isinstance(node, nir.Output)]
    state, outputs = None, []
    with torch.no_grad():
        for now in torch.tensor(inputs, dtype=torch.float32):
            # It returns what the module gave that ran last, which need not be the output.
            _, state = module(now, state)
            outputs.append(state.cache[name].numpy())
    return np.stack(outputs)


def draw_graph(seed: int, cuba: bool = True, everything: bool = True) -> nir.NIRGraph:
    """A row of two populations, the first with weights to itself, an ``Affine`` before the output.

    Args:
        seed: of the draw.
        cuba: whether neurons are ``CubaLIF``, else ``LIF``.
        everything: whether there are leak potentials, resets, and a path past the first population.
    """
    random = np.random.default_rng(seed)
    inputs, size, outputs = random.integers(2, 7, 3)

    def neurons() -> nir.NIRNode:
        ones = np.ones(size)
        tau_mem = DT * random.uniform(4, 40) * ones
        tau_syn = DT * random.uniform(1.5, 10) * ones
        leak, reset = (random.uniform(0, 0.4), random.uniform(-0.2, 0)) if everything else (0.0, 0.0)
        shared = {"v_leak": leak * ones, "v_reset": reset * ones, "v_threshold": random.uniform(0.5, 3) * ones}
        if cuba:
            return nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau_mem, r=tau_mem / DT, w_in=tau_syn / DT, **shared)
        # Norse leaves out r, so it is 1.
        return nir.LIF(tau=tau_mem, r=ones, **{name: value * DT / tau_mem for name, value in shared.items()})

    def weights(rows: int, columns: int) -> np.ndarray:
        return random.normal(0.1, 0.4, (rows, columns))

    nodes = {
        "input": nir.Input({"input": np.array([inputs])}),
        "a": nir.Affine(weight=weights(size, inputs), bias=random.normal(0, 0.05, size)),
        "first": neurons(),
        "again": nir.Linear(weight=0.3 * weights(size, size)),
        "loop": nir.Linear(weight=np.eye(size)),
        "b": nir.Linear(weight=weights(size, size)),
        "second": neurons(),
        "out": nir.Affine(weight=weights(outputs, size), bias=random.normal(0, 1, outputs)),
        "output": nir.Output({"output": np.array([outputs])}),
    }
    row = ["input", "a", "first", "b", "second", "out", "output"]
    edges = [*itertools.pairwise(row), ("first", "again"), ("again", "loop"), ("loop", "first")]
    if everything:
        nodes["past"] = nir.Linear(weight=weights(size, inputs))
        edges += [("input", "past"), ("past", "second")]
    return nir.NIRGraph(nodes=nodes, edges=edges)
