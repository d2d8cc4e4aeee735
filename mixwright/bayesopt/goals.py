"""What is wanted of several metrics at once, and what runs are worth for it.

A goal gives a number to a set of mixtures' metrics, lower is better: the value of runs is by how
much that number is expected to fall once the target means have moved as the runs make them
(knowledge gradient by common draws [I]; for a front, expected hypervolume improvement of the
mixture that is run, Emmerich, Giannakoglou and Naujoks, 2006 [X]).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.acquisition import joint_shifts, shifts
from mixwright.bayesopt.hypervolume import boxes, hypervolume, improvement, is_on_front
from mixwright.bayesopt.model import Posterior

_DRAWS = 32
_CELLS = 64  # valued at once: bounds memory
_PENALTY = 10.0  # spreads of the objective, for each spread by which a bound is missed
_TINY = 1e-9


class Goal(Protocol):
    """What is wanted; metrics are oriented so that lower is better."""

    def of_mixtures(self, metrics: FloatArray) -> FloatArray:
        """Return how good each mixture is by itself, `(..., p)`, from metrics `(..., p, m)`."""
        ...

    def of_set(self, metrics: FloatArray) -> FloatArray:
        """Return how good the best choice is, `(...)`, from metrics `(..., p, m)`."""
        ...


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The worst of the metrics, each as deviations from a reference.

    Attributes:
        reference: shape `(m,)`, what counts as zero: the metrics of the prior mixture.
        spread: shape `(m,)`, what counts as one.
    """

    reference: FloatArray
    spread: FloatArray

    def of_mixtures(self, metrics: FloatArray) -> FloatArray:
        """Return the largest deviation."""
        deviations = (metrics - self.reference) / self.spread
        worst: FloatArray = deviations.max(axis=-1)
        return worst

    def of_set(self, metrics: FloatArray) -> FloatArray:
        """Return the smallest worst deviation."""
        return np.asarray(self.of_mixtures(metrics).min(axis=-1))


@dataclass(frozen=True, slots=True)
class Bounded:
    """A weighted sum of metrics while others stay below bounds.

    Attributes:
        weights: shape `(m,)`.
        bounds: shape `(m,)`, infinite where there is none.
        spread: shape `(m,)`, what counts as missing a bound by one.
    """

    weights: FloatArray
    bounds: FloatArray
    spread: FloatArray

    def of_mixtures(self, metrics: FloatArray) -> FloatArray:
        """Return the sum, with a penalty that no sum makes up for where a bound is missed."""
        missed = np.maximum(metrics - self.bounds, 0.0) / self.spread
        unit = float(np.sqrt(np.sum((self.weights * self.spread) ** 2)))
        total: FloatArray = metrics @ self.weights + _PENALTY * unit * missed.sum(axis=-1)
        return total

    def of_set(self, metrics: FloatArray) -> FloatArray:
        """Return the best sum."""
        return np.asarray(self.of_mixtures(metrics).min(axis=-1))


@dataclass(frozen=True, slots=True)
class Pareto:
    """A front: mixtures that none is better than in every metric.

    Attributes:
        weights: shape `(m,)`, by which one of the front is recommended.
        worst: shape `(m,)`, the corner from which volume is measured.
        spread: shape `(m,)`, what counts as one.
    """

    weights: FloatArray
    worst: FloatArray
    spread: FloatArray

    def of_mixtures(self, metrics: FloatArray) -> FloatArray:
        """Return the weighted sum."""
        total: FloatArray = metrics @ self.weights
        return total

    def of_set(self, metrics: FloatArray) -> FloatArray:
        """Return minus the volume, in spreads, that is better than the worst corner."""
        standard = (metrics - self.worst) / self.spread
        flat = standard.reshape(-1, *standard.shape[-2:])
        volumes = np.array([hypervolume(one) for one in flat])
        return np.asarray(-volumes.reshape(standard.shape[:-2]))

    def front(self, metrics: FloatArray) -> IntArray:
        """Return the rows of `metrics` `(p, m)` that are on the front."""
        return np.flatnonzero(is_on_front(metrics))

    def improvements(self, metrics: FloatArray, points: FloatArray) -> FloatArray:
        """Return by how much volume grows when each of `points` `(..., m)` joins `(p, m)`."""
        standard = (metrics - self.worst) / self.spread
        return improvement(boxes(standard), (points - self.worst) / self.spread)


@dataclass(frozen=True, slots=True)
class GoalGradient:
    """The value of runs for a goal.

    Attributes:
        goal: what is wanted.
        parts: posteriors of the goal's metrics.
        target_pool: mixtures `(p, k)` to choose among.
        ran: fidelities `(n,)` of the runs so far.
        seed: of the draws.
    """

    goal: Goal
    parts: tuple[Posterior, ...]
    target_pool: FloatArray
    ran: IntArray
    seed: int

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        return self.parts[0].target

    @property
    def singles_compare(self) -> bool:
        """Those of a front are of the mixture that is run; blocks move all of it."""
        return not isinstance(self.goal, Pareto)

    @property
    def means(self) -> FloatArray:
        """Target means of the pool, `(p, m)`."""
        return target_means(self.parts, self.target_pool)

    def of_single_runs(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return the value `(q,)` of one run at each cell, by antithetic draws spread evenly."""
        from scipy.stats.qmc import MultivariateNormalQMC  # loads scipy.stats

        rng = np.random.default_rng(self.seed)
        draws = MultivariateNormalQMC(np.zeros(len(self.parts)), rng=rng).random(_DRAWS // 2)
        draws = np.concatenate([draws, -draws])
        means, values = self.means, np.empty(len(mixtures))
        for start in range(0, len(mixtures), _CELLS):
            part = slice(start, start + _CELLS)
            values[part] = self._of_few(means, mixtures[part], fidelity[part], draws)
        return values

    def of_block(self, mixtures: FloatArray, fidelity: IntArray, seed: int) -> float:
        """Return the joint value of runs at all of the cells, by antithetic draws."""
        draws = np.random.default_rng(seed).standard_normal(
            (len(self.parts), _DRAWS // 2, len(mixtures))
        )
        draws = np.concatenate([draws, -draws], axis=1)
        moved = [
            draw @ joint_shifts(part, self.target_pool, mixtures, fidelity)
            for part, draw in zip(self.parts, draws, strict=True)
        ]
        means = self.means
        after = self.goal.of_set(means + np.stack(moved, axis=-1))
        return max(0.0, float(self.goal.of_set(means) - after.mean()))

    def _of_few(
        self, means: FloatArray, mixtures: FloatArray, fidelity: IntArray, draws: FloatArray
    ) -> FloatArray:
        if isinstance(self.goal, Pareto):
            return self._of_own_points(self.goal, means, mixtures, fidelity, draws)
        moves = np.stack(
            [shifts(part, self.target_pool, mixtures, fidelity).T for part in self.parts], axis=-1
        )  # (q, p, m)
        after = np.mean([self.goal.of_set(means + moves * draw) for draw in draws], axis=0)
        tie_breaker = _TINY * np.sqrt((moves**2).mean(axis=(1, 2)))
        gain: FloatArray = np.maximum(self.goal.of_set(means) - after, 0.0) + tie_breaker
        return gain

    def _of_own_points(
        self,
        goal: Pareto,
        means: FloatArray,
        mixtures: FloatArray,
        fidelity: IntArray,
        draws: FloatArray,
    ) -> FloatArray:
        """Return what the mixture that is run adds to the front, on average, `(q,)`."""
        own = np.stack(
            [np.diag(shifts(part, mixtures, mixtures, fidelity)) for part in self.parts], axis=-1
        )
        points = target_means(self.parts, mixtures) + draws[:, None] * own  # (d, q, m)
        gained = goal.improvements(means, points).mean(axis=0)
        gain: FloatArray = gained + _TINY * np.sqrt((own**2).mean(axis=1))
        return gain


def target_means(parts: tuple[Posterior, ...], mixtures: FloatArray) -> FloatArray:
    """Return posterior means at the target, `(p, m)`."""
    at_target = np.full(len(mixtures), parts[0].target)
    return np.stack([part.mean(mixtures, at_target) for part in parts], axis=-1)
