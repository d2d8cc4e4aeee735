"""FRAMES: four stages, from documents that are hard to those that are easy for a strong model.

Source:
    Zhang et al., "FRAMES: Boosting LLMs with A Four-Quadrant Multi-Stage Pretraining Strategy",
    arXiv:2502.05551 [X abstract]: high perplexity before low, and low perplexity difference before
    high, each lower the loss. The difference's formula, the thresholds and the order of the four
    were not found in text that could be read.

Departures [R, I]:
    * PD = (weak - strong) / weak, of the perplexities of a small and a large reference model that
      saw the same tokens; perplexity is the strong model's.
    * Thresholds are token-weighted medians, that of PD within each half of perplexity, so that all
      four stages have as many tokens. A document at a threshold goes low.
    * Perplexity is the outer split: high before low, and in each half low PD before high.
    * A sigmoid hand-over gives each document a time in its stage plus logistic noise of width τ,
      and sorts by it: the share of stage k at progress u is σ((u - b_k-1)/τ) - σ((u - b_k)/τ), and
      each document comes once. The selections say τ; proxies train so (`workers.staged`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Documents, Problem, within_caps
from mixwright.schedules.quantiles import finite_column, weighted_quantiles

STAGES = ("high PPL, low PD", "high PPL, high PD", "low PPL, low PD", "low PPL, high PD")
_UNEQUAL = 0.01  # of the tokens of a stage
_HALF = np.array([0.5])


@dataclass(frozen=True, slots=True)
class Quadrants:
    """Where documents stand.

    Attributes:
        stage: shape `(n,)`, place in `STAGES`.
        difference: shape `(n,)`, PD.
        perplexity_threshold: of the outer split.
        difference_thresholds: of the high and of the low half of perplexity.
    """

    stage: IntArray
    difference: FloatArray
    perplexity_threshold: float
    difference_thresholds: tuple[float, float]


def perplexity_difference(strong: FloatArray, weak: FloatArray) -> FloatArray:
    """Return PD `(n,)`, (weak - strong) / weak [I]; negative where the strong model is worse."""
    difference: FloatArray = 1 - strong / weak  # to the bit as `mixwright.schedules.selecting`
    return difference


def quadrants(strong: FloatArray, weak: FloatArray, tokens: FloatArray) -> Quadrants:
    """Return the stage of every document.

    Args:
        strong: shape `(n,)`, perplexities by the strong model, above 0.
        weak: shape `(n,)`, by the weak one.
        tokens: shape `(n,)`.

    Raises:
        InvalidInputError: a perplexity is not above 0, or the strong model is nowhere better.
    """
    _check(strong, weak)
    difference = perplexity_difference(strong, weak)
    outer = float(weighted_quantiles(strong, tokens, _HALF)[0])
    is_low = strong <= outer
    inner = tuple(
        float(weighted_quantiles(difference[half], tokens[half], _HALF)[0]) if half.any() else 0.0
        for half in (~is_low, is_low)
    )
    limits = np.where(is_low, inner[1], inner[0])
    stage: IntArray = (2 * is_low + (difference > limits)).astype(np.int64)
    return Quadrants(stage, difference, outer, (inner[0], inner[1]))


@dataclass(frozen=True, slots=True)
class Frames:
    """Options of FRAMES; names of columns are of the documents."""

    strong: str = option("perplexity_strong", "Column of the strong model's perplexity.")
    weak: str = option("perplexity_weak", "Column of the weak model's perplexity.")
    handover: float = option(
        0.0,
        "Width of the hand-over between stages, a share of the training.",
        minimum=0,
        maximum=0.5,
    )
    reverse: bool = option(False, "Play the stages in the opposite order, as a control.")

    def plan(self, problem: Problem) -> Schedule:
        """Return four stages of selections; batch and rate stay.

        Raises:
            InvalidInputError: no documents, a column that is not there, has no number or is not a
                perplexity; a stage without documents.
            InfeasibleError: caps are broken over all stages together.
        """
        documents = problem.sampled("with the perplexities of two models")
        strong, one = finite_column(
            documents.column(self.strong, "options/strong"), self.strong, "documents"
        )
        weak, other = finite_column(
            documents.column(self.weak, "options/weak"), self.weak, "documents"
        )
        found = quadrants(strong, weak, documents.tokens)
        sizes = np.bincount(found.stage, documents.tokens, minlength=len(STAGES)).astype(np.float64)
        warnings = [text for text in (one, other) if text]
        warnings += _unequal(sizes)
        if self.reverse:
            warnings.append(
                "the stages are in reverse order: a control, and not what FRAMES trains"
            )
        stages = self._stages(problem, documents, found, sizes / sizes.sum())
        schedule = Schedule(problem.budget, stages)
        warnings += _repeated(schedule.epochs(problem.unique_tokens))
        return within_caps(problem, replace(schedule, warnings=tuple(warnings)))

    def _stages(
        self, problem: Problem, documents: Documents, found: Quadrants, shares: FloatArray
    ) -> tuple[Stage, ...]:
        budget = problem.budget
        places = [*reversed(range(4))] if self.reverse else [*range(4)]
        ends = np.cumsum(shares[places])
        borders = [0.0, *(budget.border(float(end)) for end in ends[:-1]), budget.tokens]
        batch = Curve.constant(budget.batch_tokens, budget.tokens)
        rate = Curve.constant(budget.peak_learning_rate, budget.tokens)
        stages = []
        for place, start, end in zip(places, borders[:-1], borders[1:], strict=True):
            selection = self._selection(found, place)
            tokens = documents.by_domain(found.stage == place, end - start)
            selection["tokens"] = tokens
            stages.append(Stage(STAGES[place], start, end, batch, rate, None, selection))
        return tuple(stages)

    def _selection(self, found: Quadrants, place: int) -> dict[str, Any]:
        is_low, is_far = place >= 2, place % 2 == 1
        limit = found.difference_thresholds[1 if is_low else 0]
        side = {True: "up_to", False: "above"}
        return {
            "where": [
                {"column": self.strong, side[is_low]: found.perplexity_threshold},
                {"column": f"1 - {self.strong} / {self.weak}", side[not is_far]: limit},
            ],
            "each_once": True,
            "ascending": not self.reverse,
            "handover": self.handover,
        }


def _check(strong: FloatArray, weak: FloatArray) -> None:
    for name, values in (("strong", strong), ("weak", weak)):
        if not (values > 0).all():
            raise InvalidInputError(
                f"a perplexity of the {name} model is {values.min():g}; perplexities are above 0, "
                "and not their logarithms",
                "documents",
            )
    if (strong >= weak).all():
        raise InvalidInputError(
            "the strong model is worse than the weak one on every document; are the columns "
            "exchanged?",
            "documents",
        )


def _unequal(sizes: FloatArray) -> list[str]:
    empty = [STAGES[place] for place in np.flatnonzero(sizes == 0)]
    if empty:
        raise InvalidInputError(
            f"no document is left to the stage '{empty[0]}': too many perplexities are equal",
            "documents",
        )
    apart = float(sizes.max() / sizes.mean() - 1)
    if apart <= _UNEQUAL:
        return []
    return [
        f"the largest stage has {apart:.1%} more tokens than the mean: perplexities are equal, or "
        "documents are large"
    ]


def _repeated(epochs: Mapping[str, float | None]) -> list[str]:
    often = [f"'{name}' {count:.3g} times" for name, count in epochs.items() if (count or 0) > 1]
    if not often:
        return []
    return [
        f"each document is to come once, and of so many tokens a stage sees {', '.join(often)}: "
        "train on fewer, or repetition undoes the order"
    ]
