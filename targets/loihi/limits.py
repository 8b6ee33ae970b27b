"""Widths of Loihi's fixed-point arithmetic, and arithmetic that has them.

Sources: lava-nc 0.10 (``lava/proc/lif``, ``lava/proc/sdn``, ``lava/proc/dense``, ``lava/utils/weightutils.py``: what
Lava declares and does not enforce) and nengo-loihi's ``emulator/interface.py`` and ``builder/discretize.py`` (what
silicon enforces).
"""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]

# Neuron state variables: 24 bits signed.
STATE_BITS = 24
# What synapses deliver to one neuron in one step: 21 bits and a sign.
SYNAPTIC_BITS = 22
# Payload of a graded message on Loihi 2.
MAX_MESSAGE_BITS = 32
# Products of two accumulators, before they are shifted, in the neuron's arithmetic unit.
PRODUCT_BITS = 32
WEIGHT_EXPONENTS = range(-8, 8)
# The sign included; 9 only where signs are mixed.
WEIGHT_BITS = range(1, 10)
DELAYS = range(63)
# Leaky integrate-and-fire neurons: decays, mantissa (signed) and exponent of the bias, thresholds.
DECAYS = range(4096)
BIAS_BITS = 13
BIAS_EXPONENTS = range(8)
THRESHOLD_BITS = 17


def representable(bits: int) -> tuple[int, int]:
    """Return the smallest and largest signed integer of a width."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def excess(values: np.ndarray, bits: int) -> int:
    """Return by how much the farthest value lies outside a signed width; 0 where all fit."""
    if not values.size:
        return 0
    low, high = representable(bits)
    return max(0, int(values.max()) - high, low - int(values.min()))
