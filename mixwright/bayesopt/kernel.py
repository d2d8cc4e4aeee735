"""The covariance of runs across mixtures and fidelities.

`cov(y(w, f), y(v, g)) = B_fg k(w, v)`, plus what is a mixture's own, plus noise for a run with
itself:

    k(w, v) = Matérn52(|u - u'|) + linear · u · u',    u_j = (√w_j - c_j) / length_j

The square root of shares is the geometry of Hellinger, in which a share that goes from 0 to .01
matters as much as one that goes from .16 to .25. Each domain has a length of its own, drawn
towards a common one: what matters for a mean of losses is every share, and for the loss on one
kind of text, few. `B` is the covariance of fidelities, see `mixwright.bayesopt.fidelities`.

The prior mean rises with the angle between √w and the mean feature, at each fidelity by as much as
it shares with the target: before there is evidence, a mixture is taken to be the worse the less it
is like those that ran. Most outcomes suffer where domains starve, and a kernel that is as uncertain
as it is far away would try such mixtures first. It is a prior of the linear kernel's slopes, which
runs that say otherwise overrule. [I: ours]

What a run shows beyond the kernel's law may be luck, or its mixture's own: there again if the
mixture is run again at that fidelity (`roughness`, the share that is). Without replicates nobody
can tell, and half is believed; replicates tell. It says nothing of other mixtures, but a mixture
that did better than the law is worth recommending for it, and the more runs differ beyond the law,
the more is to be found by target runs alone. [I: ours]

Source:
    The intrinsic model of coregionalisation (Goovaerts, 1997; Álvarez, Rosasco and Lawrence,
    "Kernels for vector-valued functions", 2012) [I: our choice for mixtures; ADMIRE,
    arXiv:2508.11551, uses a linear truncated kernel on the fidelity's share of the target's cost,
    raw weights and one mean for all fidelities].
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import BoolArray, FloatArray, IntArray

_SQRT5 = float(np.sqrt(5.0))
SAME = 1e-12  # squared Hellinger distance below which two mixtures are one
_WORSE = 2.5  # spreads of the outcome by which a mixture at a right angle to the others is worse


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is learned, in the units of standardised outcomes.

    Attributes:
        centre: shape `(k,)`, c, the mean feature.
        lengths: shape `(k,)`, of the domains, in Hellinger distance.
        linear: variance of the linear kernel against that of the Matérn kernel.
        signal: shape `(F, F)`, B.
        noises: shape `(F,)`, variance of a run beyond the law.
        roughness: share of it that is the mixture's own.
        common: share of the noise that points of one run's loss curve have in common.
    """

    centre: FloatArray
    lengths: FloatArray
    linear: float
    signal: FloatArray
    noises: FloatArray
    common: float = 0.0
    roughness: float = 0.0

    def correlation(self, one: int, other: int) -> float:
        """Return the correlation of two fidelities, noise apart."""
        return float(
            self.signal[one, other] / np.sqrt(self.signal[one, one] * self.signal[other, other])
        )

    def beyond_law(self, fidelity: IntArray, noisiness: FloatArray) -> FloatArray:
        """Return variances `(n,)` of what runs show beyond the law; `noisiness` is of luck."""
        of_each = self.roughness + (1.0 - self.roughness) * noisiness
        beyond: FloatArray = self.noises[fidelity] * of_each
        return beyond

    def loadings(self, target: int) -> FloatArray:
        """Return by how much each fidelity moves when the target moves by its scale, `(F,)`."""
        loadings: FloatArray = self.signal[:, target] / np.sqrt(self.signal[target, target])
        return loadings


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
    hyperparameters: Hyperparameters, left: FloatArray, right: FloatArray
) -> FloatArray:
    """Return `k` `(n, q)` between features `(n, k)` and `(q, k)`."""
    one = (left - hyperparameters.centre) / hyperparameters.lengths
    other = (right - hyperparameters.centre) / hyperparameters.lengths
    covariance = matern(scaled_distances(one, other))
    covariance += hyperparameters.linear * (one @ other.T)
    return covariance


def are_same(left: FloatArray, right: FloatArray) -> BoolArray:
    """Return which features of `(n, k)` and `(q, k)` are of one mixture, `(n, q)`."""
    squared = np.sum(left**2, 1)[:, None] + np.sum(right**2, 1)[None] - 2.0 * left @ right.T
    same: BoolArray = squared < SAME
    return same


def are_replicates(rooted: FloatArray, fidelity: IntArray) -> BoolArray:
    """Return which pairs `(n, n)` are different runs of one mixture `(n, k)` at one fidelity."""
    pairs: BoolArray = are_same(rooted, rooted) & (fidelity[:, None] == fidelity[None])
    np.fill_diagonal(pairs, False)
    return pairs


def unlikeness(centre: FloatArray, rooted: FloatArray) -> FloatArray:
    """Return how unlike the `centre` `(k,)` features `(n, k)` are, `(n,)`: 0 at the centre."""
    length = float(np.linalg.norm(centre))
    unlike: FloatArray = _WORSE * (length - rooted @ (centre / length))
    return unlike


def prior_mean(
    hyperparameters: Hyperparameters, rooted: FloatArray, fidelity: IntArray, target: int
) -> FloatArray:
    """Return the prior mean `(n,)` of features `(n, k)` at fidelities `(n,)`, standardised."""
    loadings = hyperparameters.loadings(target)[fidelity]
    mean: FloatArray = loadings * unlikeness(hyperparameters.centre, rooted)
    return mean


def prior_slope(hyperparameters: Hyperparameters) -> FloatArray:
    """Return the gradient `(k,)` of `unlikeness` by the features."""
    centre = hyperparameters.centre
    slope: FloatArray = -_WORSE * centre / np.linalg.norm(centre)
    return slope


def variances_over_mixtures(hyperparameters: Hyperparameters, rooted: FloatArray) -> FloatArray:
    """Return `k(w, w)` `(n,)` of features `(n, k)`."""
    away = (rooted - hyperparameters.centre) / hyperparameters.lengths
    variances: FloatArray = 1.0 + hyperparameters.linear * np.sum(away**2, axis=1)
    return variances
