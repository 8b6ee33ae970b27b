"""How long a call takes on the chip by published times of its operations: models, not measurements.

Cores work side by side and meet at a barrier after every step, so a step takes what its busiest core takes, then the
longest way of a packet, then the barrier (runtime follows the busiest core: arXiv 2601.10035, 2511.21549). Counts are
means over calls, and the largest of means is no larger than the mean of largest: a model's time is a lower end in that.
"""

from dataclasses import dataclass, replace

import numpy as np

from nmbrl.targets.costs import DAVIES, SANA_FE
from nmbrl.targets.interface import Frozen
from nmbrl.targets.loihi.traffic import Routes, Traffic

NANO = 1e-9
INTEL = "Intel, Taking Neuromorphic Computing to the Next Level with Loihi 2, technology brief, 2021"


class Latency(Frozen):
    """A time that was computed, not measured.

    Attributes:
        name: which constants, in a few words.
        seconds: the estimate, s.
        low: lower end of its range, s.
        high: upper end of its range, s.
        source: publication that the constants are from.
        range_of: what varies between `low` and `high`.
        leaves_out: what it does not contain.
    """

    name: str
    seconds: float
    low: float
    high: float
    source: str
    range_of: str
    leaves_out: str


@dataclass(frozen=True)
class _Times:
    """Seconds of one operation of a core, and of the barrier over 1, 2, ... tiles (tiles, seconds)."""

    synaptic_operation: float
    neuron_update: float
    message: float = 0.0
    packet_out: float = 0.0
    packet_in: float = 0.0
    in_tile: float = 2.1 * NANO
    hop_east_west: float = 4.1 * NANO
    hop_north_south: float = 6.5 * NANO
    barrier: tuple[tuple[float, float], ...] = ((1, 113 * NANO), (32, 465 * NANO))

    def call(self, routes: Routes, traffic: Traffic) -> float:
        busy = (
            traffic.synaptic_operations * self.synaptic_operation
            + traffic.neuron_updates * self.neuron_update
            + traffic.messages * self.message
            + traffic.packets_out * self.packet_out
            + traffic.packets_in * self.packet_in
        )
        east_west, north_south = routes.distance
        way = self.in_tile + east_west * self.hop_east_west + north_south * self.hop_north_south
        longest = np.where(traffic.flows > 0, way, 0.0).max(axis=(1, 2))
        tiles, waits = np.array(self.barrier).T
        barrier = np.interp(routes.tiles, tiles, waits)
        return float((busy.max(axis=1) + longest + barrier).sum())


@dataclass(frozen=True)
class _Model:
    """Times for the estimate and for both ends of its range."""

    name: str
    middle: _Times
    low: _Times
    high: _Times
    source: str
    range_of: str


# Davies et al. 2018, Table 2.
_DAVIES = _Times(3.5 * NANO, 8.4 * NANO)
_INACTIVE = replace(_DAVIES, neuron_update=5.3 * NANO)
# SANA-FE arch/loihi.yaml: soma access and update, spike, axons out and in, sync over 1, 2, 4 and 29 tiles.
_SANA_FE = _Times(
    synaptic_operation=3.8 * NANO,
    neuron_update=(6.0 + 3.7) * NANO,
    message=30 * NANO,
    packet_out=5.1 * NANO,
    packet_in=16 * NANO,
    in_tile=0.0,
    barrier=((1, 600 * NANO), (2, 1000 * NANO), (4, 1400 * NANO), (29, 1800 * NANO)),
)
_SANA_FE_SPARSE = replace(_SANA_FE, synaptic_operation=4.7 * NANO)
_SANA_FE_ACCESS = replace(_SANA_FE, neuron_update=6.0 * NANO)
# Intel's ratios: synaptic operations 5 times, neuron updates twice as fast, a step of the whole chip below 200 ns.
_LOIHI_2 = _Times(3.5 / 5 * NANO, 8.4 / 2 * NANO, barrier=((1, 113 * NANO), (32, 200 * NANO)))
_LOIHI_2_INACTIVE = replace(_LOIHI_2, neuron_update=5.3 / 2 * NANO)
MODELS = (
    _Model("Loihi 1 constants, published", _DAVIES, _INACTIVE, _DAVIES, DAVIES, "neuron updates inactive to active"),
    _Model(
        "Loihi 1 constants, fitted",
        _SANA_FE,
        _SANA_FE_ACCESS,
        _SANA_FE_SPARSE,
        SANA_FE.replace("11.7 % in energy", "24.3 % in latency"),
        "neurons accessed, not updated; to sparse synapses, all updated",
    ),
    _Model(
        "Loihi 1 constants, scaled by Intel's ratios for Loihi 2",
        _LOIHI_2,
        _LOIHI_2_INACTIVE,
        _DAVIES,
        f"{DAVIES}; {INTEL}",
        "the ratios, which are best cases, with neuron updates inactive; to no gain at all",
    ),
)
LEAVES_OUT = (
    "input from and output to the host, contention on the mesh, differences between calls; of Loihi 2, neuron programs "
    "that take longer than an integrate-and-fire neuron"
)


def latencies(routes: dict[str, Routes], traffic: dict[str, Traffic], calls: dict[str, float]) -> tuple[Latency, ...]:
    """Return what a decision takes by each model, its calls one after the other.

    Args:
        routes: of each function.
        traffic: of one call of each function that is called.
        calls: calls of each function a decision.
    """

    def seconds(times: _Times) -> float:
        return sum(calls[function] * times.call(routes[function], traffic[function]) for function in traffic)

    return tuple(
        Latency(
            name=model.name,
            seconds=seconds(model.middle),
            low=seconds(model.low),
            high=seconds(model.high),
            source=model.source,
            range_of=model.range_of,
            leaves_out=LEAVES_OUT,
        )
        for model in MODELS
    )
