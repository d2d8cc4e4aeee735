"""The contract every planner meets: a problem in, a schedule out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.schedules.base import Budget, Schedule, Stage
from mixwright.schedules.checks import require_caps, warnings_of
from mixwright.schedules.curves import Curve
from mixwright.schedules.trajectories import Trajectories
from mixwright.simplex import normalise


@dataclass(frozen=True, slots=True)
class Documents:
    """A sample of documents, from which thresholds are estimated.

    Attributes:
        domains: names, k of them.
        domain_index: shape `(n,)`, places in `domains`.
        tokens: shape `(n,)`, above 0.
        columns: numbers of each document by name, each `(n,)`.
    """

    domains: tuple[str, ...]
    domain_index: IntArray
    tokens: FloatArray
    columns: Mapping[str, FloatArray]

    def column(self, name: str, field: str) -> FloatArray:
        """Return a column.

        Raises:
            InvalidInputError: there is none of this name; `field` is what named it.
        """
        if name not in self.columns:
            raise InvalidInputError(
                f"the documents have no column '{name}'; they have {', '.join(self.columns)}", field
            )
        return self.columns[name]

    def by_domain(self, chosen: BoolArray, tokens: float) -> dict[str, float]:
        """Return what chosen documents `(n,)` are of each domain when they are `tokens` in all."""
        sums = np.bincount(
            self.domain_index[chosen], self.tokens[chosen], minlength=len(self.domains)
        )
        return dict(zip(self.domains, (sums / sums.sum() * tokens).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Problem:
    """What to plan.

    Attributes:
        budget: tokens, batch and peak learning rate.
        weights: the mixture to begin with, by domain.
        unique_tokens: of each domain, None where not known.
        max_epochs: how often a domain may be seen over all stages, or None.
        documents: a sample of scored documents, or None.
        trajectories: runs with their loss curves, or None.
    """

    budget: Budget
    weights: Mapping[str, float]
    unique_tokens: Mapping[str, float | None]
    max_epochs: float | None = None
    documents: Documents | None = None
    trajectories: Trajectories | None = None

    def sampled(self, why: str) -> Documents:
        """Return the documents.

        Raises:
            InvalidInputError: there are none; `why` says what they are needed for.
        """
        if self.documents is None or not len(self.documents.tokens):
            raise InvalidInputError(f"documents are needed, {why}; send a sample", "documents")
        return self.documents

    def by_domain(self, values: Mapping[str, float], field: str) -> FloatArray:
        """Return numbers by domain as an array `(k,)`.

        Raises:
            InvalidInputError: they are not of the problem's domains, every one of them.
        """
        if set(values) != set(self.weights):
            odd = sorted(set(values) ^ set(self.weights))
            raise InvalidInputError(
                f"{field} must have every domain and no other; check {', '.join(odd)}", field
            )
        return np.array([values[name] for name in self.weights])

    def mixture(self, values: Mapping[str, float], field: str) -> dict[str, float]:
        """Return a mixture in the problem's order of domains, sum 1; domains left out get 0.

        Raises:
            InvalidInputError: an unknown domain.
            NotOnSimplexError: it is no mixture.
        """
        filled = {**dict.fromkeys(self.weights, 0.0), **values}
        try:
            weights = normalise(self.by_domain(filled, field), tuple(self.weights))
        except NotOnSimplexError as error:
            raise NotOnSimplexError(str(error), field) from None
        return dict(zip(self.weights, weights.tolist(), strict=True))


class Planner(Protocol):
    """A recipe for schedules: a frozen dataclass of its options."""

    def plan(self, problem: Problem) -> Schedule:
        """Return the schedule.

        Raises:
            InvalidInputError: an option does not go with the problem.
            InfeasibleError: repetition caps are broken over all stages together.
        """
        ...


def stage_of(
    problem: Problem,
    name: str,
    start: float,
    end: float,
    weights: Mapping[str, float],
    rate: Curve | None = None,
    batch: Curve | None = None,
) -> Stage:
    """Return a stage of a mixture at the budget's own batch and peak rate where not said."""
    budget = problem.budget
    return Stage(
        name=name,
        start_token=start,
        end_token=end,
        batch=batch or Curve.constant(budget.batch_tokens, budget.tokens),
        rate=rate or Curve.constant(budget.peak_learning_rate, budget.tokens),
        weights=dict(weights),
    )


def within_caps(problem: Problem, schedule: Schedule) -> Schedule:
    """Return a schedule with its warnings, if no domain is repeated too often.

    Raises:
        InfeasibleError: see `require_caps`.
    """
    require_caps(schedule, problem.unique_tokens, problem.max_epochs)
    return replace(schedule, warnings=(*schedule.warnings, *warnings_of(schedule)))
