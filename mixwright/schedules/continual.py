"""Continual pretraining: as much of a new domain as the old abilities bear, the rest is replay.

Source:
    Gu et al., "CMR Scaling Law: Predicting Critical Mixture Ratios for Continual Pre-training of
    Language Models", arXiv:2407.17467 [S]: of losses against the first checkpoint, that of the
    domain follows a T^s + b, the general one a T^s + a' T^s' + b, and the largest share of the
    domain that keeps the general loss within a tolerance follows a T^s + b, T in units of 200M
    tokens. The stability gap: Guo et al., arXiv:2406.14833 [R]: a small subset of the best data
    over several epochs regains what the first steps lose.

Departures [I]:
    * The critical share at a T is read between the shares that were run, linearly, after the
      general loss was made monotone in the share.
    * Two terms of the general law are fitted from several starts; the law over T needs three
      points, with fewer the largest share that was seen is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, least_squares

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import by_name, option, sequences
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Problem, stage_of, within_caps

UNIT_TOKENS = 2e8
_POWERS = (-0.8, -0.3, 0.1, 0.3, 0.6, 1.0)  # to begin fits at


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """a T^s + b."""

    scale: float
    power: float
    offset: float

    def at(self, times: FloatArray) -> FloatArray:
        """Return values at T, in units of 200M tokens."""
        values: FloatArray = self.scale * np.asarray(times) ** self.power + self.offset
        return values


def general_loss(
    times: FloatArray, rise: tuple[float, float], fall: tuple[float, float], offset: float
) -> FloatArray:
    """Return the general loss against the first checkpoint, a T^s + a' T^s' + b.

    Args:
        times: T.
        rise: a and s.
        fall: a' and s'.
        offset: b.
    """
    values: FloatArray = rise[0] * times ** rise[1] + fall[0] * times ** fall[1] + offset
    return values


def fit_power_law(times: FloatArray, values: FloatArray) -> PowerLaw:
    """Return the least-squares fit of a T^s + b.

    Raises:
        InvalidInputError: fewer than three points.
    """
    if len(times) < 3:
        raise InvalidInputError(
            f"a power law with an offset needs three points; there are {len(times)}", "options/runs"
        )

    def residuals(x: FloatArray) -> FloatArray:
        return np.asarray(x[0] * times ** x[1] + x[2] - values)

    starts = [_linear_start(times, values, power) for power in _POWERS]
    found = [least_squares(residuals, start, x_scale="jac", max_nfev=2000) for start in starts]
    best = min(found, key=lambda one: one.cost).x
    return PowerLaw(*map(float, best))


def _linear_start(times: FloatArray, values: FloatArray, power: float) -> FloatArray:
    design = np.column_stack([times**power, np.ones(len(times))])
    (scale, offset), *_ = np.linalg.lstsq(design, values, rcond=None)
    return np.array([scale, power, offset])


def critical_share(shares: FloatArray, losses: FloatArray, tolerance: float) -> tuple[float, bool]:
    """Return the largest share whose general loss is within the tolerance, and if it is censored.

    Censored: even the largest share that was run keeps it, so that the critical one is no smaller.

    Args:
        shares: shape `(r,)`, of the domain, ascending.
        losses: shape `(r,)`, general loss against the first checkpoint.
        tolerance: ε, in the loss's unit.

    Raises:
        InvalidInputError: even the smallest share costs more.
    """
    rising = isotonic_regression(losses).x
    if rising[0] > tolerance:
        raise InvalidInputError(
            f"even a share of {shares[0]:g} raises the general loss by {rising[0]:.3g}, more than "
            f"the tolerance of {tolerance:g}; run smaller shares, or allow more",
            "options/tolerance",
        )
    if rising[-1] <= tolerance:
        return float(shares[-1]), True
    over = int(np.argmax(rising > tolerance))
    low, high = rising[over - 1], rising[over]
    part = (tolerance - low) / (high - low)
    return float(shares[over - 1] + part * (shares[over] - shares[over - 1])), False


@dataclass(frozen=True, slots=True)
class Continual:
    """Options of continual pretraining."""

    new_weights: Mapping[str, float] | None = by_name("Mixture of the new domains alone.")
    share: float = option(
        0.0, "Share of the new domains; 0 to find it from `runs`.", minimum=0.0, maximum=1.0
    )
    runs: tuple[tuple[Mapping[str, Mapping[str, float]], ...], ...] = sequences(
        "For each share that was run, its curve: points of `at` {share, tokens} and `loss` "
        "{general}, the general loss minus that of the first checkpoint.",
        ("at", "loss"),
    )
    tolerance: float = option(0.05, "Rise of the general loss allowed, nats.", minimum=0.0)
    subset: float = option(
        0.0,
        "Share of the tokens spent first, over `epochs`, on a small subset of the new data (the "
        "stability gap's recipe); 0 for none.",
        minimum=0.0,
        maximum=0.9,
    )
    epochs: int = option(4, "Of the subset.", minimum=1, maximum=20)
    column: str = option(
        "", "Score whose highest documents are the subset; left out, any documents are."
    )
    final_rate: float = option(0.1, "Last rate, a share of the peak.", minimum=0.0, maximum=1.0)

    def plan(self, problem: Problem) -> Schedule:
        """Return a stage, or two with a subset first.

        Raises:
            InvalidInputError: no new mixture; neither a share nor runs to find it by; no share is
                small enough.
            InfeasibleError: caps are broken.
        """
        if self.new_weights is None:
            raise InvalidInputError("say what is new: a mixture", "options/new_weights")
        new = problem.mixture(self.new_weights, "options/new_weights")
        share, warnings, evidence = self._share(problem)
        mixed = {
            name: share * new[name] + (1 - share) * old for name, old in problem.weights.items()
        }
        stages = self._stages(problem, mixed)
        schedule = Schedule(problem.budget, stages, warnings, {"share": share, **evidence})
        return within_caps(problem, schedule)

    def _stages(self, problem: Problem, mixed: Mapping[str, float]) -> tuple[Stage, ...]:
        budget = problem.budget
        peak = budget.peak_learning_rate
        rate = Curve(0.0, budget.tokens, peak, self.final_rate * peak, "cosine")
        if not self.subset:
            return (stage_of(problem, "continual", 0.0, budget.tokens, mixed, rate),)
        border = budget.border(self.subset)
        first = stage_of(problem, "subset", 0.0, border, mixed, rate)
        selection: dict[str, Any] = {
            "subset_tokens": border / self.epochs,
            "epochs": self.epochs,
            "tokens": first.domain_tokens(),
        }
        if self.column:
            selection["best_by"] = self.column
        subset = Stage("subset", 0.0, border, first.batch, rate, None, selection)
        return (subset, stage_of(problem, "continual", border, budget.tokens, mixed, rate))

    def _share(self, problem: Problem) -> tuple[float, tuple[str, ...], dict[str, Any]]:
        if self.share:
            return self.share, (), {}
        if not self.runs:
            raise InvalidInputError(
                "give the share of the new domains, or runs to find it by", "options/share"
            )
        table = self._table()
        times = np.unique(table[:, 1])
        found = [self._critical(table[table[:, 1] == time]) for time in times]
        target = problem.budget.tokens / UNIT_TOKENS
        return _extrapolate(times / UNIT_TOKENS, found, target)

    def _table(self) -> FloatArray:
        """Return share, tokens and general loss of every point, `(p, 3)`.

        Raises:
            InvalidInputError: there is no point, one lacks a number, or has an impossible one.
        """
        points = [
            (one["at"].get("share"), one["at"].get("tokens"), one["loss"].get("general"))
            for curve in self.runs
            for one in curve
        ]
        table = np.array(points, dtype=np.float64).reshape(len(points), 3)
        share, tokens = table[:, 0], table[:, 1]
        if not len(table) or np.isnan(table).any():
            raise InvalidInputError(
                "runs need points, each with `at`: {share, tokens} and `loss`: {general}",
                "options/runs",
            )
        if (share < 0).any() or (share > 1).any() or (tokens <= 0).any():
            raise InvalidInputError(
                "a point's share must be from 0 to 1 and its tokens above 0", "options/runs"
            )
        return table

    def _critical(self, rows: FloatArray) -> tuple[float, bool]:
        rows = rows[np.argsort(rows[:, 0])]
        return critical_share(rows[:, 0], rows[:, 2], self.tolerance)


def _extrapolate(
    times: FloatArray, found: list[tuple[float, bool]], target: float
) -> tuple[float, tuple[str, ...], dict[str, Any]]:
    """Return the critical share at `target`, warnings, and what was found at each T."""
    shares = np.array([share for share, _ in found])
    warnings = []
    if any(censored for _, censored in found):
        warnings.append(
            "at some lengths even the largest share that was run keeps the general loss: the "
            "critical share is at least that; run larger ones"
        )
    evidence: dict[str, Any] = {
        "tokens": (times * UNIT_TOKENS).tolist(),
        "critical": shares.tolist(),
    }
    if len(times) < 3:
        warnings.append("fewer than three lengths: the share at the longest one is used")
        return float(shares[-1]), tuple(warnings), evidence
    law = fit_power_law(times, shares)
    if target > times[-1]:
        warnings.append(
            f"the budget is {target / times[-1]:.3g} times the longest run: the share extrapolates"
        )
    share = float(np.clip(law.at(np.array([target]))[0], 0.0, 1.0))
    law_json = {"scale": law.scale, "power": law.power, "offset": law.offset}
    return share, tuple(warnings), {**evidence, "law": law_json}
