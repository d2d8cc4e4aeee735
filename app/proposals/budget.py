"""What a study may still spend. Checked in the transaction that hands runs out."""

import math
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.db.models import StudyRow
from app.errors import FieldError, pointer
from app.proposals import repository
from app.wire import refuse

_ROUNDING = 1e-9  # ten runs of 0.1 cost 1


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left: runs and cost, each infinite where the study sets no limit.

    A run that failed or was cancelled gives its place back. One that has not ended is counted at
    its fidelity's cost, one that has at the cost it told.
    """

    runs: float
    cost: float

    def affordable(self, cost: float) -> float:
        """Return how many more runs of this cost fit."""
        if cost == 0 or math.isinf(self.cost):
            return self.runs
        return min(self.runs, math.floor(self.cost / cost + _ROUNDING))


def left(session: Session, study: StudyRow) -> Budget:
    """Return what is left of the study's budget; the caller holds the study's lock."""
    limits = study.definition["budget"]
    if limits["max_runs"] is None and limits["max_cost"] is None:
        return Budget(math.inf, math.inf)
    spent = repository.spending(session, study.id)
    runs = sum(count for _, count, _, _ in spent)
    cost = sum(
        told_cost + (count - told) * cost_of(study, fidelity)
        for fidelity, count, told, told_cost in spent
    )
    return Budget(_minus(limits["max_runs"], runs), _minus(limits["max_cost"], cost))


def cost_of(study: StudyRow, fidelity: str) -> float:
    """Return what a run of the fidelity is expected to cost, 0 where only runs are limited.

    Raises:
        InvalidRequestError: cost is limited and the fidelity's is not known.
    """
    found = next(one for one in study.definition["fidelities"] if one["name"] == fidelity)
    if found["cost"] is None and study.definition["budget"]["max_cost"] is not None:
        detail = (
            f"the study limits cost, and the fidelity '{fidelity}' has none; "
            "PATCH the study with the cost of a run"
        )
        refuse([FieldError(pointer=pointer("fidelity"), detail=detail)])
    return float(found["cost"] or 0.0)


def _minus(limit: float | None, spent: float) -> float:
    return math.inf if limit is None else limit - spent
