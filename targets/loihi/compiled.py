"""The simulator in C (``native/``): the integers of `nmbrl.targets.loihi.simulator`, lane by lane, event by event."""

import ctypes
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from nmbrl.targets.compiler import build_library
from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.graded import Graded
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import (
    ARRIVING,
    GIVEN,
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
from nmbrl.targets.loihi.simulator import WidthError
from nmbrl.targets.loihi.spiking import ALIGNMENT

# As in native/loihi.h.
BLOCK, SCRATCH, MOST_LANES, LANES_AT_ONCE = 16, 5, 64, 32
# Lanes that go through a step together: few, so that their state stays in the cache beside weights that fit there; many
# where weights do not, and are read anew for each group.
LANES, MANY_LANES = 16, 64
CACHED_WEIGHT_BYTES = 1 << 19
# A tile of weights, in bytes: 16 rows for four sources each, in each four bytes for 16 targets.
TILE_SOURCES, TILE_TARGETS = 64, 16
# `enum form`
WORDS, SIGNED_BYTES, BYTES = range(3)
# `enum kind`; a subclass that has a number of its own before its base.
NATIVE = {
    **{Input: 0, SigmaDelta: 1, Table: 2, Product: 3, LIF: 4},
    **{LavaSigmaDelta: 7, Delta: 5, Sigma: 6, ProdNeuron: 8},
}


class _Structure(ctypes.Structure):
    """A structure of native/loihi.h that keeps the arrays it points to."""

    def __init__(self, **fields: object) -> None:
        self.kept = [value for value in fields.values() if isinstance(value, np.ndarray)]
        pointers = {name: v.ctypes.data for name, v in fields.items() if isinstance(v, np.ndarray)}
        super().__init__(**{**fields, **pointers})


class _Population(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("kind", "size", "ports", "state", "port", "counter", "shift")),
        *((name, c_int32) for name in ("relu", "exponent", "shift_0", "shift_1", "segments")),
        *((name, c_int32) for name in ("reset_interval", "reset_offset", "cum_error", "takes")),
        *((name, c_int32) for name in ("first_wire", "wires")),
        *((f"parameter_{index}", c_void_p) for index in range(7)),
        *((name, c_void_p) for name in ("values", "widths")),
    ]


class _Wire(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("targets", "port", "target", "delay", "factor", "right_shift", "diagonal")),
        *((name, c_int32) for name in ("offset", "binary", "form")),
        *((name, c_void_p) for name in ("weights", "tiles")),
    ]


class _Network(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("populations", "numbers", "ports", "counters", "rests", "slots", "period")),
        *((name, c_int32) for name in ("matrices", "lanes", "scratch", "widest")),
        ("population", POINTER(_Population)),
        ("wire", POINTER(_Wire)),
    ]


class _Given(ctypes.Structure):
    _fields_ = [(name, c_int64) for name in ("population", "first", "size", "values")]


class _Overflow(ctypes.Structure):
    _fields_ = [(name, c_int64) for name in ("step", "population", "variable", "amount")]


class CompiledSimulator:
    """A network's state in `batch` lanes; what it computes and counts is what `Simulator` does.

    Args:
        network: what to run.
        batch: number of lanes at first; see `resize`.
        strict: raise `WidthError` where a number is too wide for the chip, instead of computing on as Lava does.
        threads: that share the lanes.

    Raises:
        NmbrlError: if there is no C compiler, or it fails.
    """

    def __init__(self, network: Network, batch: int = 1, strict: bool = False, threads: int = 1) -> None:
        self.network, self.strict = network, strict
        self.time = 0
        self.activity = Activity(network)
        library = open_library()
        self._native_run = library.nmbrl_loihi_run
        self._layout = layout = _Layout(network, bool(library.nmbrl_loihi_has_matrices()))
        native = layout.native
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._workers = [_Worker(layout, self.activity.messages.shape) for _ in range(threads)]
        # The first counts where the activity does.
        self._workers[0].counts = self.activity.messages
        self._numbers = np.zeros((1, native.numbers), np.int32)
        self._stored = np.zeros((1, native.slots, native.ports), np.int32)
        self._arrived = np.zeros((1, native.slots, native.populations), np.uint8)
        self.batch = 1
        self._point()
        if network.rests:
            self.run()
            self.activity.clear()
        self._first = self._numbers.copy(), self._stored.copy(), self._arrived.copy()
        self.resize(batch)

    def resize(self, batch: int) -> None:
        """Use the first `batch` lanes; see `Simulator.resize`."""
        self.batch = batch
        missing = batch - len(self._numbers)
        if missing > 0:
            numbers, stored, arrived = self._first
            self._numbers = np.concatenate([self._numbers, np.repeat(numbers, missing, axis=0)])
            self._stored = np.concatenate([self._stored, np.repeat(stored, missing, axis=0)])
            self._arrived = np.concatenate([self._arrived, np.repeat(arrived, missing, axis=0)])
            self._point()

    def run(self, values: dict[str, Integers] | None = None, steps: int | None = None) -> None:
        """Run steps; see `Simulator.run`."""
        given = {place: value[None] for place, value in (values or {}).items()}
        self._advance(given, self.network.steps if steps is None else steps)

    def play(self, values: dict[str, Integers]) -> None:
        """Run a step for each of some rows of values; see `Simulator.play`."""
        self._advance(values, len(next(iter(values.values()))))

    def step(self, values: dict[str, Integers] | None = None) -> dict[str, Integers]:
        """Run one step and return the messages (batch, size) of every population; see `Simulator.step`."""
        record = np.zeros((self.batch, self._layout.native.counters), np.int32)
        self._advance({place: value[None] for place, value in (values or {}).items()}, 1, record)
        return {name: record[:, neurons] for name, neurons in self.activity.neurons.items()}

    def read(self, place: str) -> Integers:
        """Return a variable (batch, size); see `Simulator.read`."""
        found = self._layout.find(place, "")
        if found.slot is None:
            return self._numbers[: self.batch, found.numbers].copy()
        arrived = self._arrived[: self.batch, found.slot, found.population, None]
        return np.where(arrived, self._stored[: self.batch, found.slot, found.numbers], 0)

    def write(self, place: str, values: Integers) -> None:
        """Set a variable (batch, size); see `Simulator.write`."""
        found = self._layout.find(place, GIVEN)
        self._layout.native.population[found.population].takes = True
        if found.slot is None:
            self._numbers[: self.batch, found.numbers] = values
        else:
            self._stored[: self.batch, found.slot, found.numbers] = values
            self._arrived[: self.batch, found.slot, found.population] = 1

    def _point(self) -> None:
        """Look up where arrays are: that takes longer than a step."""
        self._arrays = [(array.ctypes.data, array.strides[0]) for array in (self._numbers, self._stored, self._arrived)]

    def _advance(self, values: dict[str, Integers], steps: int, record: np.ndarray | None = None) -> None:
        """Run steps with rows (rows, batch, size) of values for the first of them."""
        kept, given, rows = [], [], 0
        for place, value in values.items():
            found = self._layout.find(place, GIVEN)
            self._layout.native.population[found.population].takes = True
            if found.slot is not None:
                self.write(place, value[0])
                continue
            size = found.numbers.stop - found.numbers.start
            kept.append(np.ascontiguousarray(np.broadcast_to(value, (len(value), self.batch, size)), np.int32))
            given.append((found.population, found.numbers.start, size, kept[-1].ctypes.data))
            rows = len(value)
        host = (_Given * len(given))(*given) if given else None
        overflows = [_Overflow() if self.strict else None for _ in self._workers]
        share = -(-self.batch // len(self._workers))

        def run(worker: int) -> None:
            first, lanes = worker * share, min(share, self.batch - worker * share)
            if lanes > 0:
                self._run(worker, first, lanes, steps, host, len(given), rows, record, overflows[worker])

        if self._pool is None:
            run(0)
        else:
            list(self._pool.map(run, range(len(self._workers))))
            for worker in self._workers[1:]:
                self.activity.messages += worker.counts
                worker.counts[:] = 0
        self._raise_first([found for found in overflows if found is not None and found.amount])
        self.activity.lane_steps += self.batch * steps
        self.time += steps

    def _run(
        self,
        worker: int,
        first: int,
        lanes: int,
        steps: int,
        host: "ctypes.Array[_Given] | None",
        hosts: int,
        rows: int,
        record: np.ndarray | None,
        found: _Overflow | None,
    ) -> None:
        """Run `lanes` lanes from the `first` on."""
        own = self._workers[worker]
        if first and host is not None:
            shifted = [(g.population, g.first, g.size, g.values + 4 * first * g.size) for g in host]
            host = (_Given * hosts)(*shifted)
        self._native_run(
            self._layout.reference,
            *(address + first * stride for address, stride in self._arrays),
            own.scratch.ctypes.data,
            self.time,
            lanes,
            steps,
            host,
            hosts,
            rows,
            self.batch,
            own.counts.ctypes.data,
            None if record is None else record.ctypes.data + first * record.strides[0],
            found,
        )

    def _raise_first(self, overflows: list[_Overflow]) -> None:
        """Raise the earliest overflow; of the same number, the farthest."""
        if overflows:
            found = min(overflows, key=lambda f: (f.step, f.population, f.variable, -f.amount))
            population = self.network.populations[found.population]
            variable, bits = list(population.widths.items())[found.variable]
            raise WidthError(population.name, variable, self.time + found.step, found.amount, bits)


class _Worker:
    """What a thread needs for itself: scratch memory, and counts of messages."""

    def __init__(self, layout: "_Layout", counts: tuple[int, ...]) -> None:
        self.scratch = np.zeros(layout.scratch, np.int32)
        self.counts = np.zeros(counts, np.int64)


@dataclass(frozen=True)
class _Found:
    """Where a variable is: of the `population`-th, `numbers` of a lane, or of what is under way in a slot."""

    population: int
    numbers: slice
    slot: int | None = None


class _Layout:
    """A network as the structures of native/loihi.h.

    Attributes:
        native: the network.
        reference: to it.
        scratch: numbers of scratch memory.
    """

    def __init__(self, network: Network, matrices: bool) -> None:
        self._matrices = matrices
        populations = network.populations
        self.network = network
        self._index = {population.name: i for i, population in enumerate(populations)}
        sizes = np.array([_padded(population.size) for population in populations])
        states = _starts(sizes * [len(population.variables) for population in populations])
        ports = _starts(sizes * [population.ports for population in populations])
        counters = _starts([population.size for population in populations])
        self._places = list(zip(states.tolist(), ports.tolist(), strict=True))
        self._found: dict[tuple[str, str], _Found] = {}
        wires = [self._wires(population) for population in populations]
        first = _starts([len(group) for group in wires])
        flat = [wire for group in wires for wire in group]
        made = [
            _population(
                population,
                state=int(states[i]),
                port=int(ports[i]),
                counter=int(counters[i]),
                first_wire=int(first[i]),
                wires=len(wires[i]),
            )
            for i, population in enumerate(populations)
        ]
        slots = 2 + max((part.delay for part in network.synapses), default=0)
        widest = int(sizes.max()) + BLOCK
        # ctypes copies structures into an array: what they point to is kept here.
        self._kept = made, flat
        self.native = _Network(
            populations=len(populations),
            numbers=_odd_blocks(int(states[-1])),
            ports=int(ports[-1]),
            counters=int(counters[-1]),
            rests=network.rests,
            slots=slots,
            period=network.steps,
            matrices=any(wire.tiles for wire in flat),
            lanes=self._lanes(flat),
            scratch=_odd_blocks(slots * int(ports[-1]) + SCRATCH * widest + _padded(slots * len(populations))),
            widest=widest,
            population=(_Population * len(made))(*made),
            wire=(_Wire * max(len(flat), 1))(*flat),
        )
        self.reference = ctypes.byref(self.native)
        shared = widest * (1 + 2 * LANES_AT_ONCE) + _padded(len(populations)) + MOST_LANES * (widest + 64) // 2
        self.scratch = self.native.lanes * self.native.scratch + shared

    def _lanes(self, wires: list[_Wire]) -> int:
        if any(wire.tiles for wire in wires):
            return LANES_AT_ONCE
        return LANES if sum(wire.kept[0].nbytes for wire in wires) <= CACHED_WEIGHT_BYTES else MANY_LANES

    def find(self, place: str, variable: str) -> _Found:
        """Return where a variable is; see `Network.locate`."""
        found = self._found.get((place, variable))
        if found is None:
            found = self._found[place, variable] = self._find(*self.network.locate(place, variable))
        return found

    def _find(self, name: str, variable: str) -> _Found:
        index = self._index[name]
        population, (state, port) = self.network.populations[index], self._places[index]
        if variable.startswith(ARRIVING):
            return _Found(index, slice(port, port + population.size), int(variable[len(ARRIVING) :] or 0))
        start = state + population.variables.index(variable) * _padded(population.size)
        return _Found(index, slice(start, start + population.size))

    def _wires(self, source: Population) -> list[_Wire]:
        parts = [part for part in self.network.synapses if part.source == source.name]
        return [self._wire(part, self._index[part.target]) for part in sorted(parts, key=lambda part: part.binary)]

    def _wire(self, part: Synapses, index: int) -> _Wire:
        target = self.network.populations[index]
        offset, size = _diagonal(part.weights), _padded(target.size)
        common = {
            "port": self._places[index][1] + part.port * size,
            "target": index,
            "delay": part.delay,
            "right_shift": max(-part.weight_exp, 0),
            "binary": part.binary,
        }
        if offset is not None:
            # Shifting a sum left is shifting its terms; the largest, -256 << 7, just fits 16 bits.
            weights = (part.weights << max(part.weight_exp, 0)).sum(axis=1).astype(np.int16)
            return _Wire(**common, targets=target.size, diagonal=True, offset=offset, weights=weights)
        form, weights, factor = _compress(part.weights)
        tiles = self._matrices and form != WORDS and min(weights.shape) >= TILE_TARGETS
        return _Wire(
            **common,
            targets=size,
            factor=factor << max(part.weight_exp, 0),
            form=form,
            weights=_pairs(weights, size),
            **({"tiles": _tiles(weights, size)} if tiles else {}),
        )


def _population(population: Population, **places: int) -> _Population:
    fields: dict[str, object] = {
        "kind": next(number for kind, number in NATIVE.items() if isinstance(population, kind)),
        "size": population.size,
        "ports": population.ports,
        "widths": np.array(list(population.widths.values()), np.int32),
        **places,
    }
    vectors = [getattr(population, name) for name in population.parameters]
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
        zeros = np.zeros(population.size, np.int32)
        vectors = [population.du + 1, *vectors[1:4], population.vth << ALIGNMENT, low, zeros]
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
    return _Population(**{k: np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()})


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _odd_blocks(numbers: int) -> int:
    """Return an odd number of blocks that has room: lanes that lie powers of 2 apart push each other out of caches."""
    return (-(-numbers // BLOCK) | 1) * BLOCK


def _starts(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.cumsum([0, *sizes])


def _diagonal(weights: Integers) -> int | None:
    """Return source minus target where that is the same for all weights that are not 0; None if it is not."""
    targets, sources = np.nonzero(weights)
    offsets = np.unique(sources - targets)
    return int(offsets[0]) if len(offsets) == 1 else None


def _compress(weights: Integers) -> tuple[int, np.ndarray, int]:
    """Return the form in which weights take the fewest bytes, the weights in it, and by what to multiply them."""
    bits = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    shift = (bits & -bits).bit_length() - 1 if bits else 0
    shifted = weights >> shift
    low, high = int(shifted.min()), int(shifted.max())
    if low >= -128 and high <= 127:
        return SIGNED_BYTES, shifted.astype(np.int8), 1 << shift
    if low >= 0 or high <= 0:
        return BYTES, np.abs(shifted).astype(np.uint8), (1 if low >= 0 else -1) << shift
    return WORDS, shifted.astype(np.int16), 1 << shift


def _pairs(weights: np.ndarray, size: int) -> np.ndarray:
    """Lay weights (targets, sources) out as (pairs of sources, `size` targets, 2), filled up with 0."""
    targets, sources = weights.shape
    filled = np.zeros((size, sources + sources % 2), weights.dtype)
    filled[:targets, :sources] = weights
    return np.ascontiguousarray(filled.reshape(size, -1, 2).transpose(1, 0, 2))


def _tiles(weights: np.ndarray, size: int) -> np.ndarray:
    """Lay weights (targets, sources) out as (tiles of targets, tiles of sources, fours of sources, targets, 4)."""
    targets, sources = weights.shape
    depth = -(-sources // TILE_SOURCES)
    filled = np.zeros((size, depth * TILE_SOURCES), weights.dtype)
    filled[:targets, :sources] = weights
    fours = filled.reshape(size // TILE_TARGETS, TILE_TARGETS, depth, TILE_SOURCES // 4, 4)
    return np.ascontiguousarray(fours.transpose(0, 2, 3, 1, 4))


@cache
def open_library(flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Build or find the library.

    Args:
        flags: further compiler flags.

    Raises:
        NmbrlError: if there is no C compiler, or it fails.
    """
    folder = files("nmbrl.targets.loihi") / "native"
    sources = {path.name: path.read_text() for path in folder.iterdir() if path.name.endswith((".c", ".h"))}
    # NumPy's integers wrap; compilers take shorter vectors than there are unless they are told.
    wide = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()
    library = ctypes.CDLL(str(build_library(sources, ("-fwrapv", *wide, *flags))))
    run = library.nmbrl_loihi_run
    run.restype = None
    run.argtypes = [
        *(POINTER(_Network), c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64),
        *(POINTER(_Given), c_int64, c_int64, c_int64, c_void_p, c_void_p, POINTER(_Overflow)),
    ]
    return library
