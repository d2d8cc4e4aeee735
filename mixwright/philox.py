"""Philox4x32-10, a counter-based random generator: numbers are a function of a key and a counter.

Source:
    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; checked
    against the published known answers of their library Random123 [X].

There is no state to keep or to restore: whoever knows seed and place knows the number.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter: tuple[npt.ArrayLike, ...], key: tuple[int, int]) -> Words:
    """Return four random words for every counter.

    Args:
        counter: four integers or arrays of them below 2^32, which broadcast to a shape `s`.
        key: two integers below 2^32.

    Returns:
        Shape `s + (4,)`.
    """
    a, b, c, d = (part.astype(np.uint64) for part in np.broadcast_arrays(*counter))
    for turn in range(_ROUNDS):
        low_key, high_key = ((key[i] + turn * _WEYL[i]) & 0xFFFFFFFF for i in range(2))
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            (second >> _SHIFT) ^ b ^ np.uint64(low_key),
            second & _LOW,
            (first >> _SHIFT) ^ d ^ np.uint64(high_key),
            first & _LOW,
        )
    return np.stack([a, b, c, d], axis=-1).astype(np.uint32)


def unit(high: Words, low: Words) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) with 53 random bits made of two words each."""
    bits = (high.astype(np.uint64) << np.uint64(21)) | (low.astype(np.uint64) >> np.uint64(11))
    return bits.astype(np.float64) * 2.0**-53


def permute(
    places: npt.ArrayLike, size: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Return where keyed permutations of `range(size)` take places.

    Luby and Rackoff's network of four rounds over the next power of four, walked until it is back
    inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). Its rounds mix with
    the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): fit to shuffle, not to hide.

    Args:
        places: integers in `[0, size)`, shape (n,).
        size: of what is permuted, below 2^62.
        keys: of the permutation that each place is taken by, shape (n,) or ().
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    result = np.array(places, dtype=np.uint64)
    keys = np.broadcast_to(keys, result.shape)
    outside = np.flatnonzero(np.ones(len(result), dtype=bool))
    while len(outside):
        result[outside] = _network(result[outside], half, keys[outside])
        outside = outside[result[outside] >= np.uint64(size)]
    return result.astype(np.int64)


def _network(
    value: npt.NDArray[np.uint64], half: np.uint64, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    for turn in range(1, 5):
        mixed = _mix(keys + np.uint64(turn * 0x9E3779B97F4A7C15 % 2**64) + right)
        left, right = right, left ^ (mixed & mask)
    return (left << half) | right


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
