"""RegMix-D: a mixture for every stage, from regressions on the curves of proxy runs.

Source:
    Zhao et al., "RegMix-D: Dynamic Data Mixing via Proxy Training Trajectories", arXiv:2606.18663
    [X abstract]: regressions on loss trajectories give optimal mixtures at several stages; offline
    as a schedule before training, online by the losses that are observed.

Departures [I]:
    * A run's loss at a stage is read from its curve, linearly in the logarithm of tokens; a run
      whose curve does not reach to both sides of it is left out there.
    * One surrogate for each stage, of any kind; the paper has LightGBM.
    * The mixture of each stage keeps the study's constraints by itself, caps for the whole budget,
      and so do all stages together.
    * Online, the stage is the one whose predicted losses of the mixture in use are nearest to those
      observed, instead of the one that tokens say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.constraints import compile_constraints
from mixwright.errors import InvalidInputError
from mixwright.options import numbers, option
from mixwright.schedules.base import Schedule
from mixwright.schedules.planning import Problem, stage_of, within_caps
from mixwright.study import CompletedRuns, Repetition, Study

Recommend = Callable[[CompletedRuns], FloatArray]
"""From runs to a mixture `(k,)`."""


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Metrics of a run over its tokens.

    Attributes:
        tokens: shape `(p,)`, ascending, above 0.
        metrics: shape `(p, m)`, NaN where missing.
    """

    tokens: FloatArray
    metrics: FloatArray

    def at(self, tokens: float) -> FloatArray | None:
        """Return metrics `(m,)`, or None outside the curve."""
        if not len(self.tokens) or not self.tokens[0] <= tokens <= self.tokens[-1]:
            return None
        after = int(np.searchsorted(self.tokens, tokens))
        if self.tokens[after] == tokens:
            return np.asarray(self.metrics[after])
        low, high = np.log(self.tokens[after - 1]), np.log(self.tokens[after])
        part = (np.log(tokens) - low) / (high - low)
        found: FloatArray = (1 - part) * self.metrics[after - 1] + part * self.metrics[after]
        return found


def runs_at(
    runs: CompletedRuns, curves: Mapping[str, LossCurve], ends: Mapping[str, float], share: float
) -> tuple[CompletedRuns, tuple[str, ...]]:
    """Return runs as they were at a share of their tokens, and the ids of those left out.

    Args:
        runs: that ended, with their last metrics.
        curves: by run.
        ends: tokens of a whole run, by run.
        share: above 0 and at most 1; at 1 the last metrics are taken.
    """
    if share >= 1:
        return runs, ()
    nowhere = LossCurve(np.empty(0), np.empty((0, runs.values.shape[1])))
    found = [curves.get(run, nowhere).at(share * ends[run]) for run in runs.ids]
    kept = [row for row, values in enumerate(found) if values is not None]
    left_out = tuple(run for run, values in zip(runs.ids, found, strict=True) if values is None)
    values = np.array([found[row] for row in kept]).reshape(len(kept), runs.values.shape[1])
    part = CompletedRuns(
        runs.mixtures[kept], values, runs.fidelity[kept], tuple(runs.ids[row] for row in kept)
    )
    return part, left_out


def require_ends(shares: Sequence[float]) -> None:
    """Check where stages end.

    Raises:
        InvalidInputError: shares that do not ascend to 1.
    """
    if list(shares) != sorted(set(shares)) or not shares or shares[0] <= 0 or shares[-1] != 1:
        raise InvalidInputError(
            f"ends of stages are {list(shares)}; they must ascend from above 0 to 1", "options/ends"
        )


def stage_mixtures(
    runs: CompletedRuns,
    curves: Mapping[str, LossCurve],
    ends: Mapping[str, float],
    shares: Sequence[float],
    recommend: Recommend,
) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the best mixture at the end of every stage `(s, k)`, and warnings.

    Args:
        runs: of one fidelity.
        curves: by run.
        ends: tokens of a whole run, by run.
        shares: ends of stages, ascending to 1.
        recommend: fits the runs and chooses a mixture.

    Raises:
        InvalidInputError: shares that do not ascend to 1.
        MixwrightError: whatever `recommend` raises, as where too few runs have a curve.
    """
    require_ends(shares)
    mixtures, warnings = [], []
    for share in shares:
        part, left_out = runs_at(runs, curves, ends, share)
        if left_out:
            warnings.append(
                f"{len(left_out)} of {len(runs.ids)} runs have no points around {share:.3g} of "
                "their tokens and were left out there"
            )
        mixtures.append(recommend(part))
    return np.array(mixtures), tuple(warnings)


def plan_stages(problem: Problem, mixtures: FloatArray, shares: Sequence[float]) -> Schedule:
    """Return a schedule with a mixture for every stage; batch and rate stay.

    Args:
        problem: its weights name the domains.
        mixtures: shape `(s, k)`.
        shares: ends of stages, ascending to 1.

    Raises:
        InfeasibleError: caps are broken over all stages together.
    """
    budget, names = problem.budget, list(problem.weights)
    borders = [0.0, *(budget.border(share) for share in shares[:-1]), budget.tokens]
    stages = tuple(
        stage_of(
            problem,
            f"stage {place + 1}",
            borders[place],
            borders[place + 1],
            dict(zip(names, mixture.tolist(), strict=True)),
        )
        for place, mixture in enumerate(mixtures)
    )
    return within_caps(problem, Schedule(budget, stages))


def with_warnings(schedule: Schedule, warnings: Sequence[str]) -> Schedule:
    """Return the schedule with more warnings."""
    return replace(schedule, warnings=(*warnings, *schedule.warnings))


METHODS: Final = ("regmix", "exact", "best_observed")


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Runs with their loss curves, and what is needed to choose a mixture from them.

    Attributes:
        study: gives the objective and the constraints.
        runs: of one fidelity, with their last metrics.
        curves: by run.
        ends: tokens of a whole run, by run.
        seed: of the fits.
        progress: called with the share of the work that is done.
    """

    study: Study
    runs: CompletedRuns
    curves: Mapping[str, LossCurve]
    ends: Mapping[str, float]
    seed: int = 0
    progress: Callable[[float], None] = lambda share: None


@dataclass(frozen=True, slots=True)
class RegmixD:
    """Options of RegMix-D."""

    ends: tuple[float, ...] = numbers(
        (0.25, 0.5, 0.75, 1.0),
        "Where stages end, in shares of the tokens, ascending to 1.",
        minimum=0.001,
        maximum=1.0,
    )
    surrogate: str = option("auto", "Fitted to the losses at the end of every stage.")
    method: str = option("regmix", "How a mixture is chosen by a fit.", choices=METHODS)

    def plan(self, problem: Problem) -> Schedule:
        """Return a stage for each end; batch and rate stay.

        Raises:
            InvalidInputError: no runs; ends that do not ascend to 1.
            InfeasibleError: the caps allow no mixture of so many tokens.
            MixwrightError: a fit failed, as where too few runs have points around an end.
        """
        given = problem.trajectories
        if given is None:
            raise InvalidInputError("runs with points of their loss curves are needed", "planner")
        choose = self._choose(given, problem)
        mixtures, warnings = stage_mixtures(given.runs, given.curves, given.ends, self.ends, choose)
        return with_warnings(plan_stages(problem, mixtures, self.ends), warnings)

    def _choose(self, given: Trajectories, problem: Problem) -> Recommend:
        from mixwright.fitting import fit_study  # loads scipy.stats
        from mixwright.recommend import recommend

        study, stages, done = given.study, len(self.ends), 0
        if problem.max_epochs is not None:
            cap = Repetition(problem.budget.tokens, problem.max_epochs)
            study = replace(study, repetition=cap)
        polytope = compile_constraints(study)

        def choose(runs: CompletedRuns) -> FloatArray:
            nonlocal done

            def tell(share: float) -> None:
                given.progress((done + share) / stages)

            model, _ = fit_study(
                study,
                runs,
                surrogate=self.surrogate,
                seed=given.seed,
                progress=lambda share: tell(0.9 * share),
            )
            found = recommend(study, polytope, model, runs, method=self.method, seed=given.seed)
            done += 1
            weights: FloatArray = np.maximum(found.weights, 0.0)  # solvers miss 0 by 1e-17
            return np.asarray(weights / weights.sum())

        return choose
