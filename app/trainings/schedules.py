"""Trainings that follow a schedule: from its stages to the ledger's entries."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.errors import ConflictError, FieldError, NotFoundError, pointer
from app.exports.schedules import shares_of
from app.schedules import service as schedules
from app.schedules.schemas import ScheduleRead
from app.studies import service as studies
from app.trainings.repository import Columns
from app.trainings.schemas import Policy, TrainingCreate
from app.wire import refuse
from mixwright.reweighting.ledger import Follow, Standing
from mixwright.schedules import Schedule, Stage
from mixwright.schedules.steps import spans_of, stage_steps

FOLLOWING: Final = "static"
"""The algorithm of a training that follows a schedule: it keeps what is observed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training is to follow.

    Attributes:
        study_id: of the schedule.
        domains: of the study, in order.
        event: the schedule's stages as entries of a ledger.
    """

    study_id: str
    domains: tuple[str, ...]
    event: Follow

    @property
    def entries(self) -> list[tuple[int, dict[str, float]]]:
        """First step and weights of each stage."""
        return [(step, dict(weights)) for step, weights in self.event.entries]


def wrong_without(asked: TrainingCreate) -> list[FieldError]:
    """Return what is wrong with a training that does not follow a schedule."""
    if asked.algorithm is not None:
        return []
    return [FieldError(pointer="/algorithm", detail="name one, or a schedule to follow")]


def to_follow(session: Session, principal: Principal, asked: TrainingCreate) -> Plan:
    """Return what a new training is to follow.

    Raises:
        NotFoundError: its study.
        InvalidRequestError: no such schedule, one of another study, or what goes with none.
        ConflictError: the schedule is not planned.
    """
    assert asked.schedule is not None  # noqa: S101  - the caller looked
    refuse(_wrong_beside(asked))
    study_id = None
    if asked.study is not None:
        study_id = studies.find(session, principal, asked.study).id
    found, schedule = _load(session, principal, asked.schedule, study_id)
    domains = tuple(found.effective_weights or ())
    return Plan(found.study_id, domains, _event(found.id, schedule, domains))


def replacement(
    session: Session,
    principal: Principal,
    row: Columns,
    standing: Standing,
    begun: int,
    identity: str,
) -> Follow:
    """Return the event that puts another schedule in place of the one that is followed.

    Args:
        session: of the database.
        principal: who asks.
        row: of the training.
        standing: where it stands.
        begun: number of its stages that have begun.
        identity: of the new schedule.

    Raises:
        InvalidRequestError: no such schedule, or one of another study or other domains.
        ConflictError: it is not planned, or a stage that has begun is another one in it.
    """
    found, schedule = _load(session, principal, identity, row.study_id)
    if set(found.effective_weights or ()) != set(standing.domains):
        detail = "it has other domains than the training"
        refuse([FieldError(pointer="/schedule", detail=detail)])
    _, before = schedules.load(session, principal, standing.schedule or "")
    _require_same(before, schedule, begun)
    return _event(found.id, schedule, standing.domains)


def _wrong_beside(asked: TrainingCreate) -> list[FieldError]:
    """Return what contradicts that the weights follow a schedule."""
    wrong = {
        "algorithm": asked.algorithm not in (None, FOLLOWING),
        "options": bool(asked.options),
        "initial_weights": asked.initial_weights is not None,
        "domains": asked.domains is not None,
        "policy": asked.policy != Policy.AUTO,
    }
    detail = "the weights follow the schedule; leave it out"
    return [
        FieldError(pointer=pointer(name), detail=detail) for name, is_so in wrong.items() if is_so
    ]


def _load(
    session: Session, principal: Principal, identity: str, study_id: str | None
) -> tuple[ScheduleRead, Schedule]:
    try:
        found, schedule = schedules.load(session, principal, identity)
    except NotFoundError as error:
        refuse([FieldError(pointer="/schedule", detail=str(error))])
        raise
    if study_id is not None and found.study_id != study_id:
        detail = f"'{identity}' is not a schedule of this study"
        refuse([FieldError(pointer="/schedule", detail=detail)])
    return found, schedule


def _event(identity: str, schedule: Schedule, domains: tuple[str, ...]) -> Follow:
    return Follow(
        identity, [(step, _weights(stage, domains)) for step, stage in _with_steps(schedule)]
    )


def _weights(stage: Stage, domains: tuple[str, ...]) -> dict[str, float]:
    shares = np.array(list(shares_of(stage, domains).values()))
    return dict(zip(domains, (shares / shares.sum()).tolist(), strict=True))


def _with_steps(schedule: Schedule) -> list[tuple[int, Stage]]:
    """Return first step and stage, of stages with a step."""
    steps = stage_steps(schedule, spans_of(schedule))
    return [
        (one.first_step, stage)
        for one, stage in zip(steps, schedule.stages, strict=True)
        if one.steps
    ]


def _require_same(before: Schedule, after: Schedule, begun: int) -> None:
    old, new = _with_steps(before)[:begun], _with_steps(after)
    for place, (step, stage) in enumerate(old):
        if place >= len(new) or new[place][0] != step or not stage.agrees(new[place][1]):
            raise ConflictError(
                f"stage '{stage.name}', which began at step {step}, is another one in the new "
                "schedule; only stages to come may change",
                [FieldError(pointer="/schedule", detail=f"stage '{stage.name}' has begun")],
            )
