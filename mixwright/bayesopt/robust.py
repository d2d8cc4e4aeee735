"""Finds the runs that cannot be what they say, so that a few corrupt cells do not bend the model.

A run is an outlier when it is further from what all the other runs predict of it (leave-one-out
residual, Rasmussen and Williams 5.12 [X]) than chance allows among so many runs, twice over; one
that is near once others have no weight is none. An outlier is kept, but as good as without weight,
and reported. Fidelities with few runs have none: among three runs nobody can tell which one is
wrong. [I]
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from mixwright.arrays import BoolArray, FloatArray
from mixwright.bayesopt.fidelities import Structure
from mixwright.bayesopt.kernel import Hyperparameters
from mixwright.bayesopt.model import Posterior, condition, fit, left_out, spread_of
from mixwright.bayesopt.observations import Observations

FEWEST_RUNS = 8  # of a fidelity, for it to have outliers
LARGEST_SHARE = 0.1  # of a fidelity's runs; if more are off, the model is wrong, not the runs
_CHANCE = 0.01  # that any run at all is called an outlier where none is
_IMPOSSIBLE = 8.0  # spreads from the median: not even looked at by the first fit
_NEAREST = 0.5  # how near the rest may be, in deviations, for the scale to follow them
_NO_WEIGHT = 1e6  # times the noise of its fidelity
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Outlier:
    """A run that was given no weight.

    Attributes:
        row: of the observations.
        value: what it says.
        expected: what the others predict.
    """

    row: int
    value: float
    expected: float


def fit_robustly(
    observations: Observations, structure: Structure, hyperparameters: Hyperparameters | None = None
) -> tuple[Posterior, tuple[Outlier, ...]]:
    """Return the posterior in which outliers have no weight, and the outliers.

    Args:
        observations: n runs.
        structure: of the fidelities.
        hyperparameters: to use; by default they are searched for.

    Raises:
        InvalidInputError: no runs.
        FitDidNotConvergeError: no positive definite covariance was found.
    """

    def given(runs: Observations, start: Posterior | None) -> Posterior:
        if hyperparameters is not None:
            return condition(runs, structure, hyperparameters)
        return fit(runs, structure, None if start is None else start.hyperparameters)

    never = flagged = impossible(observations)
    posterior = given(without(observations, flagged), None)
    threshold = _threshold(len(observations.values))
    for _ in range(_ROUNDS):
        surprise = _surprise(posterior, observations, flagged)
        now = _limited(surprise, threshold, observations) | (never & (surprise > threshold))
        if (now == flagged).all():
            break
        flagged = now
        posterior = given(without(observations, flagged), posterior)
    return posterior, outliers_of(posterior, observations, flagged)


def outliers_of(
    posterior: Posterior, observations: Observations, flagged: BoolArray
) -> tuple[Outlier, ...]:
    """Return the runs that are flagged, each with what the posterior expected of it."""
    rows = np.flatnonzero(flagged)
    expected = posterior.mean(observations.mixtures[rows], observations.fidelity[rows])
    return tuple(
        Outlier(int(row), float(observations.values[row]), float(value))
        for row, value in zip(rows, expected, strict=True)
    )


def impossible(observations: Observations) -> BoolArray:
    """Return which runs are so far out that no fit should see them, `(n,)`."""
    return _limited(_from_median(observations), _IMPOSSIBLE, observations)


def without(observations: Observations, flagged: BoolArray) -> Observations:
    """Return the same with as good as no weight for those flagged.

    However much noise there is, 1e6 would still pull: those flagged say what is usual, and have no
    noise in common with the rest of their loss curves.
    """
    if not flagged.any():
        return observations
    values, runs = observations.values.copy(), observations.run.copy()
    for fidelity in np.unique(observations.fidelity[flagged]):
        here = observations.fidelity == fidelity
        values[here & flagged] = np.median(values[here & ~flagged])
    runs[flagged] = runs.max() + 1 + np.arange(int(flagged.sum()))
    noisiness: FloatArray = np.where(flagged, _NO_WEIGHT, observations.noisiness)
    return replace(observations, values=values, noisiness=noisiness, run=runs)


def _surprise(posterior: Posterior, observations: Observations, flagged: BoolArray) -> FloatArray:
    """Return how far each run is from what the others predict, in deviations, `(n,)`.

    Outliers hide behind the noise that they make the model believe in. All other runs of their
    fidelity are nearer than that noise then, and theirs is the deviation that counts.
    """
    surprise = np.abs(left_out(posterior))
    for fidelity in np.unique(observations.fidelity):
        here = observations.fidelity == fidelity
        if here.sum() >= FEWEST_RUNS:
            typical = 1.4826 * float(np.median(surprise[here & ~flagged]))
            surprise[here] /= np.clip(typical, _NEAREST, 1.0)
    mixtures, at = observations.mixtures[flagged], observations.fidelity[flagged]
    off = np.abs(observations.values[flagged] - posterior.mean(mixtures, at))
    surprise[flagged] = off / np.sqrt(posterior.variance(mixtures, at) + posterior.noise(at))
    return surprise


def _threshold(count: int) -> float:
    """Return twice the standard deviations that the largest of `count` residuals may reach."""
    return 2.0 * float(-ndtri(_CHANCE / (2 * count)))


def _from_median(observations: Observations) -> FloatArray:
    """Return how many robust spreads each run is from the median of its fidelity."""
    away = np.zeros(len(observations.values))
    for fidelity in np.unique(observations.fidelity):
        here = observations.fidelity == fidelity
        apart = np.abs(observations.values[here] - np.median(observations.values[here]))
        spread = spread_of(apart)
        away[here] = apart / spread if spread > 0 else 0.0
    return away


def _limited(surprise: FloatArray, threshold: float, observations: Observations) -> BoolArray:
    """Return which runs are beyond the threshold, where so few of a fidelity's are."""
    flagged = surprise > threshold
    for fidelity in np.unique(observations.fidelity[flagged]):
        here = observations.fidelity == fidelity
        count, found = int(here.sum()), int((flagged & here).sum())
        if count < FEWEST_RUNS or found > max(1, LARGEST_SHARE * count):
            flagged &= ~here
    return np.asarray(flagged)
