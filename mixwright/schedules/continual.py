"""Continual pretraining: as much of a new domain as the old abilities bear, the rest is replay.

Source:
    How much they bear: the CMR scaling law, see `mixwright.schedules.critical_share`. The stability
    gap: Guo et al., arXiv:2406.14833 [R]: a small subset of the best data over several epochs
    regains what the first steps lose.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import by_name, option, sequences
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.critical_share import UNIT_TOKENS, Estimate, Grid, estimate, grid_of
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Problem, stage_of, within_caps


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
        evidence = {"share": share, "replay": 1 - share, **evidence}
        schedule = Schedule(problem.budget, stages, warnings, evidence)
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
        grid, target = grid_of(self._table()), problem.budget.tokens / UNIT_TOKENS
        found = self._found(grid, target)
        others = [estimate(grid, part * self.tolerance, target) for part in (0.5, 2.0)]
        half, double = (None if one is None else max(0.0, one.share) for one in others)
        evidence = {
            **_told(found),
            "tolerance": self.tolerance,
            "share_at_half_the_tolerance": half,
            "share_at_twice_the_tolerance": double,
        }
        return found.share, tuple(_cautions(grid, found, target)), evidence

    def _found(self, grid: Grid, target: float) -> Estimate:
        found = estimate(grid, self.tolerance, target)
        if found is None:
            raise InvalidInputError(
                f"even a share of {grid.shares[0]:g} raises the general loss by more than the "
                f"tolerance of {self.tolerance:g} over {grid.times[-1] * UNIT_TOKENS:g} tokens; "
                "run smaller shares, or allow more",
                "options/tolerance",
            )
        if found.share <= 0:
            raise InvalidInputError(
                f"by the law of the runs no share is within the tolerance of {self.tolerance:g} "
                f"over {target * UNIT_TOKENS:g} tokens; run shares at lengths nearer to it, or "
                "allow more",
                "options/tolerance",
            )
        return found

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


def _told(found: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON values."""
    law, interval = found.law, found.interval
    return {
        "interval": None if interval is None else np.clip(interval, 0.0, 1.0).tolist(),
        "tokens": (found.times * UNIT_TOKENS).tolist(),
        "critical": found.critical.tolist(),
        "law": None if law is None else asdict(law),
    }


def _cautions(grid: Grid, found: Estimate, target: float) -> Iterator[str]:
    if grid.left_out:
        yield f"{grid.left_out} lengths that not all shares were run at were left out"
    if len(found.times) < len(grid.times):
        yield (
            f"at {len(grid.times) - len(found.times)} lengths even the smallest share costs more "
            "than the tolerance; they were left out"
        )
    if found.is_censored:
        yield (
            "at some lengths even the largest share that was run keeps the general loss: the "
            "critical share is at least that; run larger ones"
        )
    if found.law is None:
        yield "fewer than three lengths: the share at the longest one is used"
    elif not found.times[0] <= target <= found.times[-1]:
        yield (
            f"the budget is {target / found.times[-1]:.3g} times the longest run and "
            f"{target / found.times[0]:.3g} times the shortest: the share extrapolates"
        )
