"""Calibrated intervals, and the statistics a fit report is made of.

Conformal intervals: residuals divided by the surrogate's own standard deviation are ranked, and
the multiplier that covers the wanted share of them scales every later interval (Vovk et al., cross-
conformal prediction; Romano et al., arXiv:1905.03222 [S]). Coverage is measured on each fold with
the multiplier of the other folds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from mixwright.arrays import FloatArray, IntArray

LEVEL = 0.9  # of every interval
FEWEST_FOR_STATISTICS = 3
_SMALLEST_STD = 1e-12


@dataclass(frozen=True, slots=True)
class Scores:
    """How well predictions match observations; None where undefined.

    Attributes:
        spearman: rank correlation; None where either side is constant.
        r2: share of variance explained.
        mae: mean absolute error.
        coverage: share of observations inside their interval.
        runs: observations compared.
    """

    spearman: float | None
    r2: float | None
    mae: float | None
    coverage: float | None
    runs: int


def interval_multiplier(observed: FloatArray, mean: FloatArray, std: FloatArray) -> float:
    """Return how many standard deviations cover `LEVEL` of the observations, all `(n,)`.

    The rank is that of split-conformal prediction, (n + 1) · LEVEL rounded up; with fewer than
    nine observations no rank suffices and the largest residual is taken.
    """
    present = np.isfinite(observed)
    ratios = np.sort(np.abs(observed - mean)[present] / np.maximum(std[present], _SMALLEST_STD))
    rank = min(int(np.ceil((len(ratios) + 1) * LEVEL)), len(ratios))
    return float(ratios[rank - 1])


def fold_multipliers(
    observed: FloatArray, mean: FloatArray, std: FloatArray, folds: IntArray
) -> FloatArray:
    """Return for each observation `(n,)` the multiplier calibrated on the other folds."""
    multipliers = np.empty(len(observed))
    for fold in np.unique(folds):
        other = (folds != fold) & np.isfinite(observed)
        usable = other if other.any() else np.isfinite(observed)
        multipliers[folds == fold] = interval_multiplier(
            observed[usable], mean[usable], std[usable]
        )
    return multipliers


def score(observed: FloatArray, mean: FloatArray, lower: FloatArray, upper: FloatArray) -> Scores:
    """Compare predictions with observations, all `(n,)`; missing observations are left out."""
    present = np.isfinite(observed) & np.isfinite(mean)
    observed, mean = observed[present], mean[present]
    if len(observed) < FEWEST_FOR_STATISTICS:
        return Scores(None, None, None, None, len(observed))
    inside = (lower[present] <= observed) & (observed <= upper[present])
    return Scores(
        spearman=_rank_correlation(observed, mean),
        r2=_explained(observed, mean),
        mae=float(np.mean(np.abs(observed - mean))),
        coverage=float(np.mean(inside)),
        runs=len(observed),
    )


def _rank_correlation(observed: FloatArray, mean: FloatArray) -> float | None:
    if np.ptp(observed) == 0 or np.ptp(mean) == 0:
        return None
    return float(spearmanr(observed, mean).statistic)


def _explained(observed: FloatArray, mean: FloatArray) -> float | None:
    total = np.sum((observed - observed.mean()) ** 2)
    return float(1 - np.sum((observed - mean) ** 2) / total) if total > 0 else None
