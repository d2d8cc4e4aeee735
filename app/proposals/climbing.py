"""CLIMB's rounds as proposals: the next round begins when all runs of the one before have ended."""

import numpy as np
from sqlalchemy.orm import Session

from app.db.models import StudyRow
from app.proposals import repository
from app.runs import service as runs
from app.studies.definition import to_core
from app.studies.spaces import named
from app.suggestions.asking import Proposal, Thought
from mixwright.arrays import FloatArray
from mixwright.constraints import compile_constraints
from mixwright.quality.climb import ROUNDS, propose, round_after
from mixwright.study import Study


def climb(
    session: Session,
    row: StudyRow,
    fidelity: str,
    count: int,
    seed: int,
    rounds: tuple[int, ...] | None,
) -> Thought:
    """Return mixtures of the round under way that were never proposed, as many as it lacks.

    Runs at the fidelity that have every metric of the objective count, oldest first, whoever
    proposed them.

    Raises:
        InfeasibleError: the constraints leave no mixture.
    """
    study = to_core(row.definition)
    mixtures, values = _ended(session, row, study, fidelity)
    under_way = round_after(len(values), rounds or ROUNDS)
    if under_way is None:
        return Thought([], "rounds")
    begin, end = under_way
    polytope = compile_constraints(study)
    order = propose(polytope, study.prior, mixtures[:begin], values[:begin], end - begin, seed)
    known = [weights for at, weights in repository.proposed(session, row.id) if at == fidelity]
    drawn = [named(study, one) for one in study.space.canonical(order)]
    fresh = [weights for weights in drawn if weights not in known]
    pending = sum(at == fidelity for at, _ in repository.unended(session, row.id))
    lacking = max(0, end - len(values) - pending)
    found = [Proposal(weights, fidelity) for weights in fresh[: min(count, lacking)]]
    return Thought(found, "round" if len(found) < count else None)


def _ended(
    session: Session, row: StudyRow, study: Study, fidelity: str
) -> tuple[FloatArray, FloatArray]:
    """Return mixtures `(n, k)` and objective `(n,)`, lower is better, oldest first."""
    completed = runs.completed(session, row.id, study)
    used = study.objective != 0
    oriented = (completed.values * study.signs)[:, used]
    kept = (completed.fidelity == fidelity) & np.isfinite(oriented).all(axis=1)
    return completed.mixtures[kept], oriented[kept] @ study.objective[used]
