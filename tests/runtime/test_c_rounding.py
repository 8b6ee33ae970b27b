"""The one multiplication by which Helium shifts, rounds and adds the zero point (runtime/c/dense_mve.c)."""

import numpy as np
import pytest


@pytest.mark.parametrize("bits", range(1, 12))
@pytest.mark.parametrize("zero_point", [-128, -3, 127])
def test_one_multiplication_rounds_ties_away_from_zero(bits, zero_point):
    """VQRDMLASH against TensorFlow Lite Micro's RoundingDivideByPOT, clamped to int8."""
    random = np.random.default_rng(bits)
    limit = 1 << 30
    half = 1 << (bits - 1)
    ties = random.integers(-limit >> bits, limit >> bits, 20_000) << bits
    edges = np.concatenate([sign * (1 << np.arange(10, 30)) + d for sign in (1, -1) for d in range(-40, 41)])
    small = np.arange(-1000 << bits, 1000 << bits, max(1, (2000 << bits) // 200_000))
    x = np.concatenate([small, np.arange(-1000, 1000) << bits, ties]).astype(np.int64)
    x = np.concatenate([x, x + half, x - half, x + half - 1, x + half + 1, edges])
    x = x[np.abs(x) < limit]
    factor = np.int64(0x80000800 >> bits)
    made = (x * factor + (np.int64(zero_point) << 31) + (1 << 30)) >> 31
    mask = (1 << bits) - 1
    expected = (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0)) + zero_point
    np.testing.assert_array_equal(made.clip(-128, 127), expected.clip(-128, 127))
