"""The probability simplex: the space every mixture lives in."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError, NotOnSimplexError

SUM_TOLERANCE = 5e-3 + 1e-9  # RegMix publishes sums of 0.996 to 1.003; the rest is for doubles


def normalise(weights: FloatArray, names: Sequence[str] | None = None) -> FloatArray:
    """Return `weights` divided by their sum, if they describe a mixture.

    Args:
        weights: shape `(k,)` or `(q, k)`, token shares; every row sums to 1 within 5e-3.
        names: domain names, length k, for the error message.

    Returns:
        The same shape; every row sums to 1 to float64 precision.

    Raises:
        NotOnSimplexError: a weight is negative or not finite, or a row's sum is too far from 1.

    Example:
        >>> normalise(np.array([0.25, 0.752])).round(4)
        array([0.2495, 0.7505])
    """
    weights = np.asarray(weights, dtype=np.float64)
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        domain = names[place[-1]] if names else f"number {place[-1]}"
        raise NotOnSimplexError(
            f"the weight of domain {domain} is {weights[place]}; "
            "weights must be finite and at least 0",
            field="weights",
        )
    sums = weights.sum(axis=-1, keepdims=True)
    if (np.abs(sums - 1.0) > SUM_TOLERANCE).any():
        worst = sums.ravel()[np.abs(sums.ravel() - 1.0).argmax()]
        raise NotOnSimplexError(
            f"the weights of a mixture sum to {worst:.6g}; the sum must be within "
            f"{SUM_TOLERANCE} of 1",
            field="weights",
        )
    normalised: FloatArray = weights / sums
    return normalised


def apportion(mixtures: FloatArray, units: int) -> IntArray:
    """Split `units` indivisible units in the proportions of each mixture.

    Every share is rounded down and the units left over go to the largest remainders (Hamilton's
    method), so that no share moves by a whole unit and the total is exact. Equal remainders are
    served in domain order.

    Args:
        mixtures: shape `(k,)` or `(q, k)`, rows that sum to 1.
        units: how many units each row gets in all.

    Returns:
        Whole numbers of the same shape; every row sums to `units`.

    Example:
        >>> apportion(np.array([1 / 3, 1 / 3, 1 / 3]), 100)
        array([34, 33, 33])
    """
    exact = np.atleast_2d(mixtures) * units
    whole = np.floor(exact).astype(np.int64)
    left = units - whole.sum(axis=1, keepdims=True)
    order = np.argsort(whole - exact, axis=1, kind="stable")  # largest remainder first
    rank = np.argsort(order, axis=1, kind="stable")
    shares: IntArray = (whole + (rank < left)).reshape(np.shape(mixtures))
    return shares


def round_exactly(mixture: FloatArray, decimals: int) -> tuple[Decimal, ...]:
    """Return weights with `decimals` decimal places that sum to exactly 1.

    Args:
        mixture: shape `(k,)`, sums to 1.
        decimals: places after the point, 0 to 15.

    Raises:
        InvalidInputError: `decimals` is outside 0 to 15.

    Example:
        >>> [str(weight) for weight in round_exactly(np.array([1 / 3, 2 / 3]), 2)]
        ['0.33', '0.67']
    """
    if not 0 <= decimals <= 15:
        raise InvalidInputError(f"decimals is {decimals}; it must be 0 to 15", field="decimals")
    return tuple(Decimal(int(n)).scaleb(-decimals) for n in apportion(mixture, 10**decimals))


def kl_divergence(mixtures: FloatArray, prior: FloatArray) -> FloatArray:
    """Return KL(mixture || prior) in nats, infinite where a used domain has no prior share.

    Args:
        mixtures: shape `(..., k)`.
        prior: shape `(k,)`.

    Returns:
        Shape `(...)`.
    """
    from scipy.special import rel_entr  # the command line loads this module, and starts sooner

    divergence: FloatArray = rel_entr(mixtures, prior).sum(axis=-1)
    return divergence
