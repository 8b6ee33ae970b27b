"""A Loihi network as plain data: populations of neurons, and the synapses between them.

What populations can be is in `graded` (changes without drift), `spiking` (leaky integrate-and-fire) and `lava_kinds`
(Lava's sigma-delta neurons). All numbers are integers, ``>>`` is the arithmetic shift (floor).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nmbrl.targets.loihi.graded import Input, Product, SigmaDelta, Table
from nmbrl.targets.loihi.lava_kinds import Delta, LavaSigmaDelta, ProdNeuron, Sigma
from nmbrl.targets.loihi.limits import DELAYS, STATE_BITS, WEIGHT_BITS, WEIGHT_EXPONENTS, Integers
from nmbrl.targets.loihi.population import Population, require
from nmbrl.targets.loihi.spiking import LIF, LIFReset, TernaryLIF

__all__ = [
    "KINDS",
    "LIF",
    "Delta",
    "Input",
    "LIFReset",
    "LavaSigmaDelta",
    "Network",
    "Population",
    "ProdNeuron",
    "Product",
    "Sigma",
    "SigmaDelta",
    "SignMode",
    "Synapses",
    "Table",
    "TernaryLIF",
    "fit_weights",
    "weight_range",
]

SignMode = Literal["mixed", "excitatory", "inhibitory"]
GRADED: tuple[type[Population], ...] = (Input, SigmaDelta, Table, Product)
SPIKING: tuple[type[Population], ...] = (LIF, LIFReset, TernaryLIF)
LAVA: tuple[type[Population], ...] = (Delta, Sigma, LavaSigmaDelta, ProdNeuron)
KINDS = {kind.kind: kind for kind in (*GRADED, *SPIKING, *LAVA)}

# Variables of every population besides its own: what the host gives it, and what is under way to its port 0 and arrives
# in the next step (``arriving 1``, ``arriving 2``, ...: so many steps later).
GIVEN, ARRIVING = "given", "arriving"


@dataclass(frozen=True, eq=False)
class Synapses:
    """Connections from one population to a port of another (Lava's Dense or Sparse, or those with a delay).

    What ``messages`` (source size,) deliver ``1 + delay`` steps later is ``(weights @ messages) << weight_exp``, or
    ``>> -weight_exp`` where that is negative. Weights are those in the synapse, of 8 bits and a sign: mixed ones are
    even, -256 to 254; excitatory ones 0 to 255, inhibitory ones -255 to 0; fewer bits leave the low ones 0, a ninth (of
    Loihi 1) makes mixed ones -256 to 255. Where delays differ, there is one `Synapses` a delay.

    Attributes:
        source: name of the population that sends.
        target: name of the one that receives.
        weights: (target size, source size).
        port: of the target.
        weight_exp: see above.
        weight_bits: see above, 1 to 9.
        sign_mode: see above.
        delay: steps.
        binary: whether any message but 0 counts as 1 (Lava's ``num_message_bits = 0``).
        sparse: whether only weights that are not 0 are stored.
    """

    source: str
    target: str
    weights: Integers
    port: int = 0
    weight_exp: int = 0
    weight_bits: int = 8
    sign_mode: SignMode = "mixed"
    delay: int = 0
    binary: bool = False
    sparse: bool = False

    def __post_init__(self) -> None:
        name = f"{self.source} to {self.target}"
        require(self.weights.dtype == np.int32 and self.weights.ndim == 2, f"{name}: weights are no int32 matrix")
        require(self.weight_exp in WEIGHT_EXPONENTS, f"{name}: weight_exp {self.weight_exp} is outside -8 to 7")
        require(self.delay in DELAYS, f"{name}: delay {self.delay}, at most {DELAYS[-1]}")
        require(self.sign_mode in ("mixed", "excitatory", "inhibitory"), f"{name}: sign_mode {self.sign_mode!r}")
        most = WEIGHT_BITS[-1] if self.sign_mode == "mixed" else WEIGHT_BITS[-1] - 1
        require(0 < self.weight_bits <= most, f"{name}: weight_bits {self.weight_bits} is outside 1 to {most}")
        low, high, step = weight_range(self.sign_mode, self.weight_bits)
        inside = (self.weights >= low) & (self.weights <= high) & (self.weights % step == 0)
        require(
            bool(inside.all()), f"{name}: weights that a {self.weight_bits}-bit {self.sign_mode} synapse cannot hold"
        )


def weight_range(sign_mode: SignMode, weight_bits: int = 8) -> tuple[int, int, int]:
    """Return the smallest and largest weight that a synapse holds, and the step between weights."""
    step = 1 << (8 - weight_bits + (sign_mode == "mixed"))
    if sign_mode == "mixed":
        return -256, 256 - step, step
    return (0, 256 - step, step) if sign_mode == "excitatory" else (step - 256, 0, step)


def fit_weights(weights: np.ndarray, sign_mode: SignMode, weight_bits: int = 8) -> Integers:
    """Clip integer weights to what a synapse holds and drop low bits as Lava does: down, inhibitory ones towards 0."""
    low, high, step = weight_range(sign_mode, weight_bits)
    magnitudes = -weights if sign_mode == "inhibitory" else weights
    held = np.asarray(magnitudes, np.int64) // step * step
    return np.clip(-held if sign_mode == "inhibitory" else held, low, high).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and synapses, checked to fit together.

    A place is a population, or a variable of one as ``population/variable``. What the host gives a population is the
    value of an `Input` and a bias current of a `LIF`; what it reads of one is its `readout`.

    Attributes:
        populations: in an order in which synapses lead forward where the network has no cycle.
        synapses: any number between any two populations.
        inputs: place of each named input vector.
        outputs: place of each named output vector.
        steps: steps of a decision; where all populations rest, those in which a change of the inputs runs through.
    """

    populations: tuple[Population, ...]
    synapses: tuple[Synapses, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    steps: int

    def __post_init__(self) -> None:
        byname = self.by_name
        require(len(byname) == len(self.populations), "two populations have the same name")
        require(self.steps > 0, f"{self.steps} steps")
        for synapses in self.synapses:
            name = f"{synapses.source} to {synapses.target}"
            require({synapses.source, synapses.target} <= set(byname), f"{name}: no such population")
            source, target = byname[synapses.source], byname[synapses.target]
            require(0 <= synapses.port < target.ports, f"{name}: {synapses.target} has no port {synapses.port}")
            shape = (target.size, source.size)
            require(synapses.weights.shape == shape, f"{name}: weights are {synapses.weights.shape}, not {shape}")
        for place in self.inputs.values():
            name, variable = self.locate(place, GIVEN)
            require(variable != GIVEN or byname[name].limit > 0, f"{name} takes no input")
        for place in self.outputs.values():
            self.locate(place)

    @property
    def by_name(self) -> dict[str, Population]:
        """Populations by name."""
        return {population.name: population for population in self.populations}

    @property
    def rests(self) -> bool:
        """Whether nothing changes any more once an input has run through, so that calls begin from rest."""
        return all(population.rests for population in self.populations)

    @property
    def turns(self) -> int:
        """In how many steps of a call a neuron may send: those that run on do in all, the others send a change once."""
        return 1 if self.rests else self.steps

    def horizon(self, population: str) -> int:
        """Return in how many steps from now something can be under way to a population."""
        return 1 + max((part.delay for part in self.synapses if part.target == population), default=0)

    def locate(self, place: str, variable: str = "") -> tuple[str, str]:
        """Return population and variable of a place; without one, `variable`, or the population's `readout`.

        Raises:
            NmbrlError: if there is no such population or variable.
        """
        name, _, named = place.partition("/")
        population = self.by_name.get(name)
        require(population is not None, f"there is no population {name}")
        assert population is not None
        chosen = named or variable or population.readout
        under_way = (
            {f"{ARRIVING} {k}" if k else ARRIVING for k in range(self.horizon(name))} if population.ports else set()
        )
        known = {*population.variables, *under_way}
        require(chosen in known or chosen == variable, f"population {name} has no variable {chosen!r}")
        return name, chosen

    def limit(self, place: str) -> int:
        """Return the largest magnitude that the host may give a place."""
        name, variable = self.locate(place, GIVEN)
        return self.by_name[name].limit if variable == GIVEN else (1 << (STATE_BITS - 1)) - 1
