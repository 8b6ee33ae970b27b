"""Random numbers and elementary functions of `runtime/c` (random.c, real.c) in NumPy, equal to it bit for bit."""

from functools import cache
from statistics import NormalDist

import numpy as np

from nmbrl.targets.interface import Array

Words = np.ndarray
F = np.float32
# Octaves of the tail probability that the quantile table covers, of 8 points each; then the median.
OCTAVES = range(3, 31)
MASK = np.uint64(0xFFFFFFFF)


def philox(seed: int, counters: Words) -> Words:
    """Philox4x32-10 (Salmon et al., 2011): random words for counters (..., 4), uint32."""
    c0, c1, c2, c3 = (counters[..., i].astype(np.uint64) for i in range(4))
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c2 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(key0), (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(key1)
        c1, c3 = p1 & MASK, p0 & MASK
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def uniform(words: Words) -> Array:
    """Uniform in [-1, 1]."""
    return words.view(np.int32).astype(F) * F(2.0**-31)


@cache
def quantiles() -> Array:
    """Quantiles of the standard normal distribution at m 2^(octave - 35), m = 8 .. 15; then at 1/2."""
    inverse = NormalDist().inv_cdf
    points = [m * 2.0 ** (octave - 35) for octave in OCTAVES for m in range(8, 16)]
    return np.array([*(inverse(point) for point in points), 0.0], F)


def normal(words: Words) -> Array:
    """Standard normal, linear between the quantiles."""
    k = np.maximum(words & np.uint32(0x7FFFFFFF), np.uint32(8))
    octave = np.frexp(k.astype(np.float64))[1] - 1
    bits = (octave - 3).astype(np.uint32)
    m = k >> bits
    place = (bits * np.uint32(8) + m - np.uint32(8)).astype(np.int64)
    part = (k - (m << bits)).astype(F) / (np.uint32(1) << bits).astype(F)
    low, high = quantiles()[place], quantiles()[place + 1]
    z = low + part * (high - low)
    return np.where(words >> np.uint32(31), -z, z)


def gumbel(words: Words) -> Array:
    """Standard Gumbel."""
    return -log(-log(((words >> np.uint32(9)).astype(F) + F(0.5)) * F(2.0**-23)))


def _horner(x: Array, coefficients: tuple[str, ...]) -> Array:
    result = np.full_like(x, F(float.fromhex(coefficients[0])))
    for coefficient in coefficients[1:]:
        result = result * x + F(float.fromhex(coefficient))
    return result


LOG2_E, LN2_HIGH, LN2_LOW = (F(float.fromhex(text)) for text in ("0x1.715476p+0", "0x1.62e4p-1", "0x1.7f7d1cp-20"))


def exp(x: Array) -> Array:
    """e^x for x <= 0; 0 below -87."""
    inside = np.maximum(x, F(-87))
    n = (inside * LOG2_E - F(0.5)).astype(np.int32)
    r = (inside - n.astype(F) * LN2_HIGH) - n.astype(F) * LN2_LOW
    p = _horner(r, ("0x1.6d4922p-10", "0x1.121072p-7", "0x1.5554e4p-5", "0x1.5554d8p-3", "0x1p-1"))
    value = F(1) + (r + r * r * p)
    return np.where(x < F(-87), F(0), value * ((n + 127) << 23).astype(np.int32).view(F))


def log(x: Array) -> Array:
    """Natural logarithm of positive normal numbers."""
    bits = np.ascontiguousarray(x, F).view(np.uint32)
    exponent = (bits >> np.uint32(23)).astype(np.int32) - 127
    significand = (bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
    large = significand > np.uint32(0x3FB504F3)
    f = np.where(large, significand - np.uint32(0x00800000), significand).astype(np.uint32).view(F) - F(1)
    e = (exponent + large).astype(F)
    p = _horner(f, ("-0x1.39c982p-4", "0x1.05dd32p-3", "-0x1.0d8cb8p-3", "0x1.22c5c4p-3", "-0x1.546f18p-3",
                    "0x1.99a102p-3", "-0x1.000238p-2", "0x1.555552p-2"))  # fmt: skip
    square = f * f
    tail = square * f * p - F(0.5) * square
    return e * LN2_HIGH + (e * LN2_LOW + tail + f)
