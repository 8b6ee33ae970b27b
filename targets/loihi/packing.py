"""Fills cores with the populations of one network, within a chip's limits.

Synaptic memory is reckoned as nengo-loihi does (``block.py``, ``SynapseConfig.bits_per_axon``): an axon's synapses are
stored in blocks of at most 64 behind a header of 10 bits, rounded up to words of 64. A synapse takes its weight and
delay, and its target's index unless zeros are stored too, whichever is less. A table takes its entries once a core.
"""

from dataclasses import dataclass, field

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.chips import Chip
from nmbrl.targets.loihi.network import LIF, Network, Population, Synapses, Table

WORD_BITS = 64
BLOCK_SYNAPSES = 64
BLOCK_HEADER_BITS = 10


class PlacementError(NmbrlError):
    """A limit of a chip that a network violates.

    Attributes:
        population: where, with its function.
        limit: of what.
        actual: what is needed.
        maximum: what there is.
    """

    def __init__(self, chip: Chip, population: str, limit: str, actual: int, maximum: int) -> None:
        super().__init__(f"{chip.name}: population {population}: {limit}: {actual:,}, at most {maximum:,}")
        self.population, self.limit, self.actual, self.maximum = population, limit, actual, maximum


@dataclass
class CoreFilling:
    """A core while it is filled; see `nmbrl.targets.loihi.placement.Core`. `parts` are (population, start, stop)."""

    function: str
    parts: list[tuple[str, int, int]] = field(default_factory=list)
    compartments: int = 0
    synapses: int = 0
    synaptic_bits: int = 0
    axons_in: int = 0
    axons_out: int = 0
    profiles: "Profiles" = field(default_factory=lambda: Profiles())


@dataclass(frozen=True)
class Profiles:
    """Pairs of decays, and thresholds, that leaky neurons have: a core's neurons choose among few."""

    decays: frozenset[tuple[int, int]] = frozenset()
    thresholds: frozenset[int] = frozenset()

    def joined(self, other: "Profiles") -> "Profiles":
        """Return what both have."""
        return Profiles(self.decays | other.decays, self.thresholds | other.thresholds)


@dataclass(frozen=True)
class Need:
    """What some neurons of a population take of a core."""

    compartments: int
    synaptic_bits: int
    axons_in: int
    synapses: int
    profiles: Profiles


class Packer:
    """Packs one function's network.

    Args:
        function: its name.
        network: the network.
        chip: what to pack it for.
        neurons_a_core: see `nmbrl.targets.loihi.placement.place`.
    """

    def __init__(self, function: str, network: Network, chip: Chip, neurons_a_core: int | None) -> None:
        self.function, self.network, self.chip = function, network, chip
        # Neurons of each population that a core may hold; packing lowers them where too many axons leave a core.
        self.allowed = {part.name: part.size for part in network.populations}
        self.compartments = min(chip.compartments, neurons_a_core or chip.compartments)
        self.inward = {
            population.name: [_Fan(part, chip) for part in network.synapses if part.target == population.name]
            for population in network.populations
        }

    def pack(self) -> list[CoreFilling]:
        """Return the cores.

        Raises:
            PlacementError: if a limit is violated.
        """
        for population in self.network.populations:
            self._check(population)
        while True:
            cores = self._fill()
            crowded = self._count_axons_out(cores)
            if crowded is None:
                return cores
            name, neurons, axons = crowded
            if neurons == 1:
                assert self.chip.axons_out is not None
                raise self._error(name, "axons that leave one neuron's core", axons, self.chip.axons_out)
            self.allowed[name] = neurons // 2

    def _error(self, name: str, limit: str, actual: int, maximum: int) -> PlacementError:
        return PlacementError(self.chip, f"{name} of {self.function}", limit, actual, maximum)

    def _check(self, population: Population) -> None:
        """Check what no splitting can change."""
        chip, name = self.chip, population.name
        if population.message_bits > chip.message_bits:
            raise self._error(name, "bits of a message", population.message_bits, chip.message_bits)
        if population.kind not in chip.kinds:
            raise NmbrlError(f"{chip.name}: population {name} of {self.function}: it has no {population.kind} neurons")
        for part in self.network.synapses:
            if part.target == name and part.weight_bits > chip.weight_bits:
                raise self._error(name, f"bits of a weight from {part.source}", part.weight_bits, chip.weight_bits)
            if part.target == name and part.delay > chip.delay:
                raise self._error(name, f"delay from {part.source}", part.delay, chip.delay)

    def _fill(self) -> list[CoreFilling]:
        cores = [CoreFilling(self.function)]
        for population in self.network.populations:
            start = 0
            while start < population.size:
                stop = self._reach(cores[-1], population, start)
                if stop > start:
                    self._add(cores[-1], population, start, stop)
                elif not cores[-1].parts:
                    raise self._too_large(population, start)
                if stop < population.size:
                    cores.append(CoreFilling(self.function))
                start = stop
        return cores

    def _add(self, core: CoreFilling, population: Population, start: int, stop: int) -> None:
        need = self._need(population, start, stop)
        core.parts.append((population.name, start, stop))
        core.compartments += need.compartments
        core.synaptic_bits += need.synaptic_bits
        core.axons_in += need.axons_in
        core.synapses += need.synapses
        core.profiles = core.profiles.joined(need.profiles)

    def _reach(self, core: CoreFilling, population: Population, start: int) -> int:
        """Return the farthest `stop` for which neurons start to stop - 1 fit into what is left of a core."""
        fits, beyond = start, min(population.size, start + self.allowed[population.name]) + 1
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if self._violated(core, self._need(population, start, middle)) is None:
                fits = middle
            else:
                beyond = middle
        return fits

    def _violated(self, core: CoreFilling, need: Need) -> tuple[str, int, int] | None:
        """Return the limit that a core would violate, what it would need and what there is; None where all fits."""
        chip, profiles = self.chip, core.profiles.joined(need.profiles)
        for limit, actual, maximum in (
            ("neurons", core.compartments + need.compartments, self.compartments),
            ("bits of synaptic memory", core.synaptic_bits + need.synaptic_bits, chip.synaptic_bits),
            ("axons into the core (fan-in)", core.axons_in + need.axons_in, chip.axons_in),
            ("different decays", len(profiles.decays), chip.decays),
            ("different thresholds", len(profiles.thresholds), chip.thresholds),
        ):
            if maximum is not None and actual > maximum:
                return limit, actual, maximum
        return None

    def _too_large(self, population: Population, start: int) -> PlacementError:
        violated = self._violated(CoreFilling(self.function), self._need(population, start, start + 1))
        assert violated is not None
        limit, actual, maximum = violated
        return self._error(population.name, f"{limit} for a single neuron", actual, maximum)

    def _need(self, population: Population, start: int, stop: int) -> Need:
        fans = [fan.need(start, stop) for fan in self.inward[population.name]]
        table = len(population.values) * population.message_bits if isinstance(population, Table) else 0
        return Need(
            compartments=(stop - start) * max(1, population.ports),
            synaptic_bits=table + sum(bits for bits, _, _ in fans),
            axons_in=sum(axons for _, axons, _ in fans),
            synapses=sum(synapses for _, _, synapses in fans),
            profiles=_profiles(population, start, stop),
        )

    def _count_axons_out(self, cores: list[CoreFilling]) -> tuple[str, int, int] | None:
        """Count the axons that leave each core.

        Returns:
            Where there are too many: the population with the most of them, its neurons there, and all axons there.
        """
        leaving: dict[str, np.ndarray] = {
            population.name: np.zeros(population.size, np.int64) for population in self.network.populations
        }
        for core in cores:
            for name, start, stop in core.parts:
                for fan in self.inward[name]:
                    leaving[fan.source] += fan.reaches(start, stop)
        for core in cores:
            axons = [int(leaving[name][start:stop].sum()) for name, start, stop in core.parts]
            core.axons_out = sum(axons)
            if self.chip.axons_out is not None and core.axons_out > self.chip.axons_out:
                name, start, stop = core.parts[int(np.argmax(axons))]
                return name, stop - start, core.axons_out
        return None


def _profiles(population: Population, start: int, stop: int) -> Profiles:
    if not isinstance(population, LIF):
        return Profiles()
    du, dv, vth = (vector[start:stop].tolist() for vector in (population.du, population.dv, population.vth))
    return Profiles(frozenset(zip(du, dv, strict=True)), frozenset(vth))


class _Fan:
    """Synapses into a population, counted by source neuron for any range of target neurons."""

    def __init__(self, synapses: Synapses, chip: Chip) -> None:
        self.source = synapses.source
        connected = synapses.weights != 0
        self.before = np.concatenate([np.zeros((1, connected.shape[1]), np.int64), np.cumsum(connected, axis=0)])
        self.synapse_bits = synapses.weight_bits + synapses.delay.bit_length()
        self.index_bits = (chip.compartments - 1).bit_length()

    def need(self, start: int, stop: int) -> tuple[int, int, int]:
        """Return bits of synaptic memory, axons and synapses that targets start to stop - 1 need."""
        counts = self.before[stop] - self.before[start]
        counts = counts[counts > 0]
        listed = _stored_bits(counts, self.synapse_bits + self.index_bits)
        dense = _stored_bits(np.full(len(counts), stop - start), self.synapse_bits)
        return int(np.minimum(listed, dense).sum()), len(counts), int(counts.sum())

    def reaches(self, start: int, stop: int) -> np.ndarray:
        """Return whether each source neuron has a synapse to one of the targets start to stop - 1."""
        return self.before[stop] > self.before[start]


def _stored_bits(synapses: np.ndarray, bits: int) -> np.ndarray:
    """Return the memory of axons with so many synapses of so many bits; see the module."""
    full, rest = np.divmod(synapses, BLOCK_SYNAPSES)
    return full * _block_bits(np.full_like(synapses, BLOCK_SYNAPSES), bits) + np.where(rest, _block_bits(rest, bits), 0)


def _block_bits(synapses: np.ndarray, bits: int) -> np.ndarray:
    return -(-(synapses * bits + BLOCK_HEADER_BITS) // WORD_BITS) * WORD_BITS
