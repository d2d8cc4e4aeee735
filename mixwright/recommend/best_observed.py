"""Recommend the best mixture that was actually trained.

Source:
    The "search" proposer of olmix (github.com/allenai/olmix) [X]: the best observed mixture
    within the constraints.

Departures:
    Losses at different fidelities cannot be compared, so one fidelity is looked at: the target if
    it has usable runs, else the one with the most (the larger in the study's order among equals).
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError, NotEnoughRunsError
from mixwright.polytope import Polytope
from mixwright.recommend.base import Choice, Problem
from mixwright.study import CompletedRuns, Study


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """A run and what it measured.

    Attributes:
        run_id: identifier.
        weights: shape `(k,)`.
        objective: as measured, lower is better.
        fidelity: name.
        competitors: runs at that fidelity that measured every metric of the objective.
        feasible: whether it satisfies the constraints.
    """

    run_id: str
    weights: FloatArray
    objective: float
    fidelity: str
    competitors: int
    feasible: bool


def recommend_best_observed(problem: Problem) -> Choice:
    """Return the best observed mixture that satisfies the constraints.

    Raises:
        NotEnoughRunsError: no run measured every metric of the objective.
        InvalidInputError: no such run satisfies the constraints.
    """
    best = find_best_run(problem.study, problem.polytope, problem.runs)
    if best is None:
        raise NotEnoughRunsError(
            "method best_observed needs a run that measured every metric of the objective"
        )
    if not best.feasible:
        raise InvalidInputError(
            f"none of the {best.competitors} runs at {best.fidelity} satisfies the constraints; "
            "use method regmix or exact",
            field="method",
        )
    warnings = []
    if best.fidelity != problem.study.target_fidelity:
        warnings.append(
            f"no run at the target fidelity {problem.study.target_fidelity}: this is the best of "
            f"{best.competitors} at {best.fidelity}"
        )
    return Choice(best.weights, tuple(warnings))


def find_best_run(study: Study, polytope: Polytope, runs: CompletedRuns) -> ObservedRun | None:
    """Return the run with the lowest objective, a feasible one if there is any.

    Returns:
        None if no run measured every metric of the objective.
    """
    objective = observed_objective(study, runs)
    usable = np.isfinite(objective)
    fidelity = _fidelity(study, runs, usable)
    if fidelity is None:
        return None
    rows = np.flatnonzero(usable & (runs.fidelity == fidelity))
    feasible = study.space.contains(polytope, runs.mixtures[rows])
    eligible = rows[feasible] if feasible.any() else rows
    best = eligible[objective[eligible].argmin()]
    return ObservedRun(
        run_id=runs.ids[best],
        weights=runs.mixtures[best],
        objective=float(objective[best]),
        fidelity=fidelity,
        competitors=len(rows),
        feasible=bool(feasible.any()),
    )


def observed_objective(study: Study, runs: CompletedRuns) -> FloatArray:
    """Return each run's objective `(n,)`, NaN where a metric that counts is missing."""
    counts = study.objective != 0
    weights = (study.objective * study.signs)[counts]
    objective: FloatArray = runs.values[:, counts] @ weights
    return objective


def _fidelity(study: Study, runs: CompletedRuns, usable: np.ndarray) -> str | None:
    names = [fidelity.name for fidelity in study.fidelities]
    counts = {name: int((usable & (runs.fidelity == name)).sum()) for name in names}
    if counts.get(study.target_fidelity):
        return study.target_fidelity
    most = max(names, key=lambda name: (counts[name], names.index(name)))
    return most if counts[most] else None
