"""A Gaussian process over mixtures and fidelities: few runs at one scale, helped by others.

The model is that of Bayesian optimisation (`mixwright.bayesopt`): a Matérn-5/2 and a linear kernel
on the square roots of shares; each fidelity has a mean, a scale, a noise and a correlation with the
fitted one, all learned by marginal likelihood. With runs of one fidelity only it is a plain
Gaussian process.

Source:
    The intrinsic model of coregionalisation (Goovaerts, 1997) [R], and Rasmussen and Williams,
    "Gaussian Processes for Machine Learning", 2006: posterior (2.25, 2.26) [X]. Features, priors
    and how fidelities are related are ours [I].

Departures:
    Hyperparameters are found once, on at most `hyperparameter_runs` runs, and kept, with outliers,
    centres and units, when folds are left out. At most `max_runs` runs are conditioned on. A share
    counts as 1e-4 more than it is, so that the slope of its square root stays finite.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.kernel import Hyperparameters, features, prior_mean
from mixwright.bayesopt.model import standard
from mixwright.bayesopt.observations import Observations, with_noise_of_replicates
from mixwright.bayesopt.robust import fit_robustly
from mixwright.options import option
from mixwright.surrogates.base import OtherRuns, Prediction, Progress, canonical_order, silent
from mixwright.surrogates.fidelity_posterior import (
    FITTED,
    FittedMultiFidelityGP,
    factor_of,
    shifted,
)

_FEWEST_RUNS = 3
_COMPARABLE = 5.0  # ratio of the spreads of two fidelities
_SEARCH = 0.8  # share of a cross-validated fit that the search for hyperparameters takes


@dataclass(frozen=True, slots=True)
class MultiFidelityGP:
    """Options of the Gaussian process over mixtures and fidelities."""

    hyperparameter_runs: int = option(
        256, "Runs, drawn at random, on which hyperparameters are found.", minimum=8, maximum=2048
    )
    max_runs: int = option(
        2000, "Runs, drawn at random, that predictions are made from.", minimum=8, maximum=4096
    )

    def min_runs(self, num_domains: int) -> int:
        """Return the fewest that show a trend: other fidelities and priors supply the rest."""
        return _FEWEST_RUNS

    def beside(self, others: OtherRuns) -> "MultiFidelityGPBeside":
        """Return the recipe that learns from runs of other fidelities too."""
        return MultiFidelityGPBeside(self, others)

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> FittedMultiFidelityGP:
        """Learn from runs of one fidelity alone.

        Raises:
            FitDidNotConvergeError: no positive definite covariance was found.
        """
        return self.beside(OtherRuns.none(mixtures, values)).fit(mixtures, values, seed)

    def cross_fit(
        self,
        mixtures: FloatArray,
        values: FloatArray,
        folds: IntArray,
        seed: int,
        progress: Progress = silent,
    ) -> tuple[FittedMultiFidelityGP, Prediction]:
        """Fit once; leave folds out with the hyperparameters of all runs."""
        alone = self.beside(OtherRuns.none(mixtures, values))
        return alone.cross_fit(mixtures, values, folds, seed, progress)


@dataclass(frozen=True, slots=True)
class MultiFidelityGPBeside:
    """The recipe, and the runs of other fidelities that are evidence beside those fitted."""

    recipe: MultiFidelityGP
    others: OtherRuns

    def min_runs(self, num_domains: int) -> int:
        """Return what the recipe needs."""
        return self.recipe.min_runs(num_domains)

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> FittedMultiFidelityGP:
        """Find each metric's hyperparameters, and condition on its runs of all fidelities.

        Raises:
            FitDidNotConvergeError: no positive definite covariance was found.
        """
        evidence = self._gather(mixtures, values, seed)
        return _condition(evidence, self._learn(evidence, seed, silent))

    def cross_fit(
        self,
        mixtures: FloatArray,
        values: FloatArray,
        folds: IntArray,
        seed: int,
        progress: Progress = silent,
    ) -> tuple[FittedMultiFidelityGP, Prediction]:
        """Fit once; leave folds out with the hyperparameters of all runs.

        Runs of other fidelities stay when the same mixture is held out: they are what is known of
        a mixture before it is run at the fitted one.
        """
        evidence = self._gather(mixtures, values, seed)
        learned = self._learn(evidence, seed, lambda done: progress(_SEARCH * done))
        mean, std = np.empty(values.shape), np.empty(values.shape)
        names = np.unique(folds)
        for index, fold in enumerate(names):
            held = folds == fold
            kept = ~np.isin(evidence.origin, np.flatnonzero(held))
            prediction = _condition(evidence, learned, kept).predict(mixtures[held])
            mean[held], std[held] = prediction.mean, prediction.std
            progress(_SEARCH + (1.0 - _SEARCH) * (index + 1) / (len(names) + 1))
        return _condition(evidence, learned), Prediction(mean, std)

    def _gather(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "_Evidence":
        evidence = _Evidence.of(mixtures, values, self.others)
        return evidence.take(_draw(evidence.fidelity, self.recipe.max_runs, seed))

    def _learn(
        self, evidence: "_Evidence", seed: int, progress: Progress
    ) -> tuple["_Learned", ...]:
        learned, count = [], evidence.values.shape[1]
        for column in range(count):
            learned.append(_learn(evidence, column, self.recipe.hyperparameter_runs, seed))
            progress((column + 1) / count)
        return tuple(learned)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Runs of all fidelities, sorted by content.

    Attributes:
        mixtures: shape `(n, k)`, as the kernel sees them.
        values: shape `(n, m)`, NaN where missing.
        fidelity: shape `(n,)`; 0 is the fitted one.
        origin: shape `(n,)`, row among the fitted runs, -1 for others.
        structure: of the fidelities.
    """

    mixtures: FloatArray
    values: FloatArray
    fidelity: IntArray
    origin: IntArray
    structure: OneFactor

    @classmethod
    def of(cls, mixtures: FloatArray, values: FloatArray, others: OtherRuns) -> "_Evidence":
        names, index = np.unique(others.fidelity, return_inverse=True)
        fitted = np.full(len(mixtures), FITTED)
        together = cls(
            mixtures=shifted(np.vstack([mixtures, others.mixtures])),
            values=np.vstack([values, others.values]),
            fidelity=np.concatenate([fitted, index.reshape(-1) + 1]),
            origin=np.concatenate([np.arange(len(mixtures)), np.full(len(index), -1)]),
            structure=OneFactor(len(names) + 1, FITTED),
        )
        return together.take(together.order(together.values))

    def take(self, rows: IntArray) -> "_Evidence":
        return _Evidence(
            self.mixtures[rows],
            self.values[rows],
            self.fidelity[rows],
            self.origin[rows],
            self.structure,
        )

    def order(self, values: FloatArray) -> IntArray:
        """Return the order `(n,)` by fidelity, `values` and mixture."""
        return canonical_order(self.mixtures, np.column_stack([self.fidelity, values]))


@dataclass(frozen=True, slots=True)
class _Learned:
    """What is kept of one metric when folds are left out.

    Attributes:
        kernel: its hyperparameters.
        values: shape `(n,)`, what counts: an outlier's is its fidelity's median.
        noisiness: shape `(n,)`, zero where the metric is missing.
        location: shape `(F,)`, what is taken from each fidelity's values.
        unit: shape `(F,)`, what they are divided by.
    """

    kernel: Hyperparameters
    values: FloatArray
    noisiness: FloatArray
    location: FloatArray
    unit: FloatArray


def _learn(evidence: _Evidence, column: int, most: int, seed: int) -> _Learned:
    """Return what is learned of one metric, hyperparameters on at most so many runs.

    Raises:
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    order = evidence.order(evidence.values[:, column])  # no other metric changes a bit
    rows = order[np.isfinite(evidence.values[order, column])]
    part, structure = evidence.take(rows), evidence.structure
    values, fidelity = part.values[:, column], part.fidelity
    scale = _scales(values, fidelity, structure.count)
    runs = Observations.of(part.mixtures, fidelity, values / scale[fidelity])
    runs = with_noise_of_replicates(runs)
    searched = runs.take(_draw(runs.fidelity, most, seed))
    posterior, _ = fit_robustly(searched, structure)
    if len(searched.values) < len(rows):
        posterior, _ = fit_robustly(runs, structure, posterior.hyperparameters)
    noisiness, kept = np.zeros((2, len(evidence.fidelity)))
    noisiness[rows] = posterior.observations.noisiness
    kept[rows] = posterior.observations.values * scale[fidelity]
    location, unit = standard(runs, structure)
    return _Learned(posterior.hyperparameters, kept, noisiness, scale * location, scale * unit)


def _scales(values: FloatArray, fidelity: IntArray, count: int) -> FloatArray:
    """Return what brings each fidelity's spread near the fitted one's, `(F,)`; mostly 1.

    Ratios of spreads are learned, but under a prior that they are near 1, which that of losses is
    and that of perplexities at far apart scales is not.
    """
    spreads = np.array([_spread(values[fidelity == index]) for index in range(count)])
    known = (spreads > 0) & (spreads[FITTED] > 0)
    ratio = np.where(known, spreads, 1.0) / np.where(known, spreads[FITTED], 1.0)
    return np.where(np.abs(np.log(ratio)) > np.log(_COMPARABLE), ratio, 1.0)


def _spread(values: FloatArray) -> float:
    """Return a standard deviation that a few corrupt values do not move, 0 if there is none."""
    if len(values) < 2:
        return 0.0
    apart = np.abs(values - np.median(values))
    return 1.4826 * float(np.median(apart)) or float(np.sqrt(np.mean(apart**2)))


def _draw(fidelity: IntArray, most: int, seed: int) -> IntArray:
    """Return all rows, or `most` drawn at random, the fitted fidelity's first up to a half."""
    if len(fidelity) <= most:
        return np.arange(len(fidelity))
    shuffled = np.random.default_rng(seed).permutation(len(fidelity))
    own = shuffled[fidelity[shuffled] == FITTED][: most // 2]
    rest = shuffled[~np.isin(shuffled, own)][: most - len(own)]
    return np.sort(np.concatenate([own, rest]))


def _condition(
    evidence: _Evidence, learned: tuple[_Learned, ...], kept: BoolArray | None = None
) -> FittedMultiFidelityGP:
    """Return the posterior given the runs that are `kept`, by default all."""
    rows = np.arange(len(evidence.fidelity)) if kept is None else np.flatnonzero(kept)
    part, means = evidence.take(rows), evidence.structure.means
    noisiness = np.array([one.noisiness[rows] for one in learned])
    weights = np.zeros(noisiness.shape)
    for metric, one in enumerate(learned):
        here = noisiness[metric] > 0
        weights[metric, here] = _weights(
            one, part.take(np.flatnonzero(here)), one.values[rows][here], noisiness[metric, here]
        )
    unit = np.array([one.unit[FITTED] for one in learned])
    location = np.array([one.location[FITTED] for one in learned])
    return FittedMultiFidelityGP(
        rooted=features(part.mixtures),
        fidelity=part.fidelity,
        noisiness=noisiness,
        weights=weights,
        kernels=tuple(one.kernel for one in learned),
        means=means,
        offset=location + unit * (weights @ means[FITTED, part.fidelity]),
        unit=unit,
    )


def _weights(
    one: _Learned, evidence: _Evidence, values: FloatArray, noisiness: FloatArray
) -> FloatArray:
    """Return the inverse covariance times standardised observations, `(n,)`."""
    fidelity, rooted = evidence.fidelity, features(evidence.mixtures)
    factor = factor_of(one.kernel, evidence.structure.means, rooted, fidelity, noisiness)
    standardised = (values - one.location[fidelity]) / one.unit[fidelity]
    standardised -= prior_mean(one.kernel, rooted, fidelity, FITTED)
    return np.asarray(cho_solve((factor, True), standardised))
