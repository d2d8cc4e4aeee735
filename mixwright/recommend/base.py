"""The contract every recommendation method meets: a problem in, a mixture out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.polytope import Polytope
from mixwright.quality.search import TokenBudget
from mixwright.spaces import QuadmixPoints, Space
from mixwright.study import CompletedRuns, Study


class Intervals(Protocol):
    """Predictions with 90 % intervals, all of the same shape."""

    @property
    def mean(self) -> FloatArray:
        """Expected values."""
        ...

    @property
    def lower(self) -> FloatArray:
        """Lower ends."""
        ...

    @property
    def upper(self) -> FloatArray:
        """Upper ends."""
        ...


class Model(Protocol):
    """What a recommendation needs of a fitted `mixwright.model.MixtureModel`."""

    @property
    def kind(self) -> str:
        """Name of the surrogate."""
        ...

    @property
    def mixtures(self) -> FloatArray:
        """Mixtures it was fitted on, shape `(n, k)`."""
        ...

    @property
    def is_differentiable(self) -> bool:
        """Whether `objective_gradient` exists."""
        ...

    @property
    def is_smooth(self) -> bool:
        """Whether the objective has no steps."""
        ...

    @property
    def is_convex(self) -> bool:
        """Whether the objective is convex in the weights."""
        ...

    def predict(self, mixtures: FloatArray) -> Intervals:
        """Return metrics at `mixtures` `(q, k)`, each array `(q, m)`, NaN where unknown."""
        ...

    def predict_objective(self, mixtures: FloatArray) -> Intervals:
        """Return the objective at `mixtures` `(q, k)`, lower is better, each array `(q,)`."""
        ...

    def objective_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return the objective's mean `(q,)` at any number of mixtures `(q, k)`."""
        ...

    def objective_gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d objective / d weights at `mixtures` `(q, k)`, shape `(q, k)`."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """What to recommend a mixture for, and how.

    Attributes:
        study: the mixture problem.
        polytope: its constraints.
        model: predicts the objective.
        runs: what was trained.
        candidates: mixtures to simulate.
        top_k: how many of the best of them to average.
        kl_to_prior: strength of the penalty on KL(mixture || prior), in objective per nat.
        pool: shape `(q, k)`, mixtures to choose from.
        seed: equal seeds give equal recommendations.
        progress: called with the share that is done.
        budget: tokens that parameters of QuaDMix are to select; None for any number.
    """

    study: Study
    polytope: Polytope
    model: Model
    runs: CompletedRuns
    candidates: int
    top_k: int
    kl_to_prior: float
    pool: FloatArray | None
    seed: int
    progress: Callable[[float], None]
    budget: TokenBudget | None = None

    def allows(self, points: FloatArray) -> BoolArray:
        """Return which of `points` `(q, k)` may be recommended."""
        space = self.study.space
        inside = space.contains(self.polytope, points)
        if self.budget is None or not isinstance(space, QuadmixPoints):
            return inside
        tokens = space.vectors.expected_tokens(space.decode(points), self.budget.available)
        totals = tokens.sum(axis=1)
        kept: BoolArray = inside & (totals >= self.budget.fewest) & (totals <= self.budget.most)
        return kept


@dataclass(frozen=True, slots=True)
class Choice:
    """A method's answer.

    Attributes:
        weights: shape `(k,)`, a feasible mixture.
        warnings: what a reader should know before using it.
        shadow_prices: shape `(2k + c,)`, in the order of `Polytope.names`: how much the objective
            would fall for each unit by which that constraint is relaxed; None if unknown.
        ranking: positions in the pool, best first; None without a pool.
    """

    weights: FloatArray
    warnings: tuple[str, ...] = ()
    shadow_prices: FloatArray | None = None
    ranking: tuple[int, ...] | None = None


Recommender = Callable[[Problem], Choice]


def other_method(space: Space) -> str:
    """Return the method that searches where simulated points are few."""
    return "exact" if space.is_simplex else "evolve"


def by_name(study: Study) -> tuple[list[int], list[int]]:
    """Return the permutation that sorts domains by name, and its inverse.

    Random mixtures are drawn in that order, so that a study with its domains in another order
    gets the same recommendation.
    """
    order = np.argsort(np.array(study.domain_names), kind="stable")
    return order.tolist(), np.argsort(order).tolist()
