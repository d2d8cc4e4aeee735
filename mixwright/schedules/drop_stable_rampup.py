"""Drop-Stable-Rampup: at the turn to better data the batch drops, holds, and ramps up at the end.

Source:
    Zhu et al., arXiv:2605.25698 [X abstract]. Where data is limited by noise, good data lets a
    smaller batch take more steps; where it is limited by signal, it belongs at the end.

Departures [I]:
    * The numbers (a quarter of the batch for .7 of the rest, then a geometric ramp to twice the
      batch) are ours; the abstract gives none. They are the three parameters of a restriction of
      the law's optimum, and what they lose against it is in the evidence.
    * The batch drops to B σ_good²/σ_base² where both gradient noise scales are told, and not at
      all where the batch is already below the noise scale of the good data, where noise does not
      limit, or where the scales are too near to each other to tell batches apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixwright.errors import InvalidInputError
from mixwright.options import by_name, option
from mixwright.schedules.base import Budget, Schedule, Stage
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Problem, stage_of, within_caps
from mixwright.schedules.scaling_law import (
    Law,
    best_schedule,
    discrete_loss,
    noise_of,
    three_phases,
)


@dataclass(frozen=True, slots=True)
class DropStableRampup:
    """Options of Drop-Stable-Rampup."""

    share: float = option(0.2, "Share of the tokens that is good data.", minimum=0.01, maximum=0.9)
    good_weights: Mapping[str, float] | None = by_name(
        "Mixture of the good data; the one before if left out."
    )
    drop: float = option(
        0.25, "Batch after the turn, against the one before.", minimum=0.01, maximum=1.0
    )
    stable: float = option(
        0.7, "Share of the good data before the ramp.", minimum=0.0, maximum=0.95
    )
    final: float = option(
        2.0, "Batch at the end, against the one before.", minimum=0.01, maximum=64.0
    )
    noise_scale_base: float = option(
        0.0, "Gradient noise scale on the data before, in tokens; 0 if not known.", minimum=0.0
    )
    noise_scale_good: float = option(
        0.0, "Gradient noise scale on the good data, in tokens; 0 if not known.", minimum=0.0
    )
    rate: float = option(0.5, "η of the law, at the batch before.", minimum=1e-6, maximum=100.0)
    source: float = option(0.3, "s of the law.", minimum=0.01, maximum=10.0)
    capacity: float = option(2.0, "β of the law.", minimum=1.01, maximum=100.0)
    noise_base: float = option(1.0, "σ of the data before.", minimum=0.0, maximum=1e6)
    noise_good: float = option(0.3, "σ of the good data.", minimum=0.0, maximum=1e6)
    pieces: int = option(32, "Pieces of the law's optimum.", minimum=4, maximum=64)

    def plan(self, problem: Problem) -> Schedule:
        """Return three stages, or two where nothing is stable; the rate stays.

        Raises:
            InvalidInputError: the good data's mixture is of other domains; one noise scale without
                the other; batches that cannot be told apart after rounding.
            InfeasibleError: caps are broken over all stages together.
        """
        drop, why = self._drop(problem.budget)
        stages = self._stages(problem, drop)
        schedule = Schedule(problem.budget, stages, why, self._evidence(problem, drop))
        return within_caps(problem, schedule)

    def _drop(self, budget: Budget) -> tuple[float, tuple[str, ...]]:
        """Return the batch after the turn, against the one before, and what was decided."""
        before, after = self.noise_scale_base, self.noise_scale_good
        if not (before or after):
            return self.drop, ()
        if not (before and after):
            missing = "noise_scale_good" if before else "noise_scale_base"
            raise InvalidInputError(
                "the drop follows from both noise scales; measure the other one too, or give none",
                f"options/{missing}",
            )
        batch = budget.batch_tokens
        if batch <= after:
            return 1.0, (
                f"the batch of {batch:g} tokens is below the noise scale of the good data "
                f"({after:g}): a smaller one would learn no more, so it does not drop",
            )
        drop = after / before
        if drop >= 1 or budget.rounded(drop * batch) == budget.rounded(batch):
            return 1.0, (
                f"the noise scale of the good data is {drop:.3g} of that before, too near to it "
                "for another batch: it does not drop",
            )
        return drop, (f"the batch drops to {drop:.3g} of itself, as the noise scale does",)

    def _stages(self, problem: Problem, drop: float) -> tuple[Stage, ...]:
        budget = problem.budget
        turn = budget.border(1 - self.share)
        good = dict(problem.weights)
        if self.good_weights is not None:
            good = problem.mixture(self.good_weights, "options/good_weights")
        low, high = drop * budget.batch_tokens, self.final * budget.batch_tokens
        _require_apart(budget, "ramp", low, high, "final")
        if drop < 1:
            _require_apart(budget, "drop", budget.batch_tokens, low, "drop")
        climb = budget.border(1 - self.share * (1 - self.stable))
        ramp = Curve(climb, budget.tokens, low, high, "geometric")
        flat = Curve(turn, climb, low, low) if climb > turn else None
        stages = [stage_of(problem, "base", 0.0, turn, problem.weights)]
        if flat is not None:
            stages.append(stage_of(problem, "drop", turn, climb, good, batch=flat))
        return (
            *stages,
            stage_of(problem, "ramp-up", max(climb, turn), budget.tokens, good, batch=ramp),
        )

    def _evidence(self, problem: Problem, drop: float) -> dict[str, Any]:
        """Return the law's losses: constant batch, this schedule, and the optimum.

        The losses as a sum over pieces differ from the integrals by what the pieces are too coarse.
        """
        law = Law(self.rate, self.source, self.capacity)
        total = problem.budget.tokens / problem.budget.batch_tokens
        tokens = np.full(self.pieces, total / self.pieces)
        late = np.clip(
            (np.arange(1, self.pieces + 1) / self.pieces - 1 + self.share) * self.pieces, 0, 1
        )
        rule = three_phases(self.pieces, 1 - self.share, drop, self.stable, self.final)
        noise = noise_of(late, self.noise_base, self.noise_good)
        best = best_schedule(
            law,
            total,
            self.pieces,
            self.share,
            self.noise_base,
            self.noise_good,
            min(drop, 1 / 16),
            max(self.final, 16.0),
            (rule,),
        )
        ours = law.loss(rule, noise, tokens)
        return {
            "law": {"rate": self.rate, "source": self.source, "capacity": self.capacity},
            "loss": {
                "constant_batch": law.loss(np.ones(self.pieces), noise, tokens),
                "three_phases": ours,
                "optimum": best.loss,
            },
            "loss_as_sum": {
                "constant_batch": discrete_loss(law, np.ones(self.pieces), noise, tokens),
                "three_phases": discrete_loss(law, rule, noise, tokens),
            },
            "lost_against_optimum": ours - best.loss,
            "optimum": {"batch": best.batch.tolist(), "good": best.good.tolist()},
            "regime": _regime(law, total, self.noise_base),
        }


def _require_apart(budget: Budget, what: str, start: float, end: float, field: str) -> None:
    if budget.rounded(start) == budget.rounded(end):
        raise InvalidInputError(
            f"a {what} from {start:g} to {end:g} tokens a step rounds to nothing with batches that "
            f"are multiples of {budget.batch_unit}; use a larger batch or a wider {what}",
            f"options/{field}",
        )


def _regime(law: Law, total: float, noise: float) -> str:
    """Return what limits a constant batch: its noise or its signal, whichever is larger."""
    signal = law.loss(np.ones(1), np.zeros(1), np.array([total]))
    pieces = 64
    both = law.loss(np.ones(pieces), np.full(pieces, noise), np.full(pieces, total / pieces))
    return "noise" if both - signal > signal else "signal"
