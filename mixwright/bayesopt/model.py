"""A Gaussian process over mixtures and fidelities, of one outcome; lower is better."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.fidelities import Structure
from mixwright.bayesopt.kernel import (
    Hyperparameters,
    are_same,
    features,
    over_mixtures,
    prior_mean,
    variances_over_mixtures,
)
from mixwright.bayesopt.likelihood import Problem, find, noise_covariance, pack
from mixwright.bayesopt.observations import Observations
from mixwright.errors import FitDidNotConvergeError, InvalidInputError

_JITTERS = (0.0, 1e-8, 1e-6, 1e-4)
_MOST = 0.85  # of the deviations: corrupt runs are among the rest, and good runs alike are not all
_TO_DEVIATION = 1.0 / 1.4395  # from that quantile of absolute deviations to a normal's deviation


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the runs say of every mixture at every fidelity.

    Attributes:
        observations: the runs.
        ran: fidelities of the runs it stands for, shape `(n,)`.
        hyperparameters: of the kernel, for standardised outcomes.
        structure: of the fidelities.
        location: shape `(F,)`, what was taken from each fidelity's outcomes.
        unit: what they were divided by.
        factor: Cholesky factor of the covariance of the runs, shape `(n, n)`.
        whitened: shape `(n,)`, standardised outcomes divided by the factor.
    """

    observations: Observations
    ran: IntArray
    hyperparameters: Hyperparameters
    structure: Structure
    location: FloatArray
    unit: float
    factor: FloatArray
    whitened: FloatArray

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        return self.structure.target

    def mean(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior means `(q,)` without noise, in units of the outcome."""
        weights = solve_triangular(
            self.factor, self.whitened, lower=True, trans=1, check_finite=False
        )
        standard = self._expected(mixtures, fidelity) + self.cross(mixtures, fidelity) @ weights
        mean: FloatArray = self.location[fidelity] + self.unit * standard
        return mean

    def covariance(
        self, left: FloatArray, left_fidelity: IntArray, right: FloatArray, right_fidelity: IntArray
    ) -> FloatArray:
        """Return posterior covariances `(q, p)` without noise, in squared units of the outcome."""
        prior = self._prior(left, left_fidelity, right, right_fidelity)
        one = self._explained(left, left_fidelity)
        two = self._explained(right, right_fidelity)
        covariance: FloatArray = self.unit**2 * (prior - one.T @ two)
        return covariance

    def variance(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior variances `(q,)` without noise, in squared units of the outcome."""
        over = variances_over_mixtures(self.hyperparameters, features(mixtures))
        prior = np.diag(self.hyperparameters.signal)[fidelity] * over
        prior += np.diag(self.structure.means)[fidelity] + self._own(fidelity)
        left = prior - np.sum(self._explained(mixtures, fidelity) ** 2, axis=0)
        variance: FloatArray = self.unit**2 * np.maximum(left, 1e-12)
        return variance

    def noise(self, fidelity: IntArray) -> FloatArray:
        """Return noise variances `(q,)`, in squared units of the outcome: what is luck."""
        noise: FloatArray = self.unit**2 * self._luck(fidelity)
        return noise

    def of_law(self) -> "Posterior":
        """Return what is known of the law alone, without what is the mixtures' own."""
        return replace(self, hyperparameters=replace(self.hyperparameters, roughness=0.0))

    def given(self, mixtures: FloatArray, fidelity: IntArray, values: FloatArray) -> "Posterior":
        """Return the posterior given more runs, with everything that was learned left as it is.

        Raises:
            FitDidNotConvergeError: the covariance is not positive definite.
        """
        if not len(values):
            return self
        known = self._explained(mixtures, fidelity)
        own = self._prior(mixtures, fidelity, mixtures, fidelity) - known.T @ known
        corner = factorised(own + np.diag(self._luck(fidelity)))
        zeros = np.zeros((len(self.factor), len(corner)))
        standard = (values - self.location[fidelity]) / self.unit
        standard -= self._expected(mixtures, fidelity)
        rest = solve_triangular(corner, standard - known.T @ self.whitened, lower=True)
        return replace(
            self,
            observations=self.observations.with_runs(mixtures, fidelity, values),
            ran=np.concatenate([self.ran, fidelity]),
            factor=np.block([[self.factor, zeros], [known.T, corner]]),
            whitened=np.concatenate([self.whitened, rest]),
        )

    def believing(self, mixtures: FloatArray, fidelity: IntArray) -> "Posterior":
        """Return the posterior once these runs have shown what is expected of them."""
        return self.given(mixtures, fidelity, self.mean(mixtures, fidelity))

    def cross(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return standardised prior covariances `(q, n)` with the runs."""
        runs = self.observations
        return self._prior(mixtures, fidelity, runs.mixtures, runs.fidelity)

    def _own(self, fidelity: IntArray) -> FloatArray:
        """Return variances `(q,)` of what is a mixture's own, standardised."""
        own: FloatArray = self.hyperparameters.roughness * self.hyperparameters.noises[fidelity]
        return own

    def _luck(self, fidelity: IntArray) -> FloatArray:
        """Return variances `(q,)` of what is not, standardised."""
        return self.hyperparameters.noises[fidelity] - self._own(fidelity)

    def _expected(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        return prior_mean(self.hyperparameters, features(mixtures), fidelity, self.target)

    def _explained(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        cross = self.cross(mixtures, fidelity).T
        return np.asarray(solve_triangular(self.factor, cross, lower=True, check_finite=False))

    def _prior(
        self, left: FloatArray, left_fidelity: IntArray, right: FloatArray, right_fidelity: IntArray
    ) -> FloatArray:
        one, other = features(left), features(right)
        pairs = np.ix_(left_fidelity, right_fidelity)
        over = over_mixtures(self.hyperparameters, one, other)
        prior: FloatArray = self.hyperparameters.signal[pairs] * over + self.structure.means[pairs]
        is_one = are_same(one, other) & (left_fidelity[:, None] == right_fidelity[None])
        return np.asarray(prior + is_one * self._own(left_fidelity)[:, None])


def fit(
    observations: Observations, structure: Structure, start: Hyperparameters | None = None
) -> Posterior:
    """Return the posterior given runs, with hyperparameters that are searched for.

    Outcomes are centred per fidelity and divided by one unit, the spread within fidelities: a
    fidelity with a single run has no spread of its own, and the kernel learns the ratios. Median
    and a quantile of absolute deviations are used, which a few corrupt runs do not move.

    Args:
        observations: n runs, at least one.
        structure: of the fidelities.
        start: where the search begins; by default at the prior's medians.

    Raises:
        InvalidInputError: no runs.
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    problem = problem_of(observations, structure)
    found = find(problem, None if start is None else pack(start, problem))
    return condition(observations, structure, found)


def condition(
    observations: Observations, structure: Structure, hyperparameters: Hyperparameters
) -> Posterior:
    """Return the posterior given runs and hyperparameters.

    Raises:
        InvalidInputError: no runs.
        FitDidNotConvergeError: the covariance is not positive definite.
    """
    problem = problem_of(observations, structure, hyperparameters.centre)
    pairs = np.ix_(problem.fidelity, problem.fidelity)
    over = over_mixtures(hyperparameters, problem.rooted, problem.rooted)
    covariance = hyperparameters.signal[pairs] * over + structure.means[pairs]
    factor = factorised(covariance + noise_covariance(hyperparameters, problem))
    location, unit = standard(observations, structure)
    mean = prior_mean(hyperparameters, problem.rooted, problem.fidelity, structure.target)
    return Posterior(
        observations=observations,
        ran=observations.fidelity,
        hyperparameters=hyperparameters,
        structure=structure,
        location=location,
        unit=unit,
        factor=factor,
        whitened=np.asarray(solve_triangular(factor, problem.values - mean, lower=True)),
    )


def left_out(posterior: Posterior) -> FloatArray:
    """Return what each run shows beyond what the others predict, in standard deviations, `(n,)`.

    Rasmussen and Williams (5.12) [X], noise included.
    """
    inverse = np.asarray(cho_solve((posterior.factor, True), np.eye(len(posterior.factor))))
    weights = solve_triangular(posterior.factor, posterior.whitened, lower=True, trans=1)
    residuals: FloatArray = weights / np.sqrt(np.diag(inverse))
    return residuals


def factorised(covariance: FloatArray) -> FloatArray:
    """Return the Cholesky factor of a covariance, with jitter where it needs some.

    Raises:
        FitDidNotConvergeError: no jitter helps.
    """
    scale = float(np.diag(covariance).mean())
    for jitter in _JITTERS:
        try:
            shifted = covariance + jitter * scale * np.eye(len(covariance))
            factor: FloatArray = cholesky(shifted, lower=True)
        except (LinAlgError, ValueError):
            continue
        return factor
    raise FitDidNotConvergeError(
        f"the covariance of {len(covariance)} runs is not positive definite, even with "
        f"{_JITTERS[-1]:g} of its diagonal added"
    )


def standard(observations: Observations, structure: Structure) -> tuple[FloatArray, float]:
    """Return what is taken from each fidelity's outcomes `(F,)`, and what divides them.

    Raises:
        InvalidInputError: no runs.
    """
    if not len(observations.values):
        raise InvalidInputError("there are no runs to learn from")
    count, seen = len(structure.means), np.unique(observations.fidelity)
    medians, apart = np.zeros(count), []
    for fidelity in seen:
        values = observations.values[observations.fidelity == fidelity]
        medians[fidelity] = np.median(values)
        if len(values) > 1:
            apart.append(np.abs(values - medians[fidelity]))
    deviations = np.concatenate(apart) if apart else np.zeros(1)
    return structure.locate(medians, seen), spread_of(deviations) or 1.0


def spread_of(deviations: FloatArray) -> float:
    """Return a standard deviation `()` of deviations `(n,)` that a few corrupt ones do not move.

    Most runs of an optimiser are near the best and alike, so their median would say too little.
    """
    most = float(np.quantile(np.abs(deviations), _MOST))
    return _TO_DEVIATION * most or float(np.sqrt(np.mean(deviations**2)))


def problem_of(
    observations: Observations, structure: Structure, centre: FloatArray | None = None
) -> Problem:
    """Return the likelihood of runs, with standardised outcomes.

    Args:
        observations: n runs, at least one.
        structure: of the fidelities.
        centre: shape `(k,)`, of the kernel; by default the runs' mean feature.

    Raises:
        InvalidInputError: no runs.
    """
    location, unit = standard(observations, structure)
    rooted = features(observations.mixtures)
    return Problem(
        rooted=rooted,
        centre=rooted.mean(axis=0) if centre is None else centre,
        fidelity=observations.fidelity,
        values=(observations.values - location[observations.fidelity]) / unit,
        noisiness=observations.noisiness,
        run=observations.run,
        structure=structure,
    )
