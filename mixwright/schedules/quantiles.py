"""Splits documents at quantiles of a score, weighted by their tokens."""

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError


def weighted_quantiles(values: FloatArray, tokens: FloatArray, shares: FloatArray) -> FloatArray:
    """Return thresholds `(q,)` below which lie `shares` of the tokens.

    A threshold is half-way between the two documents that it parts, so that the median of two
    equal documents is their mean.

    Args:
        values: shape `(n,)`, finite.
        tokens: shape `(n,)`, above 0.
        shares: shape `(q,)`, between 0 and 1.
    """
    order = np.argsort(values, kind="stable")
    ranked, reached = values[order], np.cumsum(tokens[order])
    wanted = np.asarray(shares) * reached[-1]
    after = np.searchsorted(reached, wanted, side="left")  # the document that reaches the share
    short = np.where(after > 0, wanted - reached[np.maximum(after - 1, 0)], wanted)
    is_nearer_before = (short < reached[after] - wanted) & (after > 0)
    last = np.where(is_nearer_before, after - 1, after)
    following = np.minimum(last + 1, len(values) - 1)
    thresholds: FloatArray = (ranked[last] + ranked[following]) / 2
    return thresholds


def parts_of(values: FloatArray, thresholds: FloatArray) -> IntArray:
    """Return which part each value is of, `(n,)`, 0 the lowest; a value at a threshold goes low."""
    parts: IntArray = np.searchsorted(thresholds, values, side="left")
    return parts


def finite_column(values: FloatArray, name: str, field: str) -> tuple[FloatArray, str | None]:
    """Return values with infinities clipped to the largest and smallest others, and a warning.

    Raises:
        InvalidInputError: a value is NaN, or none is finite.
    """
    missing = np.isnan(values)
    finite = np.isfinite(values)
    if missing.any() or not finite.any():
        raise InvalidInputError(
            f"column '{name}' has no number for {int(missing.sum())} of {len(values)} documents, "
            f"first for number {int(missing.argmax())}; score them again or leave them out",
            field,
        )
    if finite.all():
        return values, None
    low, high = values[finite].min(), values[finite].max()
    return np.clip(values, low, high), (
        f"column '{name}' is infinite for {int((~finite).sum())} documents; they were taken for "
        f"the most extreme of the others"
    )
