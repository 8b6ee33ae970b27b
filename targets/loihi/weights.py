"""Weights as the C simulator (``native/``) lies them out in memory: for each way to multiply by them, its own order."""

import numpy as np

from nmbrl.targets.loihi.limits import Integers

# `enum form` of native/loihi.h
WORDS, SIGNED_BYTES, BYTES = range(3)
# A tile of weights, in bytes: 16 rows for four sources each, in each four bytes for 16 targets.
TILE_SOURCES, TILE_TARGETS = 64, 16
# Targets of a vector of bytes, in native/fours.h.
ROW_TARGETS = 64
# Sources and targets of a step of `look_up`, in native/spikes.c, and of the sources those whose sums are in a table.
TABLE_SOURCES, TABLE_TARGETS, FOUR = 32, 4, 4


def find_diagonal(weights: Integers) -> int | None:
    """Return source minus target where that is the same for all weights that are not 0; None if it is not."""
    targets, sources = np.nonzero(weights)
    offsets = np.unique(sources - targets)
    return int(offsets[0]) if len(offsets) == 1 else None


def compress(weights: Integers) -> tuple[int, np.ndarray, int]:
    """Return the form in which weights take the fewest bytes, the weights in it, and by what to multiply them."""
    bits = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    shift = (bits & -bits).bit_length() - 1 if bits else 0
    shifted = weights >> shift
    low, high = int(shifted.min()), int(shifted.max())
    if low >= -128 and high <= 127:
        return SIGNED_BYTES, shifted.astype(np.int8), 1 << shift
    if low >= 0 or high <= 0:
        return BYTES, np.abs(shifted).astype(np.uint8), (1 if low >= 0 else -1) << shift
    return WORDS, shifted.astype(np.int16), 1 << shift


def lay_pairs(weights: np.ndarray, size: int) -> np.ndarray:
    """Lay weights (targets, sources) out as (pairs of sources, `size` targets, 2), filled up with 0."""
    targets, sources = weights.shape
    filled = np.zeros((size, sources + sources % 2), weights.dtype)
    filled[:targets, :sources] = weights
    return np.ascontiguousarray(filled.reshape(size, -1, 2).transpose(1, 0, 2))


def lay_tiles(weights: np.ndarray, size: int) -> np.ndarray:
    """Lay weights (targets, sources) out as (tiles of targets, tiles of sources, fours of sources, targets, 4)."""
    targets, sources = weights.shape
    depth = -(-sources // TILE_SOURCES)
    filled = np.zeros((size, depth * TILE_SOURCES), weights.dtype)
    filled[:targets, :sources] = weights
    fours = filled.reshape(size // TILE_TARGETS, TILE_TARGETS, depth, TILE_SOURCES // 4, 4)
    return np.ascontiguousarray(fours.transpose(0, 2, 3, 1, 4))


def lay_rows(weights: np.ndarray, size: int) -> dict[str, object]:
    """Lay weights (targets, sources) out as rows (columns of 64 targets, sources, 64) without sign for native/fours.h.

    Of every 64 targets, the first four of each 16 come first: interleaving four rows brings them into their order.
    """
    targets, sources = weights.shape
    excess = 128 if weights.dtype == np.int8 else 0
    filled = np.full((sources, -(-size // ROW_TARGETS) * ROW_TARGETS), excess, np.int16)
    filled[:, :targets] += weights.T
    fours = filled.astype(np.uint8).reshape(sources, -1, 4, 4, 4).transpose(1, 0, 3, 2, 4)
    return {"rows": fours.reshape(-1, sources, ROW_TARGETS), "excess": excess}


def lay_tables(weights: np.ndarray, size: int) -> dict[str, object]:
    """Lay sums of every four weights (targets, sources) out as native/spikes.c looks them up.

    The sums (fours of targets, planes, steps of 32 sources, targets, 8 fours of sources, 16) are of the four, with or
    without each. Where two tables' sums do not fit a byte together, weights are 16 times those of a high plane and
    those of a low one, whose sums do.
    """
    targets, sources = weights.shape
    filled = np.zeros((size, -(-sources // TABLE_SOURCES) * TABLE_SOURCES), np.int16)
    filled[:targets, :sources] = weights
    sums = [_sums_of_fours(filled)]
    together = sums[0].reshape(size, -1, 2, TABLE_SOURCES // 2 // FOUR, 1 << FOUR)
    if (together.max(axis=4).sum(axis=2).max() > 127) or (together.min(axis=4).sum(axis=2).min() < -128):
        sums = [_sums_of_fours(filled >> FOUR), _sums_of_fours(filled & 15)]
    tables = np.stack(sums).reshape(len(sums), size // TABLE_TARGETS, TABLE_TARGETS, -1, 2 * TABLE_SOURCES * 2)
    return {"tables": np.ascontiguousarray(tables.transpose(1, 0, 3, 2, 4)).astype(np.int8), "planes": len(sums)}


def _sums_of_fours(weights: np.ndarray) -> np.ndarray:
    """Return the sums (targets, fours, 16) of those of every four weights whose bit is set."""
    bits = (np.arange(1 << FOUR)[:, None] >> np.arange(FOUR) & 1).astype(np.int16)
    return weights.reshape(len(weights), -1, FOUR) @ bits.T
