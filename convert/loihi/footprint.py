"""What networks take on a chip, for the record in a bundle."""

from collections import Counter

import numpy as np

from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.placement import Placement


def count_synapses(network: Network) -> int:
    """Return the number of weights that are not 0."""
    return sum(int(np.count_nonzero(part.weights)) for part in network.synapses)


def synaptic_bytes(placement: Placement) -> dict[str, int]:
    """Return the synaptic memory of the cores of each function, as it is encoded there."""
    bits = Counter[str]()
    for core in placement.cores:
        bits[core.function] += core.synaptic_bits
    return {function: count // 8 for function, count in bits.items()}
