"""The critical mixture ratio: the largest share of a new domain that old abilities bear.

Source:
    Gu et al., "CMR Scaling Law: Predicting Critical Mixture Ratios for Continual Pre-training of
    Language Models", arXiv:2407.17467 [S]: of losses against the first checkpoint, that of the
    domain follows a T^s + b, the general one a T^s + a' T^s' + b, and the largest share of the
    domain that keeps the general loss within a tolerance follows a T^s + b, T in units of 200M
    tokens.

Departures [I]:
    * The general loss of a share at a T is read from its curve, linearly in the logarithm of
      tokens, and not from a fit of its two terms; points of one share and length are averaged.
    * The critical share at a T is read between the shares that were run, linearly, after the
      general loss was made monotone in the share.
    * The law over T needs three lengths; with fewer the share at the longest is taken. Its interval
      is that of the fit alone, by linearisation.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression, minimize_scalar

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.schedules.comparing import CONFIDENCE

UNIT_TOKENS: Final = 2e8
_APART: Final = 0.05
_POWERS = np.arange(-3.0, 3.0 + _APART / 2, _APART).tolist()  # that a fit tries first


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """a T^s + b."""

    scale: float
    power: float
    offset: float

    def at(self, times: FloatArray) -> FloatArray:
        """Return values at T, in units of 200M tokens."""
        values: FloatArray = self.scale * np.asarray(times) ** self.power + self.offset
        return values


def fit_power_law(times: FloatArray, values: FloatArray) -> PowerLaw:
    """Return the least-squares fit of a T^s + b, s from -3 to 3; a and b are linear given s.

    Args:
        times: shape `(n,)`, T.
        values: shape `(n,)`.

    Raises:
        InvalidInputError: fewer than three points.
    """
    if len(times) < 3:
        raise InvalidInputError(
            f"a power law with an offset needs three points; there are {len(times)}", "options/runs"
        )

    def squares(power: float) -> float:
        return float(((_given(power, times, values).at(times) - values) ** 2).sum())

    nearest = min(_POWERS, key=squares)
    around = (nearest - _APART, nearest + _APART)
    found = minimize_scalar(squares, bounds=around, method="bounded", options={"xatol": 1e-10})
    return _given(float(found.x), times, values)


def _given(power: float, times: FloatArray, values: FloatArray) -> PowerLaw:
    """Return the law of this power with the best scale and offset."""
    raised = times**power
    apart = raised - raised.mean()
    scale = float(apart @ values / (apart @ apart or 1.0))
    return PowerLaw(scale, power, float(values.mean() - scale * raised.mean()))


def interval_of(
    law: PowerLaw, times: FloatArray, values: FloatArray, target: float
) -> tuple[float, float] | None:
    """Return the 95 % interval of a fit at a T, None where no point is left over to tell it.

    It is by linearisation, of Student's t. Points of one run are alike, so that it is too narrow
    rather than too wide.

    Args:
        law: fitted to the points.
        times: shape `(n,)`, T.
        values: shape `(n,)`.
        target: T.
    """
    from scipy.stats import t as student

    free = len(times) - 3
    if free < 1:
        return None
    slopes, slope = _slopes(law, times), _slopes(law, np.array([target]))[0]
    variance = float(((law.at(times) - values) ** 2).sum()) / free
    spread = np.sqrt(variance * slope @ np.linalg.pinv(slopes.T @ slopes) @ slope)
    half = float(student.ppf((1 + CONFIDENCE) / 2, free) * spread)
    middle = float(law.at(np.array([target]))[0])
    return middle - half, middle + half


def _slopes(law: PowerLaw, times: FloatArray) -> FloatArray:
    """Return derivatives by a, s and b, `(n, 3)`."""
    power = times**law.power
    return np.column_stack([power, law.scale * power * np.log(times), np.ones(len(times))])


def critical_share(
    shares: FloatArray, losses: FloatArray, tolerance: float
) -> tuple[float, bool] | None:
    """Return the largest share whose general loss is within the tolerance, and if it is censored.

    Censored: even the largest share that was run keeps it, so that the critical one is no smaller.
    None where even the smallest costs more.

    Args:
        shares: shape `(r,)`, of the domain, ascending.
        losses: shape `(r,)`, general loss against the first checkpoint.
        tolerance: ε, in the loss's unit.
    """
    rising = isotonic_regression(losses).x
    if rising[0] > tolerance:
        return None
    if rising[-1] <= tolerance:
        return float(shares[-1]), True
    over = int(np.argmax(rising > tolerance))
    low, high = rising[over - 1], rising[over]
    part = (tolerance - low) / (high - low)
    return float(shares[over - 1] + part * (shares[over] - shares[over - 1])), False


@dataclass(frozen=True, slots=True)
class Grid:
    """General losses of shares at lengths that all of them reach.

    Attributes:
        shares: shape `(r,)`, ascending.
        times: shape `(p,)`, T, ascending.
        losses: shape `(p, r)`.
        left_out: how many lengths not all of them reach.
    """

    shares: FloatArray
    times: FloatArray
    losses: FloatArray
    left_out: int


def grid_of(points: FloatArray) -> Grid:
    """Return losses by length and share, of points `(n, 3)`: share, tokens, general loss.

    Raises:
        InvalidInputError: there is no length that the curves of all shares reach.
    """
    shares, lengths = np.unique(points[:, 0]), np.unique(points[:, 1])
    curves = [_curve(points[points[:, 0] == share, 1:]) for share in shares]
    low, high = max(one[0][0] for one in curves), min(one[0][-1] for one in curves)
    tokens = lengths[(lengths >= low) & (lengths <= high)]
    if not len(tokens):
        raise InvalidInputError(
            f"no length is within the curves of all shares: one begins at {low:g} tokens and "
            f"another ends at {high:g}; run all shares as long",
            "options/runs",
        )
    losses = [np.interp(np.log(tokens), np.log(length), loss) for length, loss in curves]
    return Grid(shares, tokens / UNIT_TOKENS, np.array(losses).T, len(lengths) - len(tokens))


def _curve(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return lengths, ascending, each once, and mean losses of points: tokens, loss."""
    lengths, places = np.unique(points[:, 0], return_inverse=True)
    return lengths, np.bincount(places, points[:, 1]) / np.bincount(places)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The critical share at a budget.

    Attributes:
        share: from 0 to 1, or what the law says below.
        times: T at which a share was found.
        critical: the shares there.
        is_censored: at some T even the largest share that was run keeps the general loss.
        law: over T, None of fewer than three.
        interval: of the share, see `interval_of`.
    """

    share: float
    times: FloatArray
    critical: FloatArray
    is_censored: bool
    law: PowerLaw | None = None
    interval: tuple[float, float] | None = None


def estimate(grid: Grid, tolerance: float, target: float) -> Estimate | None:
    """Return the critical share at `target` T; None where the longest length has none.

    Shorter lengths without one are left out: the general loss rises before it falls.
    """
    found = [critical_share(grid.shares, losses, tolerance) for losses in grid.losses]
    if found[-1] is None:
        return None
    times = grid.times[[one is not None for one in found]]
    shares = np.array([one[0] for one in found if one is not None])
    is_censored = any(one[1] for one in found if one is not None)
    if len(times) < 3:
        return Estimate(float(shares[-1]), times, shares, is_censored)
    law = fit_power_law(times, shares)
    interval = interval_of(law, times, shares, target)
    share = min(1.0, float(law.at(np.array([target]))[0]))
    return Estimate(share, times, shares, is_censored, law, interval)
