"""The simulator in C (``native/``): the integers of `nmbrl.targets.loihi.simulator`, lane by lane, event by event."""

import ctypes
from ctypes import POINTER, c_int32, c_int64, c_void_p
from functools import cache
from importlib.resources import files

import numpy as np

from nmbrl.targets.compiler import build_library
from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.limits import PRODUCT_BITS, STATE_BITS, SYNAPTIC_BITS, Integers
from nmbrl.targets.loihi.network import Input, Network, Population, Product, SigmaDelta, Synapses, Table
from nmbrl.targets.loihi.simulator import WidthError

# As in native/loihi.h.
BLOCK = 16
# Lanes that go through a step together: few, so that their state stays in the cache beside weights that fit there; many
# where weights do not, and are read anew for each group.
LANES, MANY_LANES = 16, 64
CACHED_WEIGHT_BYTES = 1 << 19
SCRATCH = 6
KINDS = (Input, SigmaDelta, Table, Product)
ONE_PORT = ("synaptic input 0", "accumulator 0", "", "", "accumulator and bias", "", "", "activation", "message")
TWO_PORTS = (
    "synaptic input 0",
    "accumulator 0",
    "synaptic input 1",
    "accumulator 1",
    "accumulator 0 and bias",
    "accumulator 1 and bias",
    "product",
    "activation",
    "message",
)


class _Structure(ctypes.Structure):
    """A structure of native/loihi.h that keeps the arrays it points to."""

    def __init__(self, **fields: object) -> None:
        self.kept = [value for value in fields.values() if isinstance(value, np.ndarray)]
        pointers = {name: v.ctypes.data for name, v in fields.items() if isinstance(v, np.ndarray)}
        super().__init__(**{**fields, **pointers})


class _Population(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("kind", "size", "ports", "neuron", "accumulator", "counter", "threshold")),
        *((name, c_int32) for name in ("message_bits", "shift", "relu", "exponent", "shift_0", "shift_1", "segments")),
        *((name, c_int32) for name in ("first_wire", "wires")),
        *((name, c_void_p) for name in ("bias_0", "bias_1", "values")),
    ]


class _Wire(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("targets", "accumulator", "target", "delay", "right_shift", "diagonal")),
        ("offset", c_int32),
        ("weights", c_void_p),
    ]


class _Network(_Structure):
    _fields_ = [
        *((name, c_int32) for name in ("populations", "neurons", "accumulators", "counters", "slots", "period")),
        ("lanes", c_int32),
        ("widest", c_int32),
        ("population", POINTER(_Population)),
        ("wire", POINTER(_Wire)),
    ]


class _Overflow(ctypes.Structure):
    _fields_ = [(name, c_int64) for name in ("step", "population", "variable", "amount")]


class _Widths(ctypes.Structure):
    _fields_ = [(name, c_int32) for name in ("synaptic", "state", "product")]


WIDTHS = _Widths(SYNAPTIC_BITS, STATE_BITS, PRODUCT_BITS)


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
        self._layout = _Layout(network)
        self._given = np.zeros(len(network.populations), np.uint8)
        self._scratch = np.zeros(self._layout.native.lanes * self._layout.scratch, np.int32)
        self._numbers = np.zeros((1, self._layout.stride), np.int32)
        self._stored = np.zeros((1, self._layout.native.slots * self._layout.native.accumulators), np.int32)
        self._arrived = np.zeros((1, self._layout.native.slots * len(network.populations)), np.uint8)
        self._behind = self._given.ctypes.data, self.activity.messages.ctypes.data
        self._widths = ctypes.byref(WIDTHS)
        self.batch = 1
        self._locate()
        self.run()
        self._settled = self._numbers.copy(), self._stored.copy(), self._arrived.copy()
        self.activity.clear()
        self.resize(batch)

    def resize(self, batch: int) -> None:
        """Use the first `batch` lanes; see `Simulator.resize`."""
        self.batch = batch
        missing = batch - len(self._numbers)
        if missing > 0:
            numbers, stored, arrived = self._settled
            self._numbers = np.concatenate([self._numbers, np.repeat(numbers, missing, axis=0)])
            self._stored = np.concatenate([self._stored, np.repeat(stored, missing, axis=0)])
            self._arrived = np.concatenate([self._arrived, np.repeat(arrived, missing, axis=0)])
            self._locate()

    def run(self, values: dict[str, Integers] | None = None, steps: int | None = None) -> None:
        """Run steps; see `Simulator.run`."""
        self._advance(values, self.network.steps if steps is None else steps, None)

    def step(self, values: dict[str, Integers] | None = None) -> dict[str, Integers]:
        """Run one step and return the messages (batch, size) of every population; see `Simulator.step`."""
        record = np.zeros((self.batch, self._layout.native.counters), np.int32)
        self._advance(values, 1, record)
        return {name: record[:, neurons] for name, neurons in self.activity.neurons.items()}

    def sent(self, name: str) -> Integers:
        """Return the value of a population: the sum (batch, size) of all it has sent."""
        return self._numbers[: self.batch, self._layout.sent[name]].copy()

    def _locate(self) -> None:
        """Look up where arrays are: that takes longer than a step."""
        arrays = self._numbers, self._stored, self._arrived, self._scratch
        self._before = ctypes.byref(self._layout.native), *(array.ctypes.data for array in arrays)

    def _advance(self, values: dict[str, Integers] | None, steps: int, record: np.ndarray | None) -> None:
        self._given.fill(0)
        for name, value in (values or {}).items():
            self._given[self._layout.index[name]] = 1
            self._numbers[: self.batch, self._layout.values[name]] = value
        found = _Overflow() if self.strict else None
        record_at = None if record is None else record.ctypes.data
        self._run(*self._before, self.time, self.batch, steps, *self._behind, record_at, self._widths, found)
        if found is not None and found.amount:
            raise self._error(found)
        self.activity.lane_steps += self.batch * steps
        self.time += steps

    def _error(self, found: _Overflow) -> WidthError:
        population = self.network.populations[found.population]
        variable = (TWO_PORTS if population.ports == 2 else ONE_PORT)[found.variable]
        bits = {"synaptic input 0": SYNAPTIC_BITS, "synaptic input 1": SYNAPTIC_BITS, "product": PRODUCT_BITS}
        width = population.message_bits if variable == "message" else bits.get(variable, STATE_BITS)
        return WidthError(population.name, variable, self.time + found.step, found.amount, width)


class _Layout:
    """A network as the structures of native/loihi.h, and where a lane's numbers are.

    Attributes:
        native: the network.
        stride: numbers of a lane.
        scratch: numbers that a lane needs while it runs.
        index: of each population.
        sent: place of each population's `sent` among a lane's numbers.
        values: the same of its values, where it is an input.
    """

    def __init__(self, network: Network) -> None:
        populations = network.populations
        self.index = {population.name: i for i, population in enumerate(populations)}
        sizes = [_padded(population.size) for population in populations]
        neurons = np.cumsum([0, *sizes])
        counters = np.cumsum([0, *(population.size for population in populations)])
        ports = [size * population.ports for size, population in zip(sizes, populations, strict=True)]
        accumulators = np.cumsum([0, *ports])
        self.accumulators = dict(zip(self.index, accumulators.tolist(), strict=False))
        wires = [self._wires(population, network) for population in populations]
        first = np.cumsum([0, *map(len, wires)])
        made = [
            _population(
                population,
                neuron=int(neurons[i]),
                accumulator=int(accumulators[i]),
                counter=int(counters[i]),
                first_wire=int(first[i]),
                wires=len(wires[i]),
            )
            for i, population in enumerate(populations)
        ]
        flat = [wire for group in wires for wire in group]
        slots = 2 + max((part.delay for part in network.synapses), default=0)
        # ctypes copies structures into an array: what they point to is kept here.
        self._kept = made, flat
        self.native = _Network(
            populations=len(populations),
            neurons=int(neurons[-1]),
            accumulators=int(accumulators[-1]),
            counters=int(counters[-1]),
            slots=slots,
            period=network.steps,
            lanes=LANES if sum(wire.kept[0].nbytes for wire in flat) <= CACHED_WEIGHT_BYTES else MANY_LANES,
            widest=max(sizes) + BLOCK,
            population=(_Population * len(made))(*made),
            wire=(_Wire * max(len(flat), 1))(*flat),
        )
        self.scratch = SCRATCH * self.native.widest + slots * int(accumulators[-1])
        self.stride = int(accumulators[-1] + 2 * neurons[-1])
        starts = accumulators[-1] + neurons
        places = {name: slice(int(starts[i]), int(starts[i]) + populations[i].size) for name, i in self.index.items()}
        self.sent = places
        behind = int(neurons[-1])
        self.values = {name: slice(place.start + behind, place.stop + behind) for name, place in places.items()}

    def _wires(self, source: Population, network: Network) -> list[_Wire]:
        by_name = network.by_name
        return [self._wire(part, by_name[part.target]) for part in network.synapses if part.source == source.name]

    def _wire(self, part: Synapses, target: Population) -> _Wire:
        # Shifting a sum left is shifting its terms; the largest, -256 << 7, just fits 16 bits.
        weights = part.weights << max(part.weight_exp, 0)
        offset = _diagonal(weights)
        size = _padded(target.size)
        return _Wire(
            targets=size if offset is None else target.size,
            accumulator=self.accumulators[target.name] + part.port * size,
            target=self.index[target.name],
            delay=part.delay,
            right_shift=max(-part.weight_exp, 0),
            diagonal=offset is not None,
            offset=offset or 0,
            weights=_pairs(weights, size) if offset is None else weights.sum(axis=1).astype(np.int16),
        )


def _population(population: Population, **places: int) -> _Population:
    fields: dict[str, object] = {
        "kind": next(index for index, kind in enumerate(KINDS) if isinstance(population, kind)),
        "size": population.size,
        "ports": population.ports,
        "threshold": population.threshold,
        "message_bits": population.message_bits,
        "shift": population.shift,
        **places,
    }
    if isinstance(population, SigmaDelta):
        fields |= {"relu": population.relu, "bias_0": population.bias}
    elif isinstance(population, Table):
        fields |= {"exponent": population.exponent, "segments": len(population.values) - 1}
        fields |= {"bias_0": population.bias, "values": population.values}
    elif isinstance(population, Product):
        fields |= {name: getattr(population, name) for name in ("exponent", "shift_0", "shift_1", "bias_0", "bias_1")}
    return _Population(**{k: np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()})


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


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
        *(POINTER(_Widths), POINTER(_Overflow)),
    ]
    return library
