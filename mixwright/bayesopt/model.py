"""A Gaussian process over mixtures and fidelities, of one outcome; lower is better."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.kernel import Hyperparameters, features, over_mixtures
from mixwright.bayesopt.likelihood import MEAN_VARIANCE, Problem, find, pack
from mixwright.errors import FitDidNotConvergeError, InvalidInputError

_JITTERS = (0.0, 1e-8, 1e-6, 1e-4)


@dataclass(frozen=True, slots=True)
class Observations:
    """Runs of one outcome.

    Attributes:
        mixtures: shape `(n, k)`.
        fidelity: shape `(n,)`, indices into the study's fidelities.
        values: shape `(n,)`, oriented so that lower is better.
    """

    mixtures: FloatArray
    fidelity: IntArray
    values: FloatArray

    def with_runs(
        self, mixtures: FloatArray, fidelity: IntArray, values: FloatArray
    ) -> "Observations":
        """Return these and more."""
        return Observations(
            np.vstack([self.mixtures, mixtures]),
            np.concatenate([self.fidelity, fidelity]),
            np.concatenate([self.values, values]),
        )


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the runs say of every mixture at every fidelity.

    Attributes:
        observations: the runs.
        hyperparameters: of the kernel, for standardised outcomes.
        target: index of the target fidelity.
        centre: of the linear kernel, shape `(k,)`.
        location: shape `(F,)`, what was taken from each fidelity's outcomes.
        unit: what they were divided by.
        factor: Cholesky factor of the covariance of the runs, shape `(n, n)`.
        weights: shape `(n,)`, inverse covariance times standardised outcomes.
    """

    observations: Observations
    hyperparameters: Hyperparameters
    target: int
    centre: FloatArray
    location: FloatArray
    unit: float
    factor: FloatArray
    weights: FloatArray

    def mean(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior means `(q,)` without noise, in units of the outcome."""
        standard = self.cross(mixtures, fidelity) @ self.weights
        mean: FloatArray = self.location[fidelity] + self.unit * standard
        return mean

    def covariance(
        self, left: FloatArray, left_fidelity: IntArray, right: FloatArray, right_fidelity: IntArray
    ) -> FloatArray:
        """Return posterior covariances `(q, p)` without noise, in squared units of the outcome."""
        prior = self._prior(left, left_fidelity, right, right_fidelity)
        one = solve_triangular(self.factor, self.cross(left, left_fidelity).T, lower=True)
        two = solve_triangular(self.factor, self.cross(right, right_fidelity).T, lower=True)
        covariance: FloatArray = self.unit**2 * (prior - one.T @ two)
        return covariance

    def prior_variances(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return prior variances `(q,)` without noise, in squared units of the outcome."""
        hyper, away = self.hyperparameters, features(mixtures) - self.centre
        over = 1.0 + hyper.linear * np.sum(away**2, axis=1)
        variance: FloatArray = self.unit**2 * (hyper.scales[fidelity] ** 2 * over + MEAN_VARIANCE)
        return variance

    def given(self, observations: Observations) -> "Posterior":
        """Return the posterior given other runs, with everything that was learned left as it is."""
        values = (observations.values - self.location[observations.fidelity]) / self.unit
        factor = _factor(self.hyperparameters, observations, self.centre)
        weights = np.asarray(cho_solve((factor, True), values))
        return replace(self, observations=observations, factor=factor, weights=weights)

    def noise(self, fidelity: IntArray) -> FloatArray:
        """Return noise variances `(q,)`, in squared units of the outcome."""
        noise: FloatArray = self.unit**2 * self.hyperparameters.noises[fidelity]
        return noise

    def cross(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return standardised prior covariances `(q, n)` with the runs."""
        runs = self.observations
        return self._prior(mixtures, fidelity, runs.mixtures, runs.fidelity)

    def _prior(
        self, left: FloatArray, left_fidelity: IntArray, right: FloatArray, right_fidelity: IntArray
    ) -> FloatArray:
        return prior_covariance(
            self.hyperparameters, self.centre, left, left_fidelity, right, right_fidelity
        )


def prior_covariance(
    hyperparameters: Hyperparameters,
    centre: FloatArray,
    left: FloatArray,
    left_fidelity: IntArray,
    right: FloatArray,
    right_fidelity: IntArray,
) -> FloatArray:
    """Return standardised covariances `(q, n)`, with those of the fidelities' unknown means."""
    over = over_mixtures(hyperparameters, features(left), features(right), centre)
    covariance = hyperparameters.between_fidelities(left_fidelity, right_fidelity) * over
    covariance += MEAN_VARIANCE * (left_fidelity[:, None] == right_fidelity[None])
    return covariance


def fit(
    observations: Observations,
    num_fidelities: int,
    target: int,
    before: Posterior | None = None,
    *,
    is_refitted: bool = True,
) -> Posterior:
    """Return the posterior given runs.

    Outcomes are centred per fidelity and divided by one unit, the spread within fidelities: a
    fidelity with a single run has no spread of its own, and the kernel learns the ratios.

    Args:
        observations: n runs, at least one.
        num_fidelities: F, of the study.
        target: index of the target fidelity.
        before: a posterior of fewer runs, whose hyperparameters the search begins from.
        is_refitted: whether to search at all; otherwise those are used as they are.

    Raises:
        InvalidInputError: no runs.
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    if not len(observations.values):
        raise InvalidInputError("there are no runs to learn from")
    location, unit = _standard(observations, num_fidelities)
    rooted = features(observations.mixtures)
    values = (observations.values - location[observations.fidelity]) / unit
    if before is not None and not is_refitted:
        centre, hyperparameters = before.centre, before.hyperparameters
    else:
        centre = rooted.mean(axis=0)
        problem = Problem(rooted, centre, observations.fidelity, values, num_fidelities, target)
        start = None if before is None else pack(before.hyperparameters, problem)
        hyperparameters = find(problem, start)
    factor = _factor(hyperparameters, observations, centre)
    return Posterior(
        observations=observations,
        hyperparameters=hyperparameters,
        target=target,
        centre=centre,
        location=location,
        unit=unit,
        factor=factor,
        weights=np.asarray(cho_solve((factor, True), values)),
    )


def _standard(observations: Observations, num_fidelities: int) -> tuple[FloatArray, float]:
    location, squares, count = np.zeros(num_fidelities), 0.0, 0
    for fidelity in range(num_fidelities):
        values = observations.values[observations.fidelity == fidelity]
        if len(values):
            location[fidelity] = np.median(values)
            squares += float(((values - values.mean()) ** 2).sum())
            count += len(values) - 1
    unit = np.sqrt(squares / count) if count and squares > 0 else 1.0
    unseen = ~np.isin(np.arange(num_fidelities), observations.fidelity)
    location[unseen] = location[~unseen].mean()
    return location, float(unit)


def _factor(
    hyperparameters: Hyperparameters, observations: Observations, centre: FloatArray
) -> FloatArray:
    """Return the Cholesky factor of the runs' covariance, with jitter where it needs some.

    Raises:
        FitDidNotConvergeError: no jitter helps.
    """
    x, f = observations.mixtures, observations.fidelity
    covariance = prior_covariance(hyperparameters, centre, x, f, x, f)
    covariance[np.diag_indices_from(covariance)] += hyperparameters.noises[f]
    for jitter in _JITTERS:
        try:
            factor: FloatArray = cholesky(covariance + jitter * np.eye(len(f)), lower=True)
        except LinAlgError:
            continue
        return factor
    raise FitDidNotConvergeError("the covariance of the runs is not positive definite")
