"""A curriculum: documents in ascending quality, and a learning rate that does not waste the best.

Source:
    Luo et al., "How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining",
    arXiv:2511.18903 [X abstract]: ascending order helps under a constant rate, and hardly under its
    decay; a rate that ends only moderately below its peak, or a constant one and an average of the
    last checkpoints, keeps the gain. A third of the peak is "moderate" [S].

Departures [I]:
    * Quality ascends from bucket to bucket of equal tokens, at random within one; the paper sorts.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.schedules.averaging import Averaging
from mixwright.schedules.base import Budget, Schedule, Stage
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Problem, within_caps
from mixwright.schedules.quantiles import finite_column, parts_of, weighted_quantiles


@dataclass(frozen=True, slots=True)
class QualityCurriculum:
    """Options of the curriculum."""

    column: str = option("quality", "Column of the documents' quality; higher is better.")
    buckets: int = option(10, "Stages of ascending quality.", minimum=2, maximum=100)
    rate: str = option(
        "moderate",
        "Learning rate: a moderate decay, constant with averaging, both, or a decay to 0.",
        choices=("moderate", "averaging", "both", "decay"),
    )
    final_rate: float = option(
        1 / 3, "Last rate of a moderate decay, a share of the peak.", minimum=0.0, maximum=1.0
    )
    weights: str = option(
        "simple", "Of the averaged checkpoints.", choices=("simple", "exponential", "linear")
    )
    checkpoints: int = option(6, "To average.", minimum=2, maximum=100)
    window: float = option(
        1.0, "Share of the last bucket's tokens to average over.", minimum=0.01, maximum=1.0
    )

    def plan(self, problem: Problem) -> Schedule:
        """Return a stage for each bucket.

        Raises:
            InvalidInputError: no documents, no such column, a missing number, or a bucket that is
                empty because scores are equal.
            InfeasibleError: caps are broken over all stages together.
        """
        documents = problem.sampled("with a score of quality")
        values, warning = finite_column(
            documents.column(self.column, "options/column"), self.column, "documents"
        )
        shares = np.arange(1, self.buckets) / self.buckets
        limits = weighted_quantiles(values, documents.tokens, shares)
        part = parts_of(values, limits)
        sizes = np.bincount(part, documents.tokens, minlength=self.buckets)
        if (sizes == 0).any():
            raise InvalidInputError(
                f"bucket {int(sizes.argmin()) + 1} of {self.buckets} has no document: too many "
                f"have one '{self.column}'; use fewer buckets",
                "options/buckets",
            )
        stages = self._stages(problem, part, limits, sizes / sizes.sum())
        return within_caps(problem, Schedule(problem.budget, stages, (warning,) if warning else ()))

    def _stages(
        self, problem: Problem, part: IntArray, limits: FloatArray, shares: FloatArray
    ) -> tuple[Stage, ...]:
        budget, documents = problem.budget, problem.sampled("")
        ends = np.cumsum(shares)[:-1]
        borders = [0.0, *(budget.border(float(end)) for end in ends), budget.tokens]
        batch = Curve.constant(budget.batch_tokens, budget.tokens)
        stages = []
        for place, (start, end) in enumerate(pairwise(borders)):
            selection = {
                "where": [self._range(limits, place)],
                "ascending": True,
                "tokens": documents.by_domain(part == place, end - start),
            }
            name = f"quality {place + 1} of {self.buckets}"
            stages.append(Stage(name, start, end, batch, self._curve(budget), None, selection))
        if self.rate in ("averaging", "both"):
            average = Averaging(self.weights, self.checkpoints, self.window)
            stages[-1] = replace(stages[-1], averaging=average)
        return tuple(stages)

    def _range(self, limits: FloatArray, place: int) -> dict[str, Any]:
        above = {"above": float(limits[place - 1])} if place else {}
        up_to = {"up_to": float(limits[place])} if place < len(limits) else {}
        return {"column": self.column, **above, **up_to}

    def _curve(self, budget: Budget) -> Curve:
        peak = budget.peak_learning_rate
        if self.rate == "averaging":
            return Curve.constant(peak, budget.tokens)
        last = 0.0 if self.rate == "decay" else self.final_rate * peak
        return Curve(0.0, budget.tokens, peak, last, "cosine")
