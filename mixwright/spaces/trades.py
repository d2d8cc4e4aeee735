"""Small steps on a simplex: one part gives, another takes."""

import numpy as np

from mixwright.arrays import FloatArray

_ALL_OF_IT = 0.3  # of the trades give all that a part has


def trades(best: FloatArray, longest: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Return `count` points near `best` `(c,)`, `(count, c)`: some of one part given to another."""
    giver, taker = rng.integers(0, len(best), (2, count))
    shares = np.where(rng.random(count) < _ALL_OF_IT, 1.0, rng.uniform(0.0, longest, count))
    moved = np.tile(best, (count, 1))
    amount = shares * best[giver]
    moved[np.arange(count), giver] -= amount
    moved[np.arange(count), taker] += amount
    return np.maximum(moved, 0.0)
