"""What a study's runs say, for what is wanted of it."""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.acquisition import KnowledgeGradient, Value
from mixwright.bayesopt.aims import Aim, Wanted
from mixwright.bayesopt.belief import Belief, WeightedSum, draws_at_target
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.goals import Bounded, Goal, GoalGradient, Pareto, WorstCase, target_means
from mixwright.bayesopt.learning import Learned, learn
from mixwright.bayesopt.model import Posterior
from mixwright.bayesopt.observing import Evidence, History, gather, target_of
from mixwright.bayesopt.robust import Outlier
from mixwright.errors import InvalidInputError
from mixwright.study import Study


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known.

    Attributes:
        belief: of the objective's weighted sum.
        goal: what is wanted, where it is not that sum.
        parts: posteriors of the goal's metrics.
        outliers: runs without weight: id, metric (None for the objective), value, expected.
    """

    belief: Belief
    goal: Goal | None
    parts: tuple[Posterior, ...]
    outliers: tuple[tuple[str, str | None, Outlier], ...]

    def believing(self, cells: Cells) -> "Knowledge":
        """Return what is known once runs have shown what is expected of them."""
        if not len(cells.fidelity):
            return self
        belief = self.belief.believing(cells.mixtures, cells.fidelity)
        parts = tuple(part.believing(cells.mixtures, cells.fidelity) for part in self.parts)
        return Knowledge(belief, self.goal, parts, self.outliers)

    def value(self, target_pool: FloatArray, seed: int) -> Value:
        """Return what runs are worth."""
        if self.goal is None:
            return KnowledgeGradient(self.belief, target_pool)
        return GoalGradient(self.goal, self.parts, target_pool, self.belief.ran, seed)

    def merit(self, mixtures: FloatArray) -> FloatArray:
        """Return how good each of `mixtures` is expected to be at the target, lower is better."""
        if self.goal is None:
            return self.belief.mean(mixtures, np.full(len(mixtures), self.belief.target))
        return self.goal.of_mixtures(target_means(self.parts, mixtures))

    def draws(self, mixtures: FloatArray, count: int, seed: int) -> FloatArray:
        """Return joint draws `(count, q)` of how good `mixtures` `(q, k)` are by law at the target.

        Raises:
            FitDidNotConvergeError: a covariance is not positive definite.
        """
        if self.goal is None:
            return draws_at_target(self.belief.of_law(), mixtures, count, seed)
        seeds = np.random.SeedSequence(seed).generate_state(len(self.parts))
        metrics = [
            draws_at_target(part.of_law(), mixtures, count, int(one))
            for part, one in zip(self.parts, seeds, strict=True)
        ]
        return self.goal.of_mixtures(np.stack(metrics, axis=-1))

    def front(self, mixtures: FloatArray) -> IntArray:
        """Return which of `mixtures` are on the front, the best objective first; else none."""
        if not isinstance(self.goal, Pareto):
            return np.empty(0, dtype=np.int64)
        means = target_means(self.parts, mixtures)
        rows = self.goal.front(means)
        return np.asarray(rows[np.argsort(self.goal.of_mixtures(means[rows]), kind="stable")])


_PLAIN = Aim()


def know(study: Study, history: History, aim: Aim = _PLAIN) -> Knowledge | None:
    """Return what the runs say, or None before any of them has what is wanted.

    The objective is one Gaussian process where every run has all of it. Where some runs lack a
    metric, every metric has one of its own, and the objective is their sum.

    Raises:
        InvalidInputError: a bound for a metric that the study does not have, or no run has.
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    evidence = gather(study, history)
    columns = _columns(study, aim)
    if not _is_measured(evidence, columns):
        return None
    ids = history.runs.ids
    if aim.wanted is Wanted.OBJECTIVE and _is_whole(evidence, columns):
        observations = evidence.of_sum(study.objective)
        learned = learn(observations, evidence.structure)
        named = _named(learned, observations.run, ids, None)
        return Knowledge(learned.posterior, None, (), named)
    learned_each = [learn(evidence.of_metric(c), evidence.structure) for c in columns]
    posteriors = tuple(one.posterior for one in learned_each)
    outliers = tuple(
        entry
        for column, one in zip(columns, learned_each, strict=True)
        for entry in _named(one, evidence.of_metric(column).run, ids, study.metrics[column].name)
    )
    weights = study.objective[columns]
    counting = np.flatnonzero(weights)
    ran = evidence.fidelity[np.isfinite(evidence.metrics[:, columns]).any(axis=1)]
    belief = WeightedSum(tuple(posteriors[i] for i in counting), weights[counting], ran)
    goal = _goal(study, aim, columns, posteriors)
    return Knowledge(belief, goal, posteriors if goal is not None else (), outliers)


def _columns(study: Study, aim: Aim) -> IntArray:
    unknown = set(aim.bounds) - set(study.metric_names)
    if unknown:
        known = ", ".join(study.metric_names)
        raise InvalidInputError(
            f"no metric '{min(unknown)}' to bound; known: {known}", field="options/bounds"
        )
    bounded = np.isin(study.metric_names, list(aim.bounds))
    return np.flatnonzero((study.objective != 0) | bounded)


def _is_measured(evidence: Evidence, columns: IntArray) -> bool:
    return bool(np.isfinite(evidence.metrics[:, columns]).any(axis=0).all())


def _is_whole(evidence: Evidence, columns: IntArray) -> bool:
    present = np.isfinite(evidence.metrics[:, columns])
    return bool((present.all(axis=1) | ~present.any(axis=1)).all())


def _named(
    learned: Learned, run: IntArray, ids: tuple[str, ...], metric: str | None
) -> tuple[tuple[str, str | None, Outlier], ...]:
    return tuple((ids[run[one.row]], metric, one) for one in learned.outliers)


def _goal(study: Study, aim: Aim, columns: IntArray, parts: tuple[Posterior, ...]) -> Goal | None:
    spread = np.array([part.unit for part in parts])
    weights = study.objective[columns]
    if aim.wanted is Wanted.WORST_CASE:
        reference = target_means(parts, study.prior[None])[0]
        return WorstCase(reference, spread)
    if aim.wanted is Wanted.BOUNDED:
        signs = study.signs[columns]
        bounds = [aim.bounds.get(study.metrics[c].name, np.inf) for c in columns]
        oriented = np.where(np.isfinite(bounds), signs * np.array(bounds), np.inf)
        return Bounded(weights, oriented, spread)
    if aim.wanted is Wanted.PARETO:
        target = target_of(study)
        worst = [
            part.mean(part.observations.mixtures, np.full(len(part.observations.values), target))
            for part in parts
        ]
        return Pareto(weights, np.array([one.max() for one in worst]), spread)
    return None
