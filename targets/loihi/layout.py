"""A network as the C simulator sees it: the structures of ``native/loihi.h``, and where each variable lies."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import numpy as np

from nmbrl.targets.loihi.graded import Graded
from nmbrl.targets.loihi.groups import find_groups
from nmbrl.targets.loihi.network import (
    ARRIVING,
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
)
from nmbrl.targets.loihi.spiking import ALIGNMENT, DECAY_SHIFT, HALF_RANGE
from nmbrl.targets.loihi.weights import (
    TABLE_SOURCES,
    TILE_TARGETS,
    WORDS,
    compress,
    find_diagonal,
    lay_pairs,
    lay_rows,
    lay_tables,
    lay_tiles,
)

# As in native/loihi.h.
BLOCK, SCRATCH, MOST_LANES, LANES_AT_ONCE, VECTOR, VECTORS = 16, 8, 64, 32, 16, 4
SPIKING_LANES, SPIKING_STEPS = 256, 32
EVENT_LANES, EVENT_STEPS = 32, 20
# Neurons of a word of native/events.c, and numbers of `events`.
WORD, EVENT = 64, 12
# Sources of rows of weights are numbers of 16 bits; memory for events is not kept for more neurons.
MOST_ROWS = 1 << 16
# Bytes of a line of the cache.
LINE = 64
# Lanes that go through a step together: few, so that their state stays in the cache beside weights that fit there or
# that many steps share; many where weights are read anew in each step.
LANES, MANY_LANES = 16, 64
CACHED_WEIGHT_BYTES = 1 << 19
# Tables take four or eight bytes a weight: beyond so many there are none.
MOST_TABLE_WEIGHTS = 1 << 24
# Variables of a population in native/spikes.c, at most.
VARIABLES = 3
# Steps that a group of populations goes through before the next does.
CHUNK = 16
# `enum kind`; a subclass that has a number of its own before its base.
NATIVE = {
    **{Input: 0, SigmaDelta: 1, Table: 2, Product: 3, LIF: 4},
    **{LavaSigmaDelta: 7, Delta: 5, Sigma: 6, ProdNeuron: 8},
}


def align(array: np.ndarray) -> np.ndarray:
    """Return a copy that starts where a line of the cache does: vectors of 64 bytes then touch only one."""
    copy = make_zeros(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def make_zeros(size: int) -> np.ndarray:
    """Return bytes that start where a line of the cache does; memory is taken only where they are written."""
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


class _Structure(ctypes.Structure):
    """A structure of native/loihi.h that keeps the arrays it points to."""

    def __init__(self, **fields: object) -> None:
        self.kept = {name: align(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
        super().__init__(**{**fields, **{name: value.ctypes.data for name, value in self.kept.items()}})


class _Population(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("kind", "size", "ports", "state", "port", "counter", "word", "shift")),
        *((name, c_int32) for name in ("relu", "exponent", "shift_0", "shift_1", "segments")),
        *((name, c_int32) for name in ("reset_interval", "reset_offset", "cum_error", "diagonals", "takes")),
        *((name, c_int32) for name in ("ternary", "first_wire", "wires", "index", "input", "place")),
        *((name, c_int32) for name in ("most_arriving", "most_given")),
        *((f"parameter_{index}", c_void_p) for index in range(9)),
        *((name, c_void_p) for name in ("values", "widths")),
    ]


class _Wire(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("targets", "sources", "port", "source", "target", "delay", "factor")),
        *((name, c_int32) for name in ("right_shift", "diagonal", "offset", "binary", "form")),
        *((name, c_void_p) for name in ("weights", "rows", "tiles", "tables")),
        *((name, c_int32) for name in ("excess", "planes")),
    ]


class NativeNetwork(_Structure):
    """``network``."""

    _fields_ = [
        *((name, c_int32) for name in ("populations", "numbers", "ports", "counters", "rests", "slots")),
        *((name, c_int32) for name in ("stored", "chunk", "groups", "period", "matrices", "lanes")),
        *((name, c_int32) for name in ("scratch", "widest", "wires", "spikes", "held", "indices", "inputs")),
        *((name, c_int32) for name in ("events", "event_scratch", "words")),
        ("population", POINTER(_Population)),
        ("wire", POINTER(_Wire)),
        *((name, c_void_p) for name in ("order", "ends")),
    ]


class Given(ctypes.Structure):
    """``given``."""

    _fields_ = [(name, c_int64) for name in ("population", "first", "size", "values")]


class Overflow(ctypes.Structure):
    """``overflow``."""

    _fields_ = [(name, c_int64) for name in ("step", "population", "variable", "amount")]


@dataclass(frozen=True)
class Found:
    """Where a variable is: of the `population`-th, `numbers` of a lane, or of what is under way in a slot."""

    population: int
    numbers: slice
    slot: int | None = None


class Layout:
    """A network as the structures of native/loihi.h.

    Attributes:
        native: the network.
        reference: to it.
        scratch: numbers of scratch memory.
    """

    def __init__(self, network: Network, matrices: bool, tables: bool, fours: bool) -> None:
        populations = network.populations
        self._matrices, self._fours = matrices, fours
        few = sum(part.weights.size for part in network.synapses) <= MOST_TABLE_WEIGHTS
        self._tables = tables and few and not network.rests and all(map(_sends_spikes, populations))
        self.network = network
        self._index = {population.name: i for i, population in enumerate(populations)}
        sizes = np.array([_padded(population.size) for population in populations])
        states = _starts(sizes * [len(population.variables) for population in populations])
        ports = _starts(sizes * [population.ports for population in populations])
        counters = _starts([population.size for population in populations])
        words = _starts([-(-population.size // WORD) for population in populations])
        self._places = list(zip(states.tolist(), ports.tolist(), strict=True))
        self._found: dict[tuple[str, str], Found] = {}
        wires = [self._wires(population) for population in populations]
        first = _starts([len(group) for group in wires])
        indices = _starts(-(-sizes // TABLE_SOURCES) * TABLE_SOURCES * 4)
        inputs = _starts([size * isinstance(p, Input) for size, p in zip(sizes, populations, strict=True)])
        flat = [wire for group in wires for wire in group]
        groups = find_groups(network)
        places, held = _places(network, groups)
        made = [
            _population(
                population,
                state=int(states[i]),
                port=int(ports[i]),
                counter=int(counters[i]),
                word=int(words[i]),
                diagonals=any(wire.diagonal and i in (wire.source, wire.target) for wire in flat),
                first_wire=int(first[i]),
                wires=len(wires[i]),
                index=int(indices[i]),
                input=int(inputs[i]),
                place=places[population.name],
                **(_float_limits(network, population) if self._tables and isinstance(population, LIF) else {}),
            )
            for i, population in enumerate(populations)
        ]
        self._order = np.array([self._index[name] for group in groups for name in group], np.int32)
        self._ends = np.cumsum([len(group) for group in groups]).astype(np.int32)
        stored, chunk = 1 + max((part.delay for part in network.synapses), default=0), _chunk(network, groups)
        slots = stored + chunk
        widest = int(sizes.max()) + BLOCK
        numbers = _odd_blocks(int(states[-1]))
        sent = (stored + SPIKING_STEPS) * (int(indices[-1]) // 4 + int(inputs[-1]) * VECTOR + len(populations))
        known = all((wire.diagonal or (wire.rows and not wire.tiles)) and not wire.binary for wire in flat)
        events = int(sizes.sum()) + BLOCK if fours and known and sizes.sum() <= MOST_ROWS else 0
        # ctypes copies structures into an array: what they point to is kept here.
        self._kept = made, flat
        self.native = NativeNetwork(
            populations=len(populations),
            numbers=numbers,
            ports=int(ports[-1]),
            counters=int(counters[-1]),
            rests=network.rests,
            slots=slots,
            stored=stored,
            chunk=chunk,
            groups=len(groups),
            order=self._order.ctypes.data,
            ends=self._ends.ctypes.data,
            period=network.steps,
            matrices=any(wire.tiles for wire in flat),
            lanes=_lanes(flat, chunk),
            scratch=_odd_blocks(slots * int(ports[-1]) + SCRATCH * widest + _padded(slots * len(populations))),
            widest=widest,
            wires=len(flat),
            spikes=_padded(sent) if self._tables else 0,
            held=held,
            indices=int(indices[-1]),
            inputs=int(inputs[-1]),
            events=events,
            words=int(words[-1]),
            population=(_Population * len(made))(*made),
            wire=(_Wire * max(len(flat), 1))(*flat),
        )
        self.reference = ctypes.byref(self.native)
        shared = 3 * widest + MOST_LANES * (widest + 64) // 2
        self.scratch = self.native.lanes * self.native.scratch + shared
        if self._tables:
            self.scratch += VECTORS * VECTOR * held + SPIKING_LANES // VECTOR * self.native.spikes
            self.scratch += _padded(len(populations))
        if events:
            self.native.event_scratch = self.scratch
            sent = 5 * events // 2 + EVENT * len(populations) + 2 * int(words[-1])
            self.scratch += EVENT_LANES * EVENT_STEPS * sent + 5 * widest + 6 * len(flat) + len(populations) + 1
            self.scratch += 2 * (EVENT_STEPS + stored) * len(populations)

    def find(self, place: str, variable: str) -> Found:
        """Return where a variable is; see `Network.locate`."""
        found = self._found.get((place, variable))
        if found is None:
            found = self._found[place, variable] = self._find(*self.network.locate(place, variable))
        return found

    def _find(self, name: str, variable: str) -> Found:
        index = self._index[name]
        population, (state, port) = self.network.populations[index], self._places[index]
        if variable.startswith(ARRIVING):
            return Found(index, slice(port, port + population.size), int(variable[len(ARRIVING) :] or 0))
        start = state + population.variables.index(variable) * _padded(population.size)
        return Found(index, slice(start, start + population.size))

    def _wires(self, source: Population) -> list[_Wire]:
        parts = [part for part in self.network.synapses if part.source == source.name]
        return [self._wire(part, self._index[part.target]) for part in sorted(parts, key=lambda part: part.binary)]

    def _wire(self, part: Synapses, index: int) -> _Wire:
        target = self.network.populations[index]
        offset, size = find_diagonal(part.weights), _padded(target.size)
        common = {
            "sources": part.weights.shape[1],
            "port": self._places[index][1] + part.port * size,
            "source": self._index[part.source],
            "target": index,
            "delay": part.delay,
            "right_shift": max(-part.weight_exp, 0),
            "binary": part.binary,
        }
        if offset is not None:
            # Shifting a sum left is shifting its terms; the largest, -256 << 7, just fits 16 bits.
            weights = (part.weights << max(part.weight_exp, 0)).sum(axis=1).astype(np.int16)
            return _Wire(**common, targets=target.size, diagonal=True, offset=offset, weights=weights)
        form, weights, factor = compress(part.weights)
        tiles = self._matrices and form != WORDS and min(weights.shape) >= TILE_TARGETS
        rows = self._fours and form != WORDS and weights.shape[1] <= MOST_ROWS
        return _Wire(
            **common,
            targets=size,
            factor=factor << max(part.weight_exp, 0),
            form=form,
            **(lay_rows(weights, size) if rows else {"weights": lay_pairs(weights, size)}),
            **({"tiles": lay_tiles(weights, size)} if tiles else {}),
            **(lay_tables(weights.astype(np.int16), size) if self._tables else {}),
        )


def _chunk(network: Network, groups: list[list[str]]) -> int:
    """Return the steps that a group goes through at a time: many, unless most of what is under way is within one."""
    numbers = [sum(p.size * p.ports for p in network.populations if p.name in group) for group in map(set, groups)]
    return CHUNK if 2 * max(numbers) <= sum(numbers) else 1


def _lanes(wires: list[_Wire], chunk: int) -> int:
    """Return the lanes that go through a step together."""
    if any(wire.tiles for wire in wires):
        return LANES_AT_ONCE
    kept = [wire.kept.get("rows", wire.kept.get("weights")) for wire in wires]
    fit = sum(weights.nbytes for weights in kept if weights is not None) <= CACHED_WEIGHT_BYTES
    return LANES if chunk > 1 or fit else MANY_LANES


def _population(population: Population, **places: int) -> _Population:
    fields: dict[str, object] = {
        "kind": next(number for kind, number in NATIVE.items() if isinstance(population, kind)),
        "size": population.size,
        "ports": population.ports,
        "widths": np.array(list(population.widths.values()), np.int32),
        **places,
    }
    vectors: list[np.ndarray] = [getattr(population, name) for name in population.parameters]
    if isinstance(population, Graded):
        fields |= {"shift": population.shift}
    if isinstance(population, SigmaDelta):
        fields |= {"relu": population.relu}
    elif isinstance(population, Table):
        fields |= {"exponent": population.exponent, "segments": len(population.values) - 1, "values": population.values}
    elif isinstance(population, Product):
        fields |= {name: getattr(population, name) for name in ("exponent", "shift_0", "shift_1")}
    elif isinstance(population, LIF):
        lowest = np.full(population.size, np.iinfo(np.int32).min, np.int32)
        low = population.vth_lo << ALIGNMENT if isinstance(population, TernaryLIF) else lowest
        bias = population.bias_mant << population.bias_exp
        keeps = [(1 - decay / (1 << DECAY_SHIFT)).astype(np.float32) for decay in (population.du + 1, population.dv)]
        vectors = [population.du + 1, *vectors[1:4], population.vth << ALIGNMENT, low, bias, *keeps]
        fields |= {"ternary": isinstance(population, TernaryLIF)}
        if isinstance(population, LIFReset):
            fields |= {name: getattr(population, name) for name in ("reset_interval", "reset_offset")}
    elif isinstance(population, Delta):
        fields |= {"shift": population.state_exp, "exponent": population.spike_exp + population.state_exp}
        fields |= {"cum_error": population.cum_error}
        fields |= {"relu": population.relu} if isinstance(population, LavaSigmaDelta) else {}
    elif isinstance(population, ProdNeuron):
        fields |= {"exponent": population.exponent}
    filling = _padded(population.size) - population.size
    fields |= {f"parameter_{i}": np.pad(vector, (0, filling)) for i, vector in enumerate(vectors)}
    return _Population(**fields)


def _places(network: Network, groups: list[list[str]]) -> tuple[dict[str, int], int]:
    """Return where native/spikes.c keeps each population's variables among its group's, and the most of a group."""
    places: dict[str, int] = {}
    most = 0
    for group in groups:
        *starts, end = _starts([VARIABLES * _padded(network.by_name[name].size) for name in group]).tolist()
        places |= dict(zip(group, starts, strict=True))
        most = max(most, end)
    return places, most


def _float_limits(network: Network, population: LIF) -> dict[str, int]:
    """Return how far from 0 what arrives, and what is given, may be where u and v are floats; -1 where they cannot be.

    Floats hold integers up to 2^24. Let u be less than 2^23; so it stays if what arrives makes up at most for what it
    loses. v is clipped to the same, and its bias is exact up to 2^24.
    """
    arriving = int((HALF_RANGE - 1) * (int(population.du.min()) + 1) >> DECAY_SHIFT + ALIGNMENT)
    most = np.zeros((2, population.size), np.int64)
    for part in network.synapses:
        if part.target == population.name:
            for sums, sign in zip(most, (1, -1), strict=True):
                reached = np.maximum(sign * part.weights.astype(np.int64), 0).sum(axis=1) << max(part.weight_exp, 0)
                sums += -(-reached >> max(-part.weight_exp, 0))
    given = (2 * HALF_RANGE >> population.bias_exp).astype(np.int64) - np.abs(population.bias_mant.astype(np.int64))
    fits = most.max() <= arriving and given.min() >= 0
    return {"most_arriving": arriving if fits else -1, "most_given": int(given.min()) if fits else -1}


def _sends_spikes(population: Population) -> bool:
    """Whether native/spikes.c knows a population: its messages are 0 and 1, or the host's."""
    return isinstance(population, Input) or (isinstance(population, LIF) and not isinstance(population, TernaryLIF))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _odd_blocks(numbers: int) -> int:
    """Return an odd number of blocks that has room: lanes that lie powers of 2 apart push each other out of caches."""
    return (-(-numbers // BLOCK) | 1) * BLOCK


def _starts(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.cumsum([0, *sizes])
