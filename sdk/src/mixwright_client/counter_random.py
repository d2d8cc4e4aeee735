"""Random numbers that are functions of where they are used: there is no state to keep.

Source:
    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014); permutations by Luby and Rackoff's network walked until it is back
    inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). Fit to shuffle, not
    to hide.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = 4


def key_of(*parts: int | str) -> int:
    """Return a key below 2^64 of numbers and names; other parts, or another order, another key."""
    text = "\x00".join(f"{type(part).__name__}{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def uniforms(key: int, count: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), shape (count,), each of 53 random bits."""
    words = _mix(np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN))
    return np.asarray((words >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def permute(places: Places, sizes: Places, keys: Words) -> Places:
    """Return where keyed permutations of `range(size)` take places.

    Args:
        places: in `[0, size)`, shape (n,).
        sizes: of what each place is permuted in, below 2^62, shape (n,).
        keys: of the permutation that each place is taken by, shape (n,).
    """
    halves = _halves(sizes)
    result = places.astype(np.uint64)
    outside = np.arange(len(result))
    while len(outside):
        result[outside] = _network(result[outside], halves[outside], keys[outside])
        outside = outside[result[outside] >= sizes[outside].astype(np.uint64)]
    return result.astype(np.int64)


def _halves(sizes: Places) -> Words:
    """Return half the bits, shape (n,), of the smallest power of four that holds each size."""
    kinds, where = np.unique(sizes, return_inverse=True)
    halves = [max(1, ((int(size) - 1).bit_length() + 1) // 2) for size in kinds]
    return np.array(halves, dtype=np.uint64)[where]


def _network(value: Words, half: Words, keys: Words) -> Words:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    for turn in range(1, _ROUNDS + 1):
        mixed = _mix(keys + np.uint64(turn * _GOLDEN % 2**64) + right)
        left, right = right, left ^ (mixed & mask)
    return np.asarray((left << half) | right)


def _mix(value: Words) -> Words:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))
