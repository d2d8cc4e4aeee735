"""What an optimiser looks at: a study, what has ended, what is under way, and what is left."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from app.db.models import StudyRow
from app.proposals import budget
from app.proposals.budget import Budget
from app.proposals.repository import unended
from app.runs import service as runs
from app.studies.definition import to_core
from mixwright.arrays import BoolArray, FloatArray
from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.observing import History, Point
from mixwright.study import Study


@dataclass(frozen=True, slots=True)
class Situation:
    """All that suggestions depend on, besides what was asked.

    Attributes:
        study: the problem.
        history: what has ended.
        pending: what is under way.
        asked_for: what is under way and what has ended, with the weights that were asked for.
        costs: of a run at each fidelity, shape `(F,)`, in the study's unit; 0 where cost is not
            limited and not known.
        left: what may still be spent.
        spent: by what has ended, shape `(F,)`, in the study's unit.
        revision: of the study's runs.
        version: of the study.
    """

    study: Study
    history: History
    pending: Cells
    asked_for: Cells
    costs: FloatArray
    left: Budget
    spent: FloatArray
    revision: int
    version: int

    def affordable(self, planned: Sequence[int]) -> BoolArray:
        """Return which fidelities `(F,)` can be paid for after runs at those `planned`."""
        cost = self.left.cost - float(self.costs[list(planned)].sum())
        left = Budget(self.left.runs - len(planned), cost)
        return np.array([left.affordable(one) >= 1 for one in self.costs])


def look(session: Session, row: StudyRow, *, with_curves: bool) -> Situation:
    """Return the situation of a study.

    Raises:
        InvalidRequestError: cost is limited and a fidelity's is not known.
    """
    study = to_core(row.definition)
    completed = runs.completed(session, row.id, study)
    costs = np.array([budget.cost_of(row, one.name) for one in study.fidelities])
    return Situation(
        study=study,
        history=History(completed, _curves(session, row, study) if with_curves else {}),
        pending=cells_of(study, unended(session, row.id)),
        asked_for=cells_of(study, runs.asked_for(session, row.id)),
        costs=costs,
        left=budget.left(session, row),
        spent=_spent(session, row, study, costs),
        revision=runs.revision(session, row.id),
        version=row.version,
    )


def cells_of(study: Study, named: Sequence[tuple[str, dict[str, float]]]) -> Cells:
    """Return fidelities and weights by name as cells."""
    names = [fidelity.name for fidelity in study.fidelities]
    mixtures = [[weights[name] for name in study.domain_names] for _, weights in named]
    return Cells(
        np.array(mixtures, dtype=float).reshape(len(named), len(study.domains)),
        np.array([names.index(fidelity) for fidelity, _ in named], dtype=np.int64),
    )


def _curves(session: Session, row: StudyRow, study: Study) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {}
    for run, tokens, metrics in runs.curves(session, row.id):
        values = np.array([metrics.get(name, np.nan) for name in study.metric_names])
        curves.setdefault(run, []).append(Point(tokens, values))
    return curves


def _spent(session: Session, row: StudyRow, study: Study, costs: FloatArray) -> FloatArray:
    """Return what ended runs cost: what they told, or what is expected of their fidelity."""
    spent = np.zeros(len(costs))
    names = [fidelity.name for fidelity in study.fidelities]
    for fidelity, count, told, cost in runs.costs(session, row.id):
        index = names.index(fidelity)
        spent[index] = cost + (count - told) * costs[index]
    return spent
