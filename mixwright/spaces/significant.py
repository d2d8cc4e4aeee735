"""Numbers as they are written down: with twelve significant digits.

A number that was posted with up to twelve comes back as it was, whatever arithmetic lay between.
"""

import numpy as np

from mixwright.arrays import FloatArray

DIGITS = 12
_ROUNDED_AWAY = 1e-9  # by which rounded shares may miss a sum of 1


def significant(values: FloatArray) -> FloatArray:
    """Return every value as the double nearest to its first twelve significant digits.

    Example:
        >>> float(significant(np.array(500 * (1 + 1e-14))))
        500.0
    """
    rounded = [float(f"{value:.{DIGITS}g}") for value in np.ravel(values).tolist()]
    return np.array(rounded, dtype=np.float64).reshape(np.shape(values))


def significant_shares(rows: FloatArray) -> FloatArray:
    """Return shares `(..., r)` with twelve digits; rows that do not sum to 1 are divided first."""
    rounded = significant(rows)
    sums = rounded.sum(axis=-1, keepdims=True)
    off = np.abs(sums - 1.0) > _ROUNDED_AWAY
    if not off.any():
        return rounded
    return np.where(off, significant(rounded / sums), rounded)
