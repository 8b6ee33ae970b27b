"""What every kind of population has: a name, neurons, state variables, and the rule by which it goes through a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.limits import STATE_BITS, Integers, excess

State = dict[str, Integers]
# Called with one of the names of `Population.widths` and the numbers that should fit that width.
Check = Callable[[str, np.ndarray], None]


def require(condition: bool, message: str) -> None:
    """Raise an error about a network where a condition does not hold."""
    if not condition:
        raise NmbrlError(f"Loihi network: {message}")


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind; subclasses are the kinds.

    Attributes:
        kind: what files call it.
        ports: how many sums of synaptic currents each neuron takes.
        variables: names of the state variables, int32, 0 at first.
        readout: the variable that is the population's value where an output names only the population.
        parameters: fields that are vectors of int32, one number a neuron.
        rests: whether nothing changes in a step in which nothing arrives and nothing is given.
        name: unique in its network.
        size: number of neurons.
    """

    kind: ClassVar[str]
    ports: ClassVar[int] = 1
    variables: ClassVar[tuple[str, ...]]
    readout: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]] = ()
    rests: ClassVar[bool] = False

    name: str
    size: int

    def __post_init__(self) -> None:
        require(bool(self.name) and "/" not in self.name, f"{self.name!r} is no name for a population")
        require(self.size > 0, f"{self.name} has {self.size} neurons")
        for name in self.parameters:
            array = getattr(self, name)
            fits = array.dtype == np.int32 and array.shape == (self.size,)
            require(fits, f"{self.name}: {name} is not {self.size} long, of int32")
            require(excess(array, STATE_BITS) == 0, f"{self.name}: {name} exceeds {STATE_BITS} bits")

    @property
    def arrays(self) -> tuple[str, ...]:
        """Fields that are arrays of int32."""
        return self.parameters

    @property
    def message_bits(self) -> int:
        """Width of a message, signed where it can be negative."""
        raise NotImplementedError

    @property
    def limit(self) -> int:
        """Largest magnitude of the numbers that the host may give; 0 where it gives none."""
        return 0

    @property
    def widths(self) -> dict[str, int]:
        """Bits of the numbers that a step makes, by name, in the order in which they are made."""
        raise NotImplementedError

    def step(self, state: State, arrived: list[Integers], time: int, check: Check) -> Integers:
        """Go through a step.

        Args:
            state: the variables (batch, size) by name, changed in place.
            arrived: what synapses deliver to each port (batch, size).
            time: number of this step, the first being 0.
            check: told every number that has a width.

        Returns:
            The messages (batch, size).
        """
        raise NotImplementedError

    def require_range(self, name: str, low: int, high: int) -> None:
        """Raise an error where a parameter leaves a range."""
        array = np.asarray(getattr(self, name))
        inside = (array >= low) & (array <= high)
        require(bool(inside.all()), f"{self.name}: {name} is outside {low} to {high}")
