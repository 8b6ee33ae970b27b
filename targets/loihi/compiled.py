"""The simulator in C (``native/``): the integers of `nmbrl.targets.loihi.simulator`, lane by lane, event by event."""

import ctypes
import platform
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, c_int64, c_void_p
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.compiler import build_library
from nmbrl.targets.loihi.activity import Activity
from nmbrl.targets.loihi.layout import EVENT_LANES, Given, Layout, NativeNetwork, Overflow, align, make_zeros
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import GIVEN, Network
from nmbrl.targets.loihi.simulator import WidthError


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
        self._layout = layout = Layout(
            network,
            matrices=bool(library.nmbrl_loihi_has_matrices()),
            tables=bool(library.nmbrl_loihi_has_tables()),
            fours=bool(library.nmbrl_loihi_has_fours()),
        )
        native = layout.native
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._workers = [_Worker(layout, self.activity.messages.shape) for _ in range(threads)]
        # The first counts where the activity does.
        self._workers[0].counts = self.activity.messages
        self._numbers = align(np.zeros((1, native.numbers), np.int32))
        self._stored = align(np.zeros((1, native.stored, native.ports), np.int32))
        self._arrived = np.zeros((1, native.stored, native.populations), np.uint8)
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
            self._numbers = align(np.concatenate([self._numbers, np.repeat(numbers, missing, axis=0)]))
            self._stored = align(np.concatenate([self._stored, np.repeat(stored, missing, axis=0)]))
            self._arrived = np.concatenate([self._arrived, np.repeat(arrived, missing, axis=0)])
            self._point()

    def keep(self, lanes: NDArray[np.bool_]) -> None:
        """Go on in some lanes only; see `Simulator.keep`."""
        order = np.argsort(~lanes, kind="stable")
        for array in (self._numbers, self._stored, self._arrived):
            array[: self.batch] = array[order]
        self.resize(int(lanes.sum()))

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
        self._addresses = [array.ctypes.data for array in (self._numbers, self._stored, self._arrived)]

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
            shape = len(value), self.batch, size
            full = value if value.shape == shape else np.broadcast_to(value, shape)
            kept.append(np.ascontiguousarray(full, np.int32))
            given.append(Given(found.population, found.numbers.start, size, kept[-1].ctypes.data))
            rows = len(value)
        host = (Given * len(given))(*given) if given else None
        overflows = [Overflow() if self.strict else None for _ in self._workers]
        threads = len(self._workers)
        share, taken = -(-self.batch // threads), (c_int64 * threads)()
        if threads > 1 and self._layout.native.events and not self._layout.native.spikes:
            # Few lanes go through all steps at a time here, so a thread that is faster helps others out.
            share = min(share, EVENT_LANES)

        def run(worker: int) -> None:
            own = self._workers[worker]
            self._native_run(
                self._layout.reference,
                *self._addresses,
                own.scratch.ctypes.data,
                self.time,
                self.batch,
                steps,
                host,
                len(given),
                rows,
                own.counts.ctypes.data,
                None if record is None else record.ctypes.data,
                overflows[worker],
                share,
                worker,
                threads,
                taken,
            )

        if self._pool is None:
            run(0)
        else:
            others = [self._pool.submit(run, worker) for worker in range(1, len(self._workers))]
            run(0)
            for other in others:
                other.result()
            for worker in self._workers[1:]:
                self.activity.messages += worker.counts
                worker.counts[:] = 0
        self._raise_first([found for found in overflows if found is not None and found.amount])
        self.activity.lane_steps += self.batch * steps
        self.time += steps

    def _raise_first(self, overflows: list[Overflow]) -> None:
        """Raise the earliest overflow; of the same number, the farthest."""
        if overflows:
            found = min(overflows, key=lambda f: (f.step, f.population, f.variable, -f.amount))
            population = self.network.populations[found.population]
            variable, bits = list(population.widths.items())[found.variable]
            raise WidthError(population.name, variable, self.time + found.step, found.amount, bits)


class _Worker:
    """What a thread needs for itself: scratch memory, and counts of messages."""

    def __init__(self, layout: Layout, counts: tuple[int, ...]) -> None:
        self.scratch = make_zeros(4 * layout.scratch)
        self.counts = np.zeros(counts, np.int64)


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
        *(POINTER(NativeNetwork), c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64),
        *(POINTER(Given), c_int64, c_int64, c_void_p, c_void_p, POINTER(Overflow)),
        *(c_int64, c_int64, c_int64, POINTER(c_int64)),
    ]
    return library
