"""What a decision costs where no meter is attached: counts times published constants, each with its source and range.

Nothing here is a measurement of this project. An estimate is dynamic energy only, unless it says otherwise, and every
estimate names what it leaves out. A count of instructions or operations is never turned into a time here; the times
that are published for Loihi's operations are in `nmbrl.targets.loihi.latency`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from nmbrl.targets.interface import Frozen

PICO = 1e-12
NANO = 1e-9
MICRO = 1e-6

DAVIES = (
    "Davies et al. 2018, Loihi: a neuromorphic manycore processor with on-chip learning, IEEE Micro 38(1), Table 2 "
    "(pre-silicon simulation at 0.75 V)"
)
SANA_FE = (
    "SANA-FE, arch/loihi.yaml, github.com/SLAM-Lab/SANA-FE (fitted to Loihi 1 hardware; its authors report errors of "
    "up to 11.7 % in energy)"
)
_KERAS_SPIKING = "KerasSpiking, keras_spiking/model_energy.py, github.com/nengo/keras-spiking"
KERAS_SPIKING = f"{_KERAS_SPIKING} (Intel i7-4960X)"
KERAS_SPIKING_LOIHI = f"{_KERAS_SPIKING} (its row for Loihi, from Davies et al. 2018)"
MLPERF_TINY = "MLPerf Tiny, anomaly detection, measured by the submitters, mlcommons.org/benchmarks/inference-tiny"


class Estimate(Frozen):
    """An energy that was computed, not measured.

    Attributes:
        name: which constants, in a few words.
        joules: the estimate, J.
        low: lower end of its range, J.
        high: upper end of its range, J.
        source: publication that the constants are from.
        range_of: what varies between `low` and `high`.
        leaves_out: what the estimate does not contain.
    """

    name: str
    joules: float
    low: float | None = None
    high: float | None = None
    source: str
    range_of: str = ""
    leaves_out: str


class Board(NamedTuple):
    """A measured MLPerf Tiny anomaly-detection result: microjoules an inference of `MLPERF_TINY_MACS`."""

    name: str
    microjoules: float


MLPERF_TINY_MACS = 264_192
TFLM_BOARD = Board("STM32L4R5 (Cortex-M4), TensorFlow Lite Micro reference, round 0.5", 416.3)
BOARDS = (
    TFLM_BOARD,
    Board("STM32L4R5 (Cortex-M4), X-CUBE-AI, round 1.2", 203.4),
    Board("STM32H7A3 (Cortex-M7), X-CUBE-AI, round 1.2", 165.7),
    Board("STM32U575 (Cortex-M33), X-CUBE-AI, round 1.2", 81.9),
    Board("STM32U575 (Cortex-M33), X-CUBE-AI, round 1.3", 77.2),
    Board("STM32U385 (Cortex-M33), X-CUBE-AI, round 1.3", 31.8),
)


def microcontroller(macs: float) -> Estimate:
    """Estimate the energy of `macs` int8 multiply-accumulates on a Cortex-M, from energy a MAC of a dense network.

    The estimate is for the board that ran TensorFlow Lite Micro; the range is over all `BOARDS`.
    """
    joules = [macs / MLPERF_TINY_MACS * board.microjoules * MICRO for board in BOARDS]
    return Estimate(
        name="Cortex-M4, TensorFlow Lite Micro",
        joules=joules[BOARDS.index(TFLM_BOARD)],
        low=min(joules),
        high=max(joules),
        source=f"{MLPERF_TINY}: {TFLM_BOARD.name}",
        range_of="six results, Cortex-M4, M7 and M33, from 120 to 1,576 pJ/MAC",
        leaves_out="the planner and the state update between calls, sensors and actuators, sleep between decisions; "
        "elementwise operations count as far as the benchmark's network has them",
    )


# Davies et al. 2018, Table 2, in joules.
LOIHI_SYNAPTIC_OPERATION = 23.6 * PICO
LOIHI_NEURON_UPDATE_ACTIVE = 81 * PICO
LOIHI_NEURON_UPDATE_INACTIVE = 52 * PICO
LOIHI_SPIKE_IN_TILE = 1.7 * PICO
LOIHI_HOP_EAST_WEST = 3.0 * PICO
LOIHI_HOP_NORTH_SOUTH = 4.0 * PICO

# SANA-FE arch/loihi.yaml, in joules; a hop costs 3.0 to 4.2 pJ there.
SANA_FE_SYNAPSE_DENSE = 35.5 * PICO
SANA_FE_SYNAPSE_SPARSE = 33.6 * PICO
SANA_FE_SOMA_ACCESS = 51.2 * PICO
SANA_FE_SOMA_UPDATE = 21.6 * PICO
SANA_FE_SPIKE = 69.3 * PICO
SANA_FE_AXON_OUT = 111 * PICO
SANA_FE_HOP_EAST_WEST = 3.0 * PICO
SANA_FE_HOP_NORTH_SOUTH = 4.2 * PICO

# KerasSpiking's row for Loihi takes Davies' energy for the synapse and 3.5 pJ more for each operation.
KERAS_SPIKING_LOIHI_SYNAPTIC_OPERATION = (23.6 + 3.5) * PICO
KERAS_SPIKING_LOIHI_NEURON_UPDATE = 81 * PICO

_LOIHI_LEAVES_OUT = (
    "static power (about 104 mW a Loihi 1 chip, derived from Frady et al. 2020), barrier synchronisation, embedded "
    "x86 processors, spikes to and from the host"
)


LOIHI_COUNTS = ("synaptic_operations", "neuron_updates", "messages", "packets", "hops_east_west", "hops_north_south")


def loihi(counts: Mapping[str, float]) -> tuple[Estimate, ...]:
    """Estimate the energy of counted events by each published model of Loihi 1.

    No energy of a single operation is published for Loihi 2, so its networks are priced with Loihi 1's constants too.

    Args:
        counts: by the names of `LOIHI_COUNTS`; see `nmbrl.targets.loihi.executor.LoihiExecutor`.
    """
    return _published(counts), _fitted(counts), _keras_spiking(counts)


def _published(counts: Mapping[str, float]) -> Estimate:
    synaptic, updates, messages, packets, east_west, north_south = (counts[name] for name in LOIHI_COUNTS)
    rest = (
        synaptic * LOIHI_SYNAPTIC_OPERATION
        + packets * LOIHI_SPIKE_IN_TILE
        + east_west * LOIHI_HOP_EAST_WEST
        + north_south * LOIHI_HOP_NORTH_SOUTH
    )
    # A neuron that sends was active; of the others it is not known.
    inactive = max(updates - messages, 0)
    high = rest + updates * LOIHI_NEURON_UPDATE_ACTIVE
    return Estimate(
        name="Loihi 1 constants, published",
        joules=high,
        low=high - inactive * (LOIHI_NEURON_UPDATE_ACTIVE - LOIHI_NEURON_UPDATE_INACTIVE),
        high=high,
        source=DAVIES,
        range_of="neuron updates active only where a message is sent; to all of them active",
        leaves_out=f"{_LOIHI_LEAVES_OUT}; the synaptic operation is the published minimum",
    )


def _fitted(counts: Mapping[str, float]) -> Estimate:
    synaptic, updates, messages, packets, east_west, north_south = (counts[name] for name in LOIHI_COUNTS)
    rest = (
        updates * SANA_FE_SOMA_ACCESS
        + messages * SANA_FE_SPIKE
        + packets * SANA_FE_AXON_OUT
        + east_west * SANA_FE_HOP_EAST_WEST
        + north_south * SANA_FE_HOP_NORTH_SOUTH
    )
    high = rest + synaptic * SANA_FE_SYNAPSE_DENSE + updates * SANA_FE_SOMA_UPDATE
    return Estimate(
        name="Loihi 1 constants, fitted",
        joules=high,
        low=rest + synaptic * SANA_FE_SYNAPSE_SPARSE + min(updates, messages) * SANA_FE_SOMA_UPDATE,
        high=high,
        source=SANA_FE,
        range_of="sparse synapses, neurons updated only where a message is sent; to dense synapses, all updated",
        leaves_out=_LOIHI_LEAVES_OUT,
    )


def _keras_spiking(counts: Mapping[str, float]) -> Estimate:
    synapses = counts["synaptic_operations"] * KERAS_SPIKING_LOIHI_SYNAPTIC_OPERATION
    return Estimate(
        name="Loihi 1 constants, KerasSpiking",
        joules=synapses + counts["neuron_updates"] * KERAS_SPIKING_LOIHI_NEURON_UPDATE,
        source=KERAS_SPIKING_LOIHI,
        leaves_out=f"{_LOIHI_LEAVES_OUT}, spikes on the mesh",
    )


KERAS_SPIKING_CPU = 8.6 * NANO


def desktop_processor(macs: float) -> Estimate:
    """Price multiply-accumulates with the only cited figure for a desktop processor, made for spiking networks."""
    return Estimate(
        name="desktop CPU, cited",
        joules=macs * KERAS_SPIKING_CPU,
        source=KERAS_SPIKING,
        leaves_out="idle power, memory beyond the caches, the framework's overhead; not this machine",
    )


def estimates(target: str, macs: float, counts: Mapping[str, float]) -> tuple[Estimate, ...]:
    """Return a target's energy estimates for `macs` multiply-accumulates and `counts` of events, the main one first.

    Args:
        target: name of a target or of the executor that stood in for it; others than those known here have none.
        macs: multiply-accumulates, dense.
        counts: events counted by the executor; see `loihi`.
    """
    if "synaptic_operations" in counts:
        return loihi(counts)
    if target in ("tflite", "c"):
        return (microcontroller(macs),)
    if target in ("pytorch", "onnx"):
        return (desktop_processor(macs),)
    return ()


class Constant(NamedTuple):
    """A published figure as the documentation lists it: what it prices, joules, and the publication."""

    name: str
    joules: float
    source: str


# Every constant that an energy of this module rests on; docs/costs.md is made of it.
CONSTANTS = (
    *(
        Constant(f"int8 multiply-accumulate, {board.name}", board.microjoules * MICRO / MLPERF_TINY_MACS, MLPERF_TINY)
        for board in BOARDS
    ),
    Constant("float multiply-accumulate, desktop processor", KERAS_SPIKING_CPU, KERAS_SPIKING),
    Constant("synaptic operation", LOIHI_SYNAPTIC_OPERATION, DAVIES),
    Constant("neuron update, active", LOIHI_NEURON_UPDATE_ACTIVE, DAVIES),
    Constant("neuron update, inactive", LOIHI_NEURON_UPDATE_INACTIVE, DAVIES),
    Constant("spike within a tile", LOIHI_SPIKE_IN_TILE, DAVIES),
    Constant("hop to the east or west", LOIHI_HOP_EAST_WEST, DAVIES),
    Constant("hop to the north or south", LOIHI_HOP_NORTH_SOUTH, DAVIES),
    Constant("synaptic operation, dense", SANA_FE_SYNAPSE_DENSE, SANA_FE),
    Constant("synaptic operation, sparse", SANA_FE_SYNAPSE_SPARSE, SANA_FE),
    Constant("neuron (soma) accessed", SANA_FE_SOMA_ACCESS, SANA_FE),
    Constant("neuron (soma) updated", SANA_FE_SOMA_UPDATE, SANA_FE),
    Constant("spike sent", SANA_FE_SPIKE, SANA_FE),
    Constant("axon out", SANA_FE_AXON_OUT, SANA_FE),
    Constant("hop to the east or west", SANA_FE_HOP_EAST_WEST, SANA_FE),
    Constant("hop to the north or south", SANA_FE_HOP_NORTH_SOUTH, SANA_FE),
    Constant("synaptic operation", KERAS_SPIKING_LOIHI_SYNAPTIC_OPERATION, KERAS_SPIKING_LOIHI),
    Constant("neuron update", KERAS_SPIKING_LOIHI_NEURON_UPDATE, KERAS_SPIKING_LOIHI),
)
