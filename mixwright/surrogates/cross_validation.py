"""Folds, and predictions of every run by fits that did not see it."""

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.surrogates.base import (
    CrossFitting,
    FittedSurrogate,
    Prediction,
    Progress,
    Surrogate,
    silent,
)

_FEW_RUNS = 100  # up to here ten folds, so that a fold's fit sees nearly all runs


def assign_folds(values: FloatArray, seed: int) -> IntArray:
    """Return a random fold for each run, shape `(n,)`: ten folds for few runs, else five.

    Runs that miss the same metrics are spread over the folds, so that no fold holds all the
    values of a rarely measured metric.

    Args:
        values: shape `(n, m)`, NaN where missing.
        seed: decides the assignment.
    """
    num_runs = len(values)
    num_folds = min(num_runs, 10 if num_runs <= _FEW_RUNS else 5)
    shuffled = np.random.default_rng(seed).permutation(num_runs)
    order = shuffled[np.lexsort(np.isnan(values[shuffled]).T)]
    folds = np.empty(num_runs, dtype=np.int64)
    folds[order] = np.arange(num_runs) % num_folds
    return folds


def cross_fit(
    surrogate: Surrogate,
    mixtures: FloatArray,
    values: FloatArray,
    folds: IntArray,
    seed: int,
    progress: Progress = silent,
) -> tuple[FittedSurrogate, Prediction]:
    """Fit on every run, and predict every run `(n, m)` without the runs of its fold."""
    if isinstance(surrogate, CrossFitting):
        return surrogate.cross_fit(mixtures, values, folds, seed, progress)
    mean, std = np.empty(values.shape), np.empty(values.shape)
    names = np.unique(folds)
    for index, fold in enumerate(names):
        held = folds == fold
        fitted = surrogate.fit(mixtures[~held], values[~held], seed)
        prediction = fitted.predict(mixtures[held])
        mean[held], std[held] = prediction.mean, prediction.std
        progress((index + 1) / (len(names) + 1))
    return surrogate.fit(mixtures, values, seed), Prediction(mean, std)
