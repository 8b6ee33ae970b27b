"""Random Loihi networks, small and inside every width."""

import itertools

import numpy as np

from nmbrl.targets.loihi.network import (
    LIF,
    Delta,
    Input,
    LavaSigmaDelta,
    LIFReset,
    Network,
    Population,
    ProdNeuron,
    Product,
    Sigma,
    SigmaDelta,
    Synapses,
    Table,
    TernaryLIF,
    weight_range,
)
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


def draw_spiking_network(seed: int, largest: int = 20) -> Network:
    """Draw leaky neurons and Lava's own kinds, connected in any way: forward, backward, to themselves, with delays."""
    random = np.random.default_rng(seed)
    populations: list[Population] = [Input("in.u", 3), _leaky(random, "in.b", largest)]
    for index in range(int(random.integers(2, 6))):
        kind = random.choice(["leaky", "leaky", "delta", "sigma", "sigma-delta", "product"])
        make = _leaky if kind == "leaky" else _lava
        populations.append(make(random, f"p{index}", largest, *(() if kind == "leaky" else (kind,))))
    synapses = []
    for target in populations[1:]:
        for port in range(target.ports):
            count = int(random.integers(1, 4))
            sources = random.choice(len(populations), size=min(count, len(populations)), replace=False)
            synapses += [_any_synapses(random, populations[source], target, port) for source in sources]
    outputs = {"y": "in.b", "u": "in.b/u", "next": "in.b/arriving"}
    inputs = {"u": "in.u", "b": "in.b", "v": "in.b/v"}
    return Network(tuple(populations), tuple(synapses), inputs, outputs, int(random.integers(1, 9)))


def _leaky(random: np.random.Generator, name: str, largest: int) -> LIF:
    size = int(random.integers(1, largest + 1))

    def vector(low: int, high: int) -> np.ndarray:
        """One number for all neurons, or each its own."""
        return (np.zeros(size) + random.integers(low, high + 1, size if random.random() < 0.5 else 1)).astype(np.int32)

    def decay() -> np.ndarray:
        low, high = [(0, 0), (4095, 4095), (0, 4095), (100, 1000)][random.integers(4)]
        return vector(low, high)

    fields = {
        "du": decay(),
        "dv": decay(),
        "bias_mant": vector(-100, 200),
        "bias_exp": vector(0, 7),
        "vth": vector(0, int(random.choice([100, 5000, (1 << 17) - 1]))),
    }
    kind = random.choice(3)
    if kind == 0:
        return LIF(name, size, **fields)
    if kind == 1:
        interval, offset = int(random.integers(1, 9)), int(random.integers(0, 12))
        return LIFReset(name, size, **fields, reset_interval=interval, reset_offset=offset)
    return TernaryLIF(name, size, **fields, vth_lo=vector(-5000, 0))


def _lava(random: np.random.Generator, name: str, largest: int, kind: str) -> Population:
    size = int(random.integers(1, largest + 1))
    vth = random.integers(0, 100, size).astype(np.int32)
    if kind == "sigma":
        return Sigma(name, size)
    if kind == "product":
        return ProdNeuron(name, size, vth=vth - 1, exponent=int(random.integers(0, 20)))
    fields = {
        "vth": vth,
        "spike_exp": int(random.integers(0, 3)),
        "state_exp": int(random.integers(0, 7)),
        "cum_error": bool(random.random() < 0.5),
    }
    if kind == "delta":
        return Delta(name, size, **fields)
    bias = random.integers(-500, 500, size).astype(np.int32)
    return LavaSigmaDelta(name, size, **fields, bias=bias, relu=bool(random.random() < 0.5))


def _any_synapses(random: np.random.Generator, source: Population, target: Population, port: int) -> Synapses:
    sign_mode = str(random.choice(["mixed", "excitatory", "inhibitory"]))
    bits = int(random.integers(1, 10 if sign_mode == "mixed" else 9))
    low, high, step = weight_range(sign_mode, bits)  # type: ignore[arg-type]
    weights = random.integers(low // step, high // step + 1, (target.size, source.size)) * step
    weights *= random.random(weights.shape) < random.choice([0.1, 0.7, 1.0])
    return Synapses(
        source.name,
        target.name,
        weights.astype(np.int32),
        port,
        weight_exp=int(random.integers(-8, 8)),
        weight_bits=bits,
        sign_mode=sign_mode,  # type: ignore[arg-type]
        delay=int(random.choice([0, 0, 1, 5])),
        binary=bool(random.random() < 0.3),
        sparse=bool(random.random() < 0.3),
    )


def random_values(random: np.random.Generator, network: Network, batch: int, scale: int = 1) -> dict[str, np.ndarray]:
    """Values for every input."""
    return {
        name: random.integers(-500 * scale, 500 * scale, (batch, network.by_name[name].size)).astype(np.int32)
        for name in network.inputs.values()
    }
