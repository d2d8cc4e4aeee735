"""The covariance of runs across mixtures and fidelities.

`cov(y(w, f), y(v, g)) = a_f a_g R_fg k(w, v)`, plus noise `s_f^2` for a run with itself:

    k(w, v) = Matérn52(|√w - √v| / length) + linear · (√w - c) · (√v - c)
    R_fg    = 1 where f = g, else r_f r_g, with r = 1 at the target

The square root of shares is the geometry of Hellinger, in which a share that goes from 0 to .01
matters as much as one that goes from .16 to .25. Each fidelity has its own scale `a`, correlation
with the target `r` and noise `s`; all are learned. `R` is positive definite because it is a
rank-one matrix plus a diagonal that is not negative.

Source:
    The intrinsic model of coregionalisation (Goovaerts, 1997; Álvarez, Rosasco and Lawrence,
    "Kernels for vector-valued functions", 2012), with the correlation matrix of a single factor
    [I: our choice for mixtures; ADMIRE, arXiv:2508.11551, uses a linear truncated kernel on the
    fidelity's share of the target's cost, raw weights and one mean for all fidelities].
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray, IntArray

_SQRT5 = float(np.sqrt(5.0))


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is learned, in the units of standardised outcomes.

    Attributes:
        length: of the Matérn kernel, in Hellinger distance.
        linear: variance of the linear kernel against that of the Matérn kernel.
        scales: shape `(F,)`, a.
        correlations: shape `(F,)`, r; 1 at the target.
        noises: shape `(F,)`, s^2.
    """

    length: float
    linear: float
    scales: FloatArray
    correlations: FloatArray
    noises: FloatArray

    def between_fidelities(self, left: IntArray, right: IntArray) -> FloatArray:
        """Return `a_f a_g R_fg`, shape `(n, q)`."""
        factor = self.scales * self.correlations
        table = np.outer(factor, factor)
        np.fill_diagonal(table, self.scales**2)
        between: FloatArray = table[np.ix_(left, right)]
        return between


def features(mixtures: FloatArray) -> FloatArray:
    """Return √w, the shape of `mixtures` `(n, k)`."""
    rooted: FloatArray = np.sqrt(np.maximum(mixtures, 0.0))
    return rooted


def scaled_distances(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return √5 times the Euclidean distances `(n, q)` of features."""
    squared = np.sum(left**2, 1)[:, None] + np.sum(right**2, 1)[None] - 2.0 * left @ right.T
    distances: FloatArray = _SQRT5 * np.sqrt(np.maximum(squared, 0.0))
    return distances


def matern(distances: FloatArray) -> FloatArray:
    """Return the Matérn-5/2 covariance at √5 times the distance over the length."""
    value: FloatArray = (1.0 + distances + distances**2 / 3.0) * np.exp(-distances)
    return value


def over_mixtures(
    hyperparameters: Hyperparameters, left: FloatArray, right: FloatArray, centre: FloatArray
) -> FloatArray:
    """Return `k` `(n, q)` between features `(n, k)` and `(q, k)`."""
    covariance = matern(scaled_distances(left, right) / hyperparameters.length)
    covariance += hyperparameters.linear * ((left - centre) @ (right - centre).T)
    return covariance
