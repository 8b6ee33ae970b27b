"""Which core holds which neurons, and how full each core is: the mapping of a model's networks to one chip.

Every function has cores of its own, so that the cores of a function that is not running are idle. Populations are laid
one after the other; one that does not fit into what is left of a core goes on on the next.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Frozen
from nmbrl.targets.loihi.chips import Chip, find_chip
from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.packing import CoreFilling, Packer, PlacementError


class Part(Frozen):
    """Neurons `start` to `stop` - 1 of a population."""

    population: str
    start: int
    stop: int


class Core(Frozen):
    """A core and its load.

    Attributes:
        function: whose neurons it holds.
        parts: the neurons.
        compartments: neurons, those of two ports counted twice.
        synapses: weights that are not 0.
        synaptic_bits: synaptic memory in use, in bits.
        axons_in: axons that end here.
        axons_out: axons that leave, one for each neuron and core that it reaches through the same synapses.
    """

    function: str
    parts: tuple[Part, ...]
    compartments: int
    synapses: int
    synaptic_bits: int
    axons_in: int
    axons_out: int


class Placement(Frozen):
    """Cores in use, in the order of their numbers on the chip.

    Attributes:
        chip: key of the chip.
        cores: in use.
    """

    chip: str
    cores: tuple[Core, ...]

    def cores_of(self, function: str) -> dict[str, np.ndarray]:
        """Return the core (size,) of every neuron of each population of a function."""
        found: dict[str, list[np.ndarray]] = {}
        for number, core in enumerate(self.cores):
            for part in core.parts if core.function == function else ():
                found.setdefault(part.population, []).append(np.full(part.stop - part.start, number))
        return {population: np.concatenate(parts) for population, parts in found.items()}

    def count(self) -> dict[str, int]:
        """Return the number of cores of each function."""
        return dict(Counter(core.function for core in self.cores))


def place(networks: Mapping[str, Network], chip: Chip, neurons_a_core: int | None = None) -> Placement:
    """Lay networks on a chip.

    Args:
        networks: of each function.
        chip: what to lay them on.
        neurons_a_core: use no more of a core than this, to spread the load; None for all that fits. A neuron of two
            ports counts as two.

    Raises:
        PlacementError: if a limit is violated, naming population, actual and maximum.
    """
    if neurons_a_core is not None and neurons_a_core < 2:
        raise NmbrlError(f"{neurons_a_core} neurons a core; it must be at least 2")
    fillings: list[CoreFilling] = []
    for function, network in networks.items():
        fillings += Packer(function, network, chip, neurons_a_core).pack()
    synapses = sum(filling.synapses for filling in fillings)
    if chip.synapses is not None and synapses > chip.synapses:
        raise PlacementError(chip, _largest(networks), "synapses on the chip", synapses, chip.synapses)
    if len(fillings) > chip.cores:
        raise PlacementError(chip, _largest(networks), "cores of all populations", len(fillings), chip.cores)
    cores = tuple(
        Core(
            function=filling.function,
            parts=tuple(Part(population=name, start=start, stop=stop) for name, start, stop in filling.parts),
            compartments=filling.compartments,
            synapses=filling.synapses,
            synaptic_bits=filling.synaptic_bits,
            axons_in=filling.axons_in,
            axons_out=filling.axons_out,
        )
        for filling in fillings
    )
    return Placement(chip=chip.key, cores=cores)


def read_placement(content: object, networks: Mapping[str, Network]) -> Placement:
    """Make a placement from its JSON.

    Raises:
        NmbrlError: if it is none, or not one of these networks.
    """
    try:
        placement = Placement.model_validate(content)
    except ValidationError as error:
        raise NmbrlError(
            f"Loihi bundle: its placement is damaged ({error.errors()[0]['msg']}); convert again"
        ) from error
    find_chip(placement.chip)
    for function, network in networks.items():
        sizes = {name: len(cores) for name, cores in placement.cores_of(function).items()}
        if sizes != {population.name: population.size for population in network.populations}:
            raise NmbrlError(f"Loihi bundle: its placement does not fit {function}; convert again")
    return placement


def _largest(networks: Mapping[str, Network]) -> str:
    """Name the population with the most synapses, which is what a user can make smaller."""
    synapses: Counter[str] = Counter()
    for function, network in networks.items():
        for part in network.synapses:
            synapses[f"{part.target} of {function}"] += int(np.count_nonzero(part.weights))
    return f"{synapses.most_common(1)[0][0]} (the largest)"
