"""The simulator in C (``native/``): the integers of `nmbrl.targets.loihi.simulator`, lane by lane, event by event."""

import ctypes
from collections.abc import Sequence
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
BLOCK = 16
# Lanes that go through a step together: few, so that their state stays in the cache beside weights that fit there; many
# where weights do not, and are read anew for each group.
LANES, MANY_LANES = 16, 64
CACHED_WEIGHT_BYTES = 1 << 19
SCRATCH = 6
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
        *((name, c_int32) for name in ("reset_interval", "reset_offset", "cum_error", "first_wire", "wires")),
        *((f"parameter_{index}", c_void_p) for index in range(6)),
        *((name, c_void_p) for name in ("values", "widths")),
    ]


class _Wire(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("targets", "port", "target", "delay", "right_shift", "diagonal")),
        *((name, c_int32) for name in ("offset", "binary")),
        ("weights", c_void_p),
    ]


class _Network(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("populations", "numbers", "ports", "counters", "rests", "slots", "period")),
        *((name, c_int32) for name in ("lanes", "scratch", "widest")),
        ("population", POINTER(_Population)),
        ("wire", POINTER(_Wire)),
    ]


class _Overflow(ctypes.Structure):
    _fields_ = [(name, c_int64) for name in ("step", "population", "variable", "amount")]


class CompiledSimulator:
    """A network's state in `batch` lanes; what it computes and counts is what `Simulator` does.

    Args:
        network: what to run.
        batch: number of lanes at first; see `resize`.
        strict: raise `WidthError` where a number is too wide for the chip, instead of computing on as Lava does.

    Raises:
        NmbrlError: if there is no C compiler, or it fails.
    """

    def __init__(self, network: Network, batch: int = 1, strict: bool = False) -> None:
        self.network, self.strict = network, strict
        self.time = 0
        self.activity = Activity(network)
        self._run = open_library().nmbrl_loihi_run
        self._layout = layout = _Layout(network)
        native = layout.native
        self._given = np.zeros(native.populations, np.uint8)
        self._scratch = np.zeros(native.lanes * native.scratch, np.int32)
        self._numbers = np.zeros((1, native.numbers), np.int32)
        self._stored = np.zeros((1, native.slots, native.ports), np.int32)
        self._arrived = np.zeros((1, native.slots, native.populations), np.uint8)
        self._behind = self._given.ctypes.data, self.activity.messages.ctypes.data
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
        self._advance(values, self.network.steps if steps is None else steps, None)

    def step(self, values: dict[str, Integers] | None = None) -> dict[str, Integers]:
        """Run one step and return the messages (batch, size) of every population; see `Simulator.step`."""
        record = np.zeros((self.batch, self._layout.native.counters), np.int32)
        self._advance(values, 1, record)
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
        if found.slot is None:
            self._numbers[: self.batch, found.numbers] = values
        else:
            self._stored[: self.batch, found.slot, found.numbers] = values
            self._arrived[: self.batch, found.slot, found.population] = 1

    def _point(self) -> None:
        """Look up where arrays are: that takes longer than a step."""
        arrays = self._numbers, self._stored, self._arrived, self._scratch
        self._before = ctypes.byref(self._layout.native), *(array.ctypes.data for array in arrays)

    def _advance(self, values: dict[str, Integers] | None, steps: int, record: np.ndarray | None) -> None:
        self._given.fill(0)
        for place, value in (values or {}).items():
            self._given[self._layout.find(place, GIVEN).population] = 1
            self.write(place, value)
        found = _Overflow() if self.strict else None
        record_at = None if record is None else record.ctypes.data
        self._run(*self._before, self.time, self.batch, steps, *self._behind, record_at, found)
        if found is not None and found.amount:
            population = self.network.populations[found.population]
            variable, bits = list(population.widths.items())[found.variable]
            raise WidthError(population.name, variable, self.time + found.step, found.amount, bits)
        self.activity.lane_steps += self.batch * steps
        self.time += steps


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
    """

    def __init__(self, network: Network) -> None:
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
            numbers=int(states[-1]),
            ports=int(ports[-1]),
            counters=int(counters[-1]),
            rests=network.rests,
            slots=slots,
            period=network.steps,
            lanes=LANES if sum(wire.kept[0].nbytes for wire in flat) <= CACHED_WEIGHT_BYTES else MANY_LANES,
            scratch=slots * int(ports[-1]) + SCRATCH * widest + _padded(slots * len(populations)),
            widest=widest,
            population=(_Population * len(made))(*made),
            wire=(_Wire * max(len(flat), 1))(*flat),
        )

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
        # Shifting a sum left is shifting its terms; the largest, -256 << 7, just fits 16 bits.
        weights = part.weights << max(part.weight_exp, 0)
        offset = _diagonal(weights)
        size = _padded(target.size)
        return _Wire(
            targets=size if offset is None else target.size,
            port=self._places[index][1] + part.port * size,
            target=index,
            delay=part.delay,
            right_shift=max(-part.weight_exp, 0),
            diagonal=offset is not None,
            offset=offset or 0,
            binary=part.binary,
            weights=_pairs(weights, size) if offset is None else weights.sum(axis=1).astype(np.int16),
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
        vectors = [population.du + 1, *vectors[1:4], population.vth << ALIGNMENT, low]
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


def _starts(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.cumsum([0, *sizes])


def _diagonal(weights: Integers) -> int | None:
    """Return source minus target where that is the same for all weights that are not 0; None if it is not."""
    targets, sources = np.nonzero(weights)
    offsets = np.unique(sources - targets)
    return int(offsets[0]) if len(offsets) == 1 else None


def _pairs(weights: Integers, size: int) -> np.ndarray:
    """Lay weights (targets, sources) out as (pairs of sources, `size` targets, 2), filled up with 0."""
    targets, sources = weights.shape
    filled = np.zeros((size, sources + sources % 2), np.int16)
    filled[:targets, :sources] = weights
    return np.ascontiguousarray(filled.reshape(size, -1, 2).transpose(1, 0, 2))


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
    # NumPy's integers wrap.
    library = ctypes.CDLL(str(build_library(sources, ("-fwrapv", *flags))))
    run = library.nmbrl_loihi_run
    run.restype = None
    run.argtypes = [
        *(POINTER(_Network), c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64),
        *(c_void_p, c_void_p, c_void_p),
        POINTER(_Overflow),
    ]
    return library
