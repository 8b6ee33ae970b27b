"""Random Loihi networks of every kind of neuron and synapse, to hold simulators against each other and against Lava."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable

import numpy as np

from nmbrl.targets.loihi.limits import Integers
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
from nmbrl.targets.loihi.simulator import Simulator

# What the random networks take; the last is the state that a planner sets.
INPUTS = {"u": "in.u", "b": "in.b", "v": "in.b/v"}
HOST_LIMITS = {"in.u": 500, "in.b": 2000, "in.b/v": (1 << 23) - 1}
Values = dict[str, Integers]


def draw_network(seed: int | tuple[int, ...], largest: int = 20) -> Network:
    """Draw populations of any kind, connected in any way: forward, backward, to themselves, with delays."""
    random = np.random.default_rng(seed)
    populations: list[Population] = [Input("in.u", 3, message_bits=24), _leaky(random, "in.b", largest)]
    kinds: list[Callable[[np.random.Generator, str, int], Population]] = [_leaky, _lava, _lava, _graded]
    names = [f"p{index}" for index in range(random.integers(2, 5))]
    populations += [kinds[random.integers(len(kinds))](random, name, largest) for name in names]
    synapses = []
    for target in populations[1:]:
        for port in range(target.ports):
            sources = random.choice(len(populations), size=int(random.integers(1, 4)), replace=False)
            synapses += [_synapses(random, populations[source], target, port) for source in sources]
    outputs = {"y": "in.b", "u": "in.b/u", "next": "in.b/arriving"}
    return Network(tuple(populations), tuple(synapses), INPUTS, outputs, int(random.integers(1, 9)))


def draw_spiking(seed: int, largest: int = 20) -> Network:
    """Draw a network of the host's inputs and neurons that send 0 or 1, connected in any way, some along a diagonal."""
    random = np.random.default_rng(seed)
    populations: list[Population] = [Input("in.u", _size(random, largest), message_bits=24)]
    while len(populations) < 3 + seed % 3:
        drawn = _leaky(random, f"p{len(populations)}", largest)
        populations += [] if isinstance(drawn, TernaryLIF) else [drawn]
    synapses = []
    for target in populations[1:]:
        sources = random.choice(len(populations), size=int(random.integers(1, 4)), replace=False)
        synapses += [_synapses(random, populations[source], target, 0) for source in sources]
        band = np.eye(target.size, populations[1].size, k=int(random.integers(-2, 3)), dtype=np.int32) * 2
        exponent, delay = int(random.integers(-3, 3)), int(random.integers(0, 3))
        synapses += [Synapses("p1", target.name, band, weight_exp=exponent, delay=delay)]
    inputs, steps = {"u": "in.u", "b": "p1"}, int(random.integers(1, 9))
    return Network(tuple(populations), tuple(synapses), inputs, {"y": "p1"}, steps)


def draw_graded(seed: int, largest: int = 20) -> Network:
    """Draw a network of neurons that send numbers, connected in any way, some by diagonals, some with long delays."""
    random = np.random.default_rng(seed)
    populations: list[Population] = [Input("in.u", _size(random, largest), message_bits=24)]
    while len(populations) < 2 + seed % 4:
        draw = _graded if random.random() < 0.8 else _lava
        populations.append(draw(random, f"p{len(populations)}", largest))
    synapses = []
    for target in populations[1:]:
        for port in range(target.ports):
            sources = random.choice(len(populations), size=int(random.integers(1, 3)), replace=False)
            for drawn in (_synapses(random, populations[source], target, port) for source in sources):
                delay = drawn.delay if random.random() < 0.9 else int(random.integers(0, 40))
                synapses.append(dataclasses.replace(drawn, delay=delay, binary=False))
            band = np.eye(target.size, populations[1].size, k=int(random.integers(-2, 3)), dtype=np.int32) * 2
            if random.random() < 0.3:
                synapses.append(Synapses("p1", target.name, band, port, weight_exp=int(random.integers(-3, 1))))
    return Network(tuple(populations), tuple(synapses), {"u": "in.u"}, {"y": "p1"}, int(random.integers(1, 9)))


def draw_values(random: np.random.Generator, network: Network, batch: int = 1) -> Values:
    """Draw new numbers (batch, size) for some of the inputs of a network."""
    sizes = {place: network.by_name[place.partition("/")[0]].size for place in network.inputs.values()}
    return {
        place: random.integers(-HOST_LIMITS[place], HOST_LIMITS[place] + 1, (batch, size)).astype(np.int32)
        for place, size in sizes.items()
        if random.random() < 0.5
    }


def draw_bounded(seed: int, calls: int, steps: int, largest: int = 20) -> tuple[Network, list[Values]]:
    """Draw a network, and values for each of `calls` calls of `steps` steps in which no sum leaves 24 bits.

    Beyond, Lava's numbers depend on which of them it happens to hold in 64 bits. That u wraps and v is clipped is not
    avoided, as there its rule is plain.
    """
    for attempt in itertools.count():
        network = draw_network((seed, attempt), largest)
        random = np.random.default_rng((seed, attempt, 1))
        values = [draw_values(random, network) for _ in range(calls)]
        if _is_bounded(network, values, steps):
            return dataclasses.replace(network, steps=steps), values
    raise AssertionError


def _is_bounded(network: Network, values: list[Values], steps: int) -> bool:
    simulator, bound = Simulator(network), 1 << 23
    for given in values:
        for step in range(steps):
            simulator.step(given if step == 0 else None)
            for population in network.populations:
                wrapping = ("u", "v") if isinstance(population, LIF) else ()
                seen = {*population.variables, *(("arriving",) if population.ports else ())} - {*wrapping}
                if any(np.abs(simulator.read(f"{population.name}/{name}")).max() >= bound for name in seen):
                    return False
    return True


def join(networks: Iterable[Network]) -> Network:
    """Return several networks, of as many steps a call, as one; names are preceded by ``n0.``, ``n1.``, ..."""
    populations: list[Population] = []
    synapses: list[Synapses] = []
    inputs, steps = {}, 1
    for index, network in enumerate(networks):
        own = f"n{index}."
        populations += [dataclasses.replace(p, name=own + p.name) for p in network.populations]
        synapses += [dataclasses.replace(s, source=own + s.source, target=own + s.target) for s in network.synapses]
        inputs |= {own + name: own + place for name, place in network.inputs.items()}
        steps = max(steps, network.steps)
    return Network(tuple(populations), tuple(synapses), inputs, {}, steps)


def _size(random: np.random.Generator, largest: int) -> int:
    return int(random.integers(1, largest + 1))


def _leaky(random: np.random.Generator, name: str, largest: int) -> Population:
    size = _size(random, largest)

    def vector(low: int, high: int) -> Integers:
        """One number for all neurons, or each its own."""
        return (np.zeros(size) + random.integers(low, high + 1, size if random.random() < 0.5 else 1)).astype(np.int32)

    def decay() -> Integers:
        return vector(*[(0, 0), (4095, 4095), (0, 4095), (100, 1000)][random.integers(4)])

    fields = {
        "du": decay(),
        "dv": decay(),
        "bias_mant": vector(-50, 200),
        "bias_exp": vector(0, 7),
        "vth": vector(0, int(random.choice([10, 100, 2000, (1 << 17) - 1], p=[0.4, 0.3, 0.2, 0.1]))),
    }
    kind = random.choice(3)
    if kind == 0:
        return LIF(name, size, **fields)
    if kind == 1:
        interval, offset = int(random.integers(1, 9)), int(random.integers(0, 12))
        return LIFReset(name, size, **fields, reset_interval=interval, reset_offset=offset)
    return TernaryLIF(name, size, **fields, vth_lo=vector(-5000, 0))


def _lava(random: np.random.Generator, name: str, largest: int) -> Population:
    # Sums that only grow leave 24 bits often, and are drawn again.
    size, kind = _size(random, largest), random.choice(4, p=[0.4, 0.2, 0.2, 0.2])
    vth = random.integers(0, 100, size).astype(np.int32)
    if kind == 0:
        return Sigma(name, size)
    if kind == 1:
        return ProdNeuron(name, size, vth=vth - 1, exponent=int(random.integers(4, 20)))
    exponents = {"spike_exp": int(random.integers(0, 3)), "state_exp": int(random.integers(0, 7))}
    cumulative = bool(random.random() < 0.5)
    if kind == 2:
        return Delta(name, size, vth=vth, **exponents, cum_error=cumulative)
    bias, relu = random.integers(-500, 500, size).astype(np.int32), bool(random.random() < 0.5)
    return LavaSigmaDelta(name, size, vth=vth, **exponents, cum_error=cumulative, bias=bias, relu=relu)


def _graded(random: np.random.Generator, name: str, largest: int) -> Population:
    size, kind = _size(random, largest), random.choice(3)
    threshold = random.integers(0, 20, size).astype(np.int32)

    def bias() -> Integers:
        return random.integers(-200, 200, size).astype(np.int32)

    if kind == 0:
        shift, relu = int(random.integers(0, 12)), bool(random.random() < 0.5)
        return SigmaDelta(name, size, threshold, 24, bias=bias(), state_exp=shift, relu=relu)
    if kind == 1:
        values = np.cumsum(random.integers(-40, 40, 17)).astype(np.int32)
        return Table(name, size, threshold, 24, bias=bias(), values=values, exponent=int(random.integers(3, 12)))
    shifts = {"shift_0": int(random.integers(0, 4)), "shift_1": int(random.integers(0, 4))}
    exponent = int(random.integers(14, 22))
    return Product(name, size, threshold, 24, bias_0=bias(), bias_1=bias(), **shifts, exponent=exponent)


def _synapses(random: np.random.Generator, source: Population, target: Population, port: int) -> Synapses:
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
        weight_exp=int(random.integers(-8, 8 if isinstance(source, LIF) else 0)),
        weight_bits=bits,
        sign_mode=sign_mode,  # type: ignore[arg-type]
        delay=int(random.choice([0, 0, 1, 5])),
        binary=bool(random.random() < 0.3),
        sparse=bool(random.random() < 0.3),
    )
