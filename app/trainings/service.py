"""What the service does with trainings.

Every event is one transaction under the lock of the training's row: its line in the log, the
standing after it, the ledger and the answer are stored together or not at all. Who repeats it
because the answer was lost is given the stored answer.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import StudyRow
from app.db.session import Sessions
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError, pointer
from app.identifiers import new_id
from app.runs.validation import normalise, wrong_mixture
from app.studies import service as studies
from app.trainings import repository, schedules
from app.trainings.announcements import announce
from app.trainings.known_weights import Known, KnownWeights
from app.trainings.repository import Columns, StoredPast
from app.trainings.schedules import FOLLOWING
from app.trainings.schemas import (
    AckCreate,
    AckRead,
    DomainsCreate,
    ObservationCreate,
    OutcomeRead,
    Policy,
    ResumeCreate,
    TrainingCreate,
    TrainingPatch,
    TrainingRead,
    WeightsRead,
)
from app.wire import etag_of, refuse
from mixwright.arrays import FloatArray
from mixwright.reweighting.guards import build_guarded
from mixwright.reweighting.ledger import (
    PROPOSED,
    Approve,
    Entry,
    Event,
    Follow,
    Observe,
    Outcome,
    Remap,
    Resume,
    Rollback,
    Standing,
)
from mixwright.reweighting.rules import ContradictionError, Rules
from mixwright.reweighting.told import RefusedObservationError
from mixwright.reweighting.training import apply, begin, is_repeated

_BEGIN: Final = "begin"
_KINDS: Final[Mapping[type, str]] = {
    Observe: "observe",
    Resume: "resume",
    Rollback: "rollback",
    Approve: "approve",
    Remap: "remap",
    Follow: "follow",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """An observation that was not kept, but counted: this is to be committed."""

    problem: InvalidRequestError


def create(session: Session, principal: Principal, asked: TrainingCreate) -> TrainingRead:
    """Store a new training.

    Raises:
        NotFoundError, ForbiddenError: its study.
        InvalidRequestError: names every wrong field.
        InvalidInputError: an option of the algorithm or the guards.
    """
    if asked.schedule is not None:
        return _create_following(session, principal, asked)
    refuse(schedules.wrong_without(asked))
    study = None if asked.study is None else studies.find(session, principal, asked.study)
    if study is None:
        principal.require_study("")
    domains = _domains(asked, study)
    refuse(_wrong_weights(asked.initial_weights, domains, "initial_weights"))
    study_id = None if study is None else study.id
    weights = _initial_weights(asked, domains, study)
    return _begin(session, principal, asked, study_id, domains, weights)


def _create_following(
    session: Session, principal: Principal, asked: TrainingCreate
) -> TrainingRead:
    """Store a new training whose ledger is that of a schedule."""
    plan = schedules.to_follow(session, principal, asked)
    agreed = asked.model_copy(update={"algorithm": FOLLOWING})
    weights = np.array(list(plan.entries[0][1].values()))
    made = _begin(session, principal, agreed, plan.study_id, plan.domains, weights)
    _change(session, principal, made.id, plan.event)
    return read(session, principal, made.id)


def _begin(
    session: Session,
    principal: Principal,
    asked: TrainingCreate,
    study_id: str | None,
    domains: tuple[str, ...],
    weights: FloatArray,
) -> TrainingRead:
    rules = _rules(asked)
    begun = begin(rules, domains, weights, asked.seed)
    row = repository.add(
        session,
        id=new_id("trn"),
        study_id=study_id,
        **asked.model_dump(exclude={"study", "domains", "initial_weights", "schedule"}),
        created_at=datetime.now(UTC),
    )
    content = asked.model_dump(mode="json")
    repository.store(session, row, Outcome(begun, begun.served), (_BEGIN, content), {})
    return _to_read(repository.get(session, principal, row.id), rules, begun)


def follow(
    session: Session, principal: Principal, training_id: str, asked: TrainingPatch
) -> OutcomeRead:
    """Replace the schedule that a training follows by one that differs in stages to come.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
        InvalidRequestError: it is no schedule of the training's study.
        ConflictError: the training follows none, or a stage that has begun is another one.
    """
    row = repository.get(session, principal, training_id, lock=True)
    past = StoredPast(session, row.id)
    standing = past.standing()
    if standing.schedule is None:
        raise ConflictError("the training does not follow a schedule; register another one")
    begun = len(past.begun(standing.position + row.lead_steps))
    event = schedules.replacement(session, principal, row, standing, begun, asked.schedule)
    return _change(session, principal, training_id, event)


def _domains(asked: TrainingCreate, study: StudyRow | None) -> tuple[str, ...]:
    known = [] if study is None else [one["name"] for one in study.definition["domains"]]
    if asked.domains is None and not known:
        refuse([FieldError(pointer="/domains", detail="name them, or a study that has them")])
    names = known if asked.domains is None else asked.domains
    refuse(
        [
            FieldError(
                pointer=pointer("domains", index), detail=f"'{name}' is not a domain of the study"
            )
            for index, name in enumerate(names)
            if known and name not in known
        ]
    )
    return tuple(names)


def _initial_weights(
    asked: TrainingCreate, domains: tuple[str, ...], study: StudyRow | None
) -> FloatArray:
    if asked.initial_weights is not None:
        return _as_array(asked.initial_weights, domains)
    if study is None:
        return np.full(len(domains), 1.0 / len(domains))
    priors = {one["name"]: one["prior"] for one in study.definition["domains"]}
    given = np.array([priors[name] for name in domains])
    if not given.sum():
        detail = "the prior of these domains is 0; say what to begin with"
        refuse([FieldError(pointer="/initial_weights", detail=detail)])
    return np.asarray(given / given.sum())


def _wrong_weights(
    weights: dict[str, float] | None, domains: tuple[str, ...], *where: str | int
) -> list[FieldError]:
    return [] if weights is None else list(wrong_mixture(weights, domains, "training", *where))


def _as_array(weights: dict[str, float], domains: tuple[str, ...]) -> FloatArray:
    return np.array(list(normalise(weights, domains)[0].values()))


def _rules(agreed: Columns | TrainingCreate) -> Rules:
    """Return what was agreed when the training was registered."""
    algorithm = agreed.algorithm
    assert algorithm is not None  # noqa: S101  - refused
    reweighter, guards = build_guarded(algorithm, agreed.options)
    needs_approval = agreed.policy == Policy.APPROVE
    return Rules(reweighter, guards, agreed.lead_steps, needs_approval, algorithm)


def read(session: Session, principal: Principal, training_id: str) -> TrainingRead:
    """Return a training.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
    """
    row = repository.get(session, principal, training_id)
    standing = StoredPast(session, row.id).standing()
    return _to_read(row, _rules(row).at(standing), standing)


def weights(
    sessions: Sessions, principal: Principal, training_id: str, known: KnownWeights
) -> WeightsRead:
    """Return the weights in force, without a transaction, and note them in `known`.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
    """
    question = known.question()
    row = repository.glance(sessions, principal, training_id)
    found = repository.weights(row)
    tag = etag_of(found.model_dump_json().encode())
    known.remember(training_id, Known(row.version, tag, row.study_id), question)
    return found


def observe(
    session: Session, principal: Principal, training_id: str, asked: ObservationCreate
) -> OutcomeRead | Refused:
    """Take in what a trainer tells.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
        ConflictError: something else was told of this step.
    """
    row = repository.get(session, principal, training_id, lock=True)
    past = StoredPast(session, row.id)
    dumped = asked.model_dump(mode="python")
    event = Observe({name: value for name, value in dumped.items() if value is not None})
    try:
        if is_repeated(past, event):
            known = past.observation(asked.step)
            assert known is not None  # noqa: S101  - it was repeated
            return OutcomeRead(**known.answer)
        return _happen(session, row, event, event.told)
    except ContradictionError as error:
        raise ConflictError(str(error), [FieldError(pointer="/step", detail=str(error))]) from None
    except RefusedObservationError as error:
        repository.refuse_one(session, row.id)
        wrong = [FieldError(pointer=pointer(*path), detail=why) for path, why in error.wrong]
        return Refused(InvalidRequestError(f"the observation is refused: {error}", wrong))


def resume(
    session: Session, principal: Principal, training_id: str, asked: ResumeCreate
) -> OutcomeRead:
    """Go back to where a training stood at a step.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
        InvalidInputError: there is no such version.
        ConflictError: it is void, a proposal, or of other domains.
    """
    return _change(session, principal, training_id, Resume(asked.step, asked.version))


def roll_back(
    session: Session, principal: Principal, training_id: str, version: int
) -> OutcomeRead:
    """Publish the weights of an old version once more; raises as `resume` does."""
    return _change(session, principal, training_id, Rollback(version))


def approve(session: Session, principal: Principal, training_id: str, version: int) -> OutcomeRead:
    """Serve a proposal; raises as `resume` does, and NotFoundError where there is no version."""
    row = repository.get(session, principal, training_id, lock=True)
    if StoredPast(session, row.id).entry(version) is None:
        raise NotFoundError("version", str(version))
    return _change(session, principal, training_id, Approve(version))


def change_domains(
    session: Session, principal: Principal, training_id: str, asked: DomainsCreate
) -> OutcomeRead:
    """Go on with other domains; raises as `resume` does."""
    domains = tuple(asked.domains)
    refuse(_wrong_weights(asked.weights, domains, "weights"))
    given = None if asked.weights is None else normalise(asked.weights, domains)[0]
    options = None
    if asked.options is not None:
        row = repository.get(session, principal, training_id, lock=True)
        before = StoredPast(session, row.id).standing().options
        options = {**(row.options if before is None else before), **asked.options}
    return _change(session, principal, training_id, Remap(domains, asked.origin, given, options))


def _change(session: Session, principal: Principal, training_id: str, event: Event) -> OutcomeRead:
    """Apply an event that a person or a resuming trainer asks for, once."""
    row = repository.get(session, principal, training_id, lock=True)
    content = json.loads(json.dumps(asdict(event)))
    if content.get("options", ...) is None:
        del content["options"]  # nothing was said of them
    last = StoredPast(session, row.id).last()
    if (last.kind, last.content) == (_KINDS[type(event)], content):
        return OutcomeRead(**last.answer)  # the answer was lost
    try:
        return _happen(session, row, event, content)
    except ContradictionError as error:
        raise ConflictError(str(error)) from None


def _happen(
    session: Session, row: Columns, event: Event, content: Mapping[str, Any]
) -> OutcomeRead:
    """Apply an event and store all that comes of it."""
    past, rules = StoredPast(session, row.id), _rules(row)
    outcome = apply(rules, past.standing(), event, past)
    answer = _to_answer(rules.at(outcome.standing), outcome)
    happened = (_KINDS[type(event)], dict(content))
    repository.store(session, row, outcome, happened, answer.model_dump(mode="json"))
    if answer.version != row.version:
        announce(session, row.id, answer.version)
    return answer


def _to_answer(rules: Rules, outcome: Outcome) -> OutcomeRead:
    newest = outcome.standing.newest
    whole = OutcomeRead(
        **_to_weights(outcome.standing.served).model_dump(),
        applied=outcome.applied,
        reason=outcome.reason,
        proposal=_to_weights(newest) if newest.fate == PROPOSED else None,
        plan=dict(rules.reweighter.plan(outcome.standing.state)),
        diagnostics=dict(outcome.diagnostics),
        warnings=_warnings(rules, outcome.standing),
    )
    return OutcomeRead.model_validate_json(whole.model_dump_json())  # as it will be read again


def _to_weights(entry: Entry) -> WeightsRead:
    return WeightsRead(
        version=entry.version, effective_step=entry.effective_step, weights=entry.named()
    )


def _warnings(rules: Rules, standing: Standing) -> list[str]:
    alarm = rules.guards.alarm(standing.newest.weights, standing.domains)
    return [] if alarm is None else [alarm]


def _to_read(row: Columns, rules: Rules, standing: Standing) -> TrainingRead:
    return TrainingRead(
        **repository.weights(row).model_dump(),
        id=row.id,
        name=row.name,
        study_id=row.study_id,
        domains=row.domains,
        algorithm=row.algorithm,
        schedule=standing.schedule,
        options=dict(row.options if standing.options is None else standing.options),
        lead_steps=row.lead_steps,
        policy=Policy(row.policy),
        seed=row.seed,
        requires=asdict(rules.reweighter.requires),
        plan=dict(rules.reweighter.plan(standing.state)),
        position=standing.position,
        refused=row.refused,
        warnings=_warnings(rules, standing),
        created_at=row.created_at,
    )


def acknowledge(
    session: Session, principal: Principal, training_id: str, asked: AckCreate
) -> AckRead:
    """Note from which step on a version was really used.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
        InvalidRequestError: there is no such version, or it was never served.
    """
    row = repository.get(session, principal, training_id, lock=True)
    entry = StoredPast(session, row.id).entry(asked.version)
    if entry is None or entry.fate == PROPOSED:
        detail = f"there is no published version {asked.version}"
        refuse([FieldError(pointer="/version", detail=detail)])
    repository.acknowledge(session, row.id, asked.version, asked.applied_step)
    return AckRead(version=asked.version, applied_step=asked.applied_step)
