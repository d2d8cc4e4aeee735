"""Upsampling at the end: small, valuable domains get more of the last tenth or fifth.

Source:
    Blakeney et al., "Does your data spark joy? Performance gains from domain upsampling at the end
    of training", arXiv:2406.03476 [X abstract]: 10 to 20 % of the tokens did best of 5 to 30 %, and
    training without a domain in the last part alone tells what the domain is worth, at a tenth of
    the cost.

Departures [I]:
    * The final mixture tilts the mixture by utilities: w_end in proportion to w exp(u / T), u the
      utility in standard deviations over domains. The paper's final mixture was made by hand.
    * Without utilities and without a final mixture, the domains that the mixture sees least often
      are taken for the valuable ones, as the paper's were small: w_end is in proportion to √w.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import by_name, option
from mixwright.schedules.anneal import CONTROL
from mixwright.schedules.base import Schedule
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Problem, stage_of, within_caps


@dataclass(frozen=True, slots=True)
class UpsampleEnd:
    """Options of upsampling at the end."""

    share: float = option(0.15, "Share of the tokens at the end.", minimum=0.01, maximum=0.5)
    final_weights: Mapping[str, float] | None = by_name("Mixture of the last part.")
    utilities: Mapping[str, float] | None = by_name(
        "What each domain is worth at the end: the objective without it minus the objective with "
        "all, of runs that left it out of the last part alone. Higher is better."
    )
    temperature: float = option(1.0, "Of utilities; lower tilts more.", minimum=0.05, maximum=20.0)
    final_rate: float = option(
        0.1, "Learning rate at the end, a share of the peak.", minimum=0.0, maximum=1.0
    )

    def plan(self, problem: Problem) -> Schedule:
        """Return two stages; the rate falls over the second.

        Raises:
            InvalidInputError: both a final mixture and utilities, or of other domains.
            InfeasibleError: caps are broken over both stages together.
        """
        budget = problem.budget
        peak, border = budget.peak_learning_rate, budget.border(1 - self.share)
        falls = Curve(border, budget.tokens, peak, self.final_rate * peak, "linear")
        last = self._final(problem)
        stages = (
            stage_of(problem, "base", 0.0, border, problem.weights),
            stage_of(problem, "upsampled", border, budget.tokens, last, falls),
        )
        return within_caps(problem, Schedule(budget, stages))

    def _final(self, problem: Problem) -> dict[str, float]:
        names = list(problem.weights)
        weights = np.array([problem.weights[name] for name in names])
        if self.final_weights is not None and self.utilities is not None:
            raise InvalidInputError(
                "give a final mixture or utilities, not both", "options/utilities"
            )
        if self.final_weights is not None:
            return problem.mixture(self.final_weights, "options/final_weights")
        if self.utilities is None:
            final = np.sqrt(weights)
        else:
            values = problem.by_domain(self.utilities, "options/utilities")
            final = tilt(weights, values, self.temperature)
        return dict(zip(names, (final / final.sum()).tolist(), strict=True))


def tilt(weights: FloatArray, utilities: FloatArray, temperature: float) -> FloatArray:
    """Return weights `(k,)` in proportion to w exp(z / T), z the utilities standardised.

    Equal utilities change nothing.

    Args:
        weights: shape `(k,)`.
        utilities: shape `(k,)`, higher is better.
        temperature: T, above 0.
    """
    spread = utilities.std()
    scores = (utilities - utilities.mean()) / (spread or 1.0) / temperature
    tilted = weights * np.exp(scores - scores.max())
    final: FloatArray = tilted / tilted.sum()
    return final


def left_out(weights: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the mixtures that tell what domains are worth: `CONTROL`, and one without each domain.

    Args:
        weights: by domain; the others make up for a domain that is left out, in proportion.

    Raises:
        InvalidInputError: nothing is left without one of them.
    """
    mixtures = {CONTROL: dict(weights)}
    for name, weight in weights.items():
        if weight >= 1.0:
            raise InvalidInputError(f"domain '{name}' is all there is; it cannot be left out")
        rest = {one: share / (1 - weight) for one, share in weights.items()}
        mixtures[name] = {**rest, name: 0.0}
    return mixtures
