"""Random Loihi networks, small and inside every width."""

import itertools

import numpy as np

from nmbrl.targets.loihi.network import Input, Network, Population, Product, SigmaDelta, Synapses, Table, weight_range
from nmbrl.targets.loihi.simulator import Simulator, WidthError


def random_network(seed: int, thresholds: bool = False) -> Network:
    """Draw networks until one holds every width for a while."""
    for attempt in itertools.count():
        random = np.random.default_rng((seed, attempt))
        network = _draw(random, thresholds)
        try:
            simulator = Simulator(network, batch=4, strict=True)
            for time in range(40 * network.steps):
                simulator.step(random_values(random, network, 4) if time % network.steps == 0 else None)
        except WidthError:
            continue
        return network
    raise AssertionError


def draw_network(seed: int, thresholds: bool) -> Network:
    """Draw a network that may exceed any width."""
    return _draw(np.random.default_rng(seed), thresholds)


def _draw(random: np.random.Generator, thresholds: bool) -> Network:
    """Two inputs, three to five populations of all kinds, synapses of every sign mode, exponent and delay forward."""
    populations: list[Population] = [Input("in.u", 3), Input("in.w", 2)]
    populations.extend(_random_population(random, f"p{index}", thresholds) for index in range(random.integers(3, 6)))
    synapses = []
    depth = {"in.u": 0, "in.w": 0}
    for index, target in enumerate(populations[2:], start=2):
        sources = random.choice(index, size=min(index, 3), replace=False)
        depth[target.name] = 0
        for port in range(target.ports):
            for source in (populations[i] for i in sources):
                delay = int(random.integers(0, 3))
                depth[target.name] = max(depth[target.name], depth[source.name] + 1 + delay)
                synapses.append(_random_synapses(random, source, target, port, delay))
    last = populations[-1].name
    return Network(
        tuple(populations), tuple(synapses), {"u": "in.u", "w": "in.w"}, {"y": last}, max(depth.values()) + 1
    )


def _random_population(random: np.random.Generator, name: str, thresholds: bool) -> Population:
    size = int(random.integers(1, 6))
    # 0 for some neurons, for all of them where there are no thresholds.
    threshold = (random.integers(0, 20, size) * (thresholds and random.random(size) < 0.8)).astype(np.int32)

    def bias() -> np.ndarray:
        return random.integers(-200, 200, size).astype(np.int32)

    kind = random.choice(["linear", "relu", "table", "product"])
    if kind == "product":
        shifts = {"shift_0": int(random.integers(0, 4)), "shift_1": int(random.integers(0, 4))}
        exponent = int(random.integers(14, 22))
        return Product(name, size, threshold, 24, bias_0=bias(), bias_1=bias(), **shifts, exponent=exponent)
    if kind == "table":
        values = np.cumsum(random.integers(-40, 40, 17)).astype(np.int32)
        return Table(name, size, threshold, 24, bias=bias(), values=values, exponent=int(random.integers(3, 12)))
    shift = int(random.integers(0, 12))
    return SigmaDelta(name, size, threshold, 24, bias=bias(), state_exp=shift, relu=bool(kind == "relu"))


def _random_synapses(
    random: np.random.Generator, source: Population, target: Population, port: int, delay: int
) -> Synapses:
    sign_mode = str(random.choice(["mixed", "excitatory", "inhibitory"]))
    bits = int(random.integers(2, 9))
    low, high, step = weight_range(sign_mode, bits)  # type: ignore[arg-type]
    weights = random.integers(low // step, high // step + 1, (target.size, source.size)) * step
    weights *= random.random(weights.shape) < 0.7
    return Synapses(
        source.name,
        target.name,
        weights.astype(np.int32),
        port,
        weight_exp=int(random.integers(-8, 1)),
        weight_bits=bits,
        sign_mode=sign_mode,  # type: ignore[arg-type]
        delay=delay,
    )


def random_values(random: np.random.Generator, network: Network, batch: int, scale: int = 1) -> dict[str, np.ndarray]:
    """Values for every input."""
    return {
        name: random.integers(-500 * scale, 500 * scale, (batch, network.by_name[name].size)).astype(np.int32)
        for name in network.inputs.values()
    }
