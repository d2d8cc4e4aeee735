"""RegMix-D: a mixture for every stage, from regressions on the curves of proxy runs.

Source:
    Zhao et al., "RegMix-D: Dynamic Data Mixing via Proxy Training Trajectories", arXiv:2606.18663
    [X abstract]: regressions on loss trajectories give optimal mixtures at several stages; offline
    as a schedule before training, online by the losses that are observed.

Departures [I]:
    * A run's loss at a stage is read from its curve, linearly in the logarithm of tokens; a run
      whose curve does not reach to both sides of it is left out.
    * By default all stages are fitted together (`mixwright.schedules.stage_models`), by Gaussian
      processes. The paper has LightGBM; with the surrogate lightgbm and separate fits, each stage
      has its own, as far as the abstract tells.
    * The surrogate gp sees roots of shares here. Logarithms, its default elsewhere, extrapolate far
      where a share goes to 0, which is where many of the simulated mixtures are.
    * The mixture of each stage keeps the study's constraints by itself, caps for the whole budget,
      and so do all stages together.
    * Online, the stage is the one whose predicted losses of the mixture in use are nearest to those
      observed, instead of the one that tokens say. `evidence` has what that needs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.constraints import compile_constraints
from mixwright.errors import InvalidInputError
from mixwright.model import MixtureModel
from mixwright.options import numbers, option
from mixwright.schedules.base import Schedule
from mixwright.schedules.planning import Problem, stage_of, within_caps
from mixwright.schedules.stage_models import StageModel, pooled_models, separate_models
from mixwright.schedules.trajectories import Trajectories, in_all
from mixwright.study import CompletedRuns, Repetition, Study

METHODS: Final = ("regmix", "exact", "best_observed")
FITS: Final = ("pooled", "separate")
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {"gp": {"features": "sqrt"}}
"""Of surrogates, where they are not the surrogates' own defaults."""
_FITTING: Final = 0.8  # share of the work


def require_ends(shares: Sequence[float]) -> None:
    """Check where stages end.

    Raises:
        InvalidInputError: shares that do not ascend to 1.
    """
    if list(shares) != sorted(set(shares)) or not shares or shares[0] <= 0 or shares[-1] != 1:
        raise InvalidInputError(
            f"ends of stages are {list(shares)}; they must ascend from above 0 to 1", "options/ends"
        )


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


@dataclass(frozen=True, slots=True)
class RegmixD:
    """Options of RegMix-D."""

    ends: tuple[float, ...] = numbers(
        (0.25, 0.5, 0.75, 1.0),
        "Where stages end, in shares of the tokens, ascending to 1.",
        minimum=0.001,
        maximum=1.0,
    )
    surrogate: str = option("gp", "Fitted to the losses at the ends of stages.")
    fits: str = option(
        "pooled", "Stages are fitted together, or each by itself (separate).", choices=FITS
    )
    method: str = option("regmix", "How a mixture is chosen by a fit.", choices=METHODS)

    def plan(self, problem: Problem) -> Schedule:
        """Return a stage for each end; batch and rate stay.

        `evidence` has the option `stages` of the online reweighter of the same name.

        Raises:
            InvalidInputError: no runs; ends that do not ascend to 1.
            InfeasibleError: the caps allow no mixture of so many tokens.
            MixwrightError: a fit failed, as where too few runs have points around an end.
        """
        given = problem.trajectories
        if given is None:
            raise InvalidInputError("runs with points of their loss curves are needed", "planner")
        require_ends(self.ends)
        study, stages = _capped(given.study, problem), self.runs(given)
        models = self._models(study, stages, given)
        mixtures = self._mixtures(models, given)
        schedule = plan_stages(problem, mixtures, self.ends)
        warnings = (*_left_out(given, stages, self.ends), *schedule.warnings)
        return replace(schedule, warnings=warnings, evidence=_for_online(models, mixtures))

    def runs(self, given: Trajectories) -> list[CompletedRuns]:
        """Return the runs that are fitted, as they were at the end of each stage."""
        found = [given.at(share) for share in self.ends]
        return in_all(found) if self.fits == "pooled" else found

    def _models(
        self, study: Study, stages: Sequence[CompletedRuns], given: Trajectories
    ) -> list[StageModel]:
        from mixwright.fitting import fit_study  # loads scipy.stats

        count, done = 1 if self.fits == "pooled" else len(stages), 0

        def fit(study: Study, runs: CompletedRuns) -> MixtureModel:
            nonlocal done
            model, _ = fit_study(
                study,
                runs,
                surrogate=self.surrogate,
                options=OPTIONS.get(self.surrogate, {}),
                seed=given.seed,
                progress=lambda share: given.progress(_FITTING * (done + share) / count),
            )
            done += 1
            return model

        if self.fits == "pooled":
            return pooled_models(study, stages, self.ends, fit)
        return separate_models(study, stages, fit)

    def _mixtures(self, models: Sequence[StageModel], given: Trajectories) -> FloatArray:
        """Return the mixture of each stage `(s, k)`."""
        from mixwright.recommend import recommend

        polytope, mixtures = compile_constraints(models[0].study), []
        for done, one in enumerate(models, 1):
            found = recommend(
                one.study, polytope, one.model, one.runs, method=self.method, seed=given.seed
            )
            weights = np.maximum(found.weights, 0.0)  # solvers miss 0 by 1e-17
            mixtures.append(weights / weights.sum())
            given.progress(_FITTING + (1 - _FITTING) * done / len(models))
        return np.array(mixtures)


def _for_online(models: Sequence[StageModel], mixtures: FloatArray) -> dict[str, Any]:
    """Return the option `stages` of the online reweighter."""
    from mixwright.reweighting.regmix_d import stages_of  # loads scipy.stats

    losses = np.array([one.losses(w) for one, w in zip(models, mixtures, strict=True)])
    names = models[0].study.domain_names
    return {"stages": stages_of(names, models[0].names, mixtures, losses)}


def _capped(study: Study, problem: Problem) -> Study:
    """Return the study with the caps of the budget."""
    if problem.max_epochs is None:
        return study
    return replace(study, repetition=Repetition(problem.budget.tokens, problem.max_epochs))


def _left_out(
    given: Trajectories, stages: Sequence[CompletedRuns], shares: Sequence[float]
) -> Iterator[str]:
    """Yield how many runs have no points around an end, and at which."""
    whole = len(given.runs.ids)
    at: dict[int, list[str]] = {}
    for share, runs in zip(shares, stages, strict=True):
        at.setdefault(whole - len(runs.ids), []).append(f"{share:.3g}")
    for count, ends in at.items():
        if count:
            yield (
                f"{count} of {whole} runs have no points around the ends of stages and were left "
                f"out at {', '.join(ends)} of the tokens"
            )
