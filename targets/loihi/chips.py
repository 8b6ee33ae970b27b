"""What a chip has room for: the limits that a placement must keep.

Sources: Davies et al. 2018, Loihi: a neuromorphic manycore processor with on-chip learning, IEEE Micro 38(1) (cores,
neurons, synaptic memory, the mesh); nengo-loihi ``block.py`` and ``builder/validate.py`` (axons, words of synaptic
memory) and ``hardware/nxsdk_objects.py`` (decays, thresholds); Intel's technology brief Taking Neuromorphic Computing
to the Next Level with Loihi 2, 2021 (Loihi 2).
"""

from dataclasses import dataclass

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.network import KINDS

KIBIBYTE_BITS = 8 * 1024


@dataclass(frozen=True)
class Chip:
    """A chip's limits; None where none is published.

    Attributes:
        key: how commands call it.
        name: how people call it.
        kinds: kinds of `nmbrl.targets.loihi.network.Population` that its neurons can be.
        cores: neuromorphic cores a chip.
        synapses: synapses a chip.
        compartments: neurons a core; one of two ports takes the place of two.
        synaptic_bits: synaptic memory of a core, in bits.
        axons_in: axons that end on a core.
        axons_out: axons that leave a core.
        message_bits: payload of a message.
        weight_bits: of a synapse as stored, the sign included.
        delay: longest delay of a synapse, in steps.
        decays: different pairs of decays that a core's leaky neurons may have.
        thresholds: different thresholds that they may have.
        tiles: width and height of the mesh of tiles.
        cores_a_tile: cores that share a router.
    """

    key: str
    name: str
    kinds: frozenset[str]
    cores: int
    synapses: int | None
    compartments: int
    synaptic_bits: int
    axons_in: int | None
    axons_out: int | None
    message_bits: int
    weight_bits: int
    delay: int
    decays: int | None
    thresholds: int | None
    tiles: tuple[int, int] = (8, 4)
    cores_a_tile: int = 4

    def position(self, core: int) -> tuple[int, int]:
        """Return the tile (x, y) of a core; tiles are numbered along columns, up one and down the next."""
        height = self.tiles[1]
        x, y = divmod(core // self.cores_a_tile, height)
        return x, y if x % 2 == 0 else height - 1 - y


LOIHI_1 = Chip(
    key="loihi1",
    name="Loihi 1",
    # Its neurons are leaky integrate-and-fire, with binary spikes.
    kinds=frozenset({"lif", "lif_reset"}),
    cores=128,
    synapses=None,
    compartments=1024,
    synaptic_bits=128 * KIBIBYTE_BITS,
    axons_in=4096,
    axons_out=4096,
    message_bits=1,
    weight_bits=9,
    delay=62,
    decays=32,
    thresholds=8,
)
# Of 192 KiB a core, 128 are taken as synaptic memory: how the rest is divided is not published. Neither is the mesh:
# Loihi 1's stands in for it.
LOIHI_2 = Chip(
    key="loihi2",
    name="Loihi 2",
    # Its neurons are programs.
    kinds=frozenset(KINDS),
    cores=128,
    synapses=120_000_000,
    compartments=8192,
    synaptic_bits=128 * KIBIBYTE_BITS,
    axons_in=None,
    axons_out=None,
    message_bits=32,
    weight_bits=8,
    delay=62,
    decays=None,
    thresholds=None,
)
CHIPS = {chip.key: chip for chip in (LOIHI_1, LOIHI_2)}


def find_chip(key: str) -> Chip:
    """Return a chip by its key.

    Raises:
        NmbrlError: if there is none of that name.
    """
    if key not in CHIPS:
        raise NmbrlError(f"unknown chip {key!r}; choose from {', '.join(CHIPS)}")
    return CHIPS[key]
