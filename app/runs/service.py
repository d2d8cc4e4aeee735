"""What the service does with runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import StudyRow
from app.errors import ConflictError, FieldError, pointer
from app.runs import repository
from app.runs.repository import StoredRun
from app.runs.schemas import BatchRead, Origin, PointsCreate, RunCreate, RunRead, RunState
from app.runs.validation import RunRules, content_digest, normalise
from app.studies import service as studies
from app.studies.spaces import Points
from app.wire import refuse
from mixwright.study import CompletedRuns, Study


def record(
    session: Session, principal: Principal, study: str, run: RunCreate
) -> tuple[StoredRun, bool]:
    """Store a run; return it, and whether it is new.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError: names every wrong field.
        ConflictError: its `external_id` is stored with other content.
    """
    row = studies.find(session, principal, study)
    rules = RunRules(row.definition)
    refuse(list(rules.wrong_fields(run)))
    values = _values(row, rules, run)
    if repository.insert_new(session, [values]):
        repository.add_to_count(session, row.id, 1)
        return values, True
    assert run.external_id is not None  # noqa: S101  - only a natural key can have conflicted
    stored = repository.by_external_id(session, row.id, [run.external_id])[run.external_id]
    refuse_other_content([(values, stored)])
    return stored, False


def record_batch(
    session: Session, principal: Principal, study: str, runs: Sequence[RunCreate]
) -> BatchRead:
    """Store all of `runs` or none.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError: names every wrong field of every row by its pointer.
        ConflictError: external ids that are stored, or come twice, with other content.
    """
    row = studies.find(session, principal, study)
    rules = RunRules(row.definition)
    refuse([error for i, run in enumerate(runs) for error in rules.wrong_fields(run, "runs", i)])
    values = [_values(row, rules, run) for run in runs]
    stored = repository.insert_new(session, _first_of_each(values))
    others = [item["external_id"] for item in values if item["id"] not in stored]
    known = repository.by_external_id(session, row.id, others)
    pairs = [(item, known.get(item["external_id"], item)) for item in values]
    refuse_other_content(pairs)
    repository.add_to_count(session, row.id, len(stored))
    return BatchRead(
        ids=[kept["id"] for _, kept in pairs],
        created=len(stored),
        already_stored=len(values) - len(stored),
    )


def _first_of_each(values: Sequence[StoredRun]) -> list[StoredRun]:
    seen: dict[str, StoredRun] = {}
    for item in values:
        seen.setdefault(item["external_id"] or item["id"], item)
    return list(seen.values())


def refuse_other_content(pairs: Sequence[tuple[StoredRun, StoredRun]]) -> None:
    """Raise if a run differs from what is stored under its `external_id`.

    Raises:
        ConflictError: names every such run by its pointer.
    """
    errors = [
        FieldError(
            pointer=pointer("runs", index, "external_id") if len(pairs) > 1 else "/external_id",
            detail=f"'{sent['external_id']}' is stored with other content as {kept['id']}",
        )
        for index, (sent, kept) in enumerate(pairs)
        if sent["content_sha256"] != kept["content_sha256"]
    ]
    if errors:
        raise ConflictError(
            f"{errors[0].detail}; use another external_id, or retract the stored run", errors
        )


def _values(study: StudyRow, rules: RunRules, run: RunCreate) -> StoredRun:
    weights, raw = rules.point_of(run.weights, run.parameters)
    values = repository.new_row(study.id, run.fidelity, weights)
    return {
        **values,
        "external_id": run.external_id,
        "state": RunState.SUCCEEDED,
        "raw_weights": raw,
        "metrics": run.metrics,
        "cost": run.cost,
        "run_metadata": run.metadata,
        "content_sha256": content_digest(run),
        "ended_at": values["created_at"],
        "origin": Origin.REPORTED,
    }


def retract(session: Session, principal: Principal, run_id: str, reason: str) -> StoredRun:
    """Take a run out of all later fits; doing so again changes nothing.

    Raises:
        NotFoundError: no such run.
        ConflictError: it has no result that could be taken out.
    """
    run = repository.get(session, principal, run_id, lock=True)
    if run["state"] not in (RunState.SUCCEEDED, RunState.RETRACTED):
        raise ConflictError(f"the run is {run['state']}; only one that succeeded can be retracted")
    if run["state"] != RunState.RETRACTED:
        retraction = {"reason": reason, "at": datetime.now(UTC).isoformat()}
        repository.change(session, run_id, state=RunState.RETRACTED, retraction=retraction)
        repository.add_to_count(session, run["study_id"], -_counted(run))
    return repository.get(session, principal, run_id)


def add_points(
    session: Session, principal: Principal, run_id: str, asked: PointsCreate
) -> dict[float, dict[str, float]]:
    """Add points to a run's loss curve; return the whole curve. The same point again is harmless.

    Raises:
        NotFoundError: no such run.
        InvalidRequestError: a metric that the study does not know.
        ConflictError: a point that is stored with other metrics.
    """
    run = repository.get(session, principal, run_id, lock=True)
    rules = RunRules(studies.find(session, principal, run["study_id"]).definition)
    refuse(
        [
            error
            for index, point in enumerate(asked.points)
            for error in rules.wrong_metrics(point.metrics, "points", index, "metrics")
        ]
    )
    curve = repository.points(session, run_id)
    new: dict[float, dict[str, float]] = {}
    for index, point in enumerate(asked.points):
        if {**curve, **new}.get(point.tokens, point.metrics) != point.metrics:
            detail = f"the point at {point.tokens:g} tokens is stored with other metrics"
            raise ConflictError(
                detail, [FieldError(pointer=pointer("points", index, "tokens"), detail=detail)]
            )
        if point.tokens not in curve:
            new[point.tokens] = point.metrics
    repository.insert_points(
        session, [{"run_id": run_id, "tokens": t, "metrics": m} for t, m in new.items()]
    )
    return dict(sorted({**curve, **new}.items()))


def completed(session: Session, study_id: str, study: Study) -> CompletedRuns:
    """Return the runs that count, for other features."""
    return repository.completed(session, study_id, study)


def asked_for(session: Session, study_id: str) -> list[tuple[str, dict[str, float]]]:
    """Return fidelity and weights of every run that has not failed, for other features."""
    return repository.asked_for(session, study_id)


def count_completed(session: Session, study_id: str) -> int:
    """Return how many runs count, for other features."""
    return repository.count_completed(session, study_id)


def revision(session: Session, study_id: str) -> int:
    """Return a number that rises with every result and every retraction, for other features."""
    return repository.revision(session, study_id)


def watch(session: Session, study_id: str, until: datetime) -> None:
    """Have suggestions computed anew with every result until then, for other features."""
    repository.watch(session, study_id, until)


def curves(session: Session, study_id: str) -> list[tuple[str, float, dict[str, float]]]:
    """Return run, tokens and metrics of every point of the runs that count."""
    return repository.curves(session, study_id)


def costs(session: Session, study_id: str) -> list[tuple[str, int, int, float]]:
    """Return per fidelity: runs that count, those that told a cost, and its sum."""
    return repository.costs(session, study_id)


def everything(session: Session, study_id: str) -> list[StoredRun]:
    """Return all runs as they are answered, oldest first, for other features."""
    points = Points(studies.load(session, study_id).definition)
    return [repository.to_read(row, points) for row in repository.stream(session, study_id)]


def find(session: Session, principal: Principal, run_id: str, *, lock: bool = False) -> StoredRun:
    """Return the run, for other features.

    Raises:
        NotFoundError, ForbiddenError: see `app.runs.repository.get`.
    """
    return repository.get(session, principal, run_id, lock=lock)


def to_read(study: StudyRow, run: StoredRun) -> dict[str, Any]:
    """Return the run of a study as it is answered, for other features."""
    return repository.to_read(run, Points(study.definition))


def read(session: Session, run: StoredRun) -> RunRead:
    """Return the run as it is answered."""
    return RunRead(**to_read(studies.load(session, run["study_id"]), run))


def new_row(study_id: str, fidelity: str, weights: dict[str, float]) -> StoredRun:
    """Return a run that was asked for, for other features to fill in and store."""
    return repository.new_row(study_id, fidelity, weights)


def end(session: Session, run: StoredRun, **values: Any) -> None:  # noqa: ANN401  - columns
    """Give a locked run its result; it counts from now on, unless it is of a schedule."""
    repository.change(session, run["id"], state=RunState.SUCCEEDED, **values)
    repository.add_to_count(session, run["study_id"], _counted(run))


def _counted(run: StoredRun) -> int:
    return 0 if run["origin"] == Origin.SCHEDULE else 1


def change(session: Session, run_id: str, **values: Any) -> None:  # noqa: ANN401  - columns
    """Set columns of a locked run, for other features."""
    repository.change(session, run_id, **values)


def add_point(session: Session, run_id: str, tokens: float, metrics: dict[str, float]) -> None:
    """Add a checked point to a run's loss curve, unless there is one at these tokens."""
    repository.insert_point_if_new(session, run_id, tokens, metrics)


def wrong_metrics(
    session: Session, study_id: str, metrics: dict[str, float], *where: str | int
) -> list[FieldError]:
    """Return the metrics that the study does not know."""
    rules = RunRules(studies.load(session, study_id).definition)
    return list(rules.wrong_metrics(metrics, *where))


def wrong_result(
    session: Session, run: StoredRun, metrics: dict[str, float], realised: dict[str, float] | None
) -> list[FieldError]:
    """Return what keeps this from being a result of the run."""
    errors = wrong_metrics(session, run["study_id"], metrics, "metrics")
    if realised is None:
        return errors
    rules = RunRules(studies.load(session, run["study_id"]).definition)
    errors += rules.wrong_names(realised, "realised_tokens")
    if not sum(realised.values()):
        detail = "no tokens were drawn from any domain; leave realised_tokens out if unknown"
        errors.append(FieldError(pointer="/realised_tokens", detail=detail))
    return errors


def wrong_fidelity(study: StudyRow, fidelity: str | None, *where: str | int) -> list[FieldError]:
    """Return what is wrong with a fidelity that may be left out."""
    rules = RunRules(study.definition)
    return [] if fidelity is None else list(rules.wrong_fidelity(fidelity, *where))


class Sent(Protocol):
    """A point as it is sent, with the fidelity to run it at."""

    fidelity: str
    weights: dict[str, float] | None
    parameters: dict[str, Any] | None


def wrong_points(study: StudyRow, sent: Sequence[Sent], *where: str | int) -> list[FieldError]:
    """Return what keeps points with fidelities from being runs of the study."""
    rules = RunRules(study.definition)
    return [
        error
        for index, one in enumerate(sent)
        for error in (
            *rules.wrong_fidelity(one.fidelity, *where, index, "fidelity"),
            *rules.wrong_point(one.weights, one.parameters, *where, index),
        )
    ]


def points_of(study: StudyRow, sent: Sequence[Sent]) -> list[dict[str, float]]:
    """Return checked points as they are stored."""
    rules = RunRules(study.definition)
    return [rules.point_of(one.weights, one.parameters)[0] for one in sent]


def wrong_documents(
    definition: Mapping[str, Any], sent: Sequence[dict[str, Any]], *where: str | int
) -> list[FieldError]:
    """Return what keeps bare weights, or bare parameters, from being points of the study."""
    rules = RunRules(definition)
    check = rules.wrong_weights if rules.points.is_mixture else rules.points.wrong_parameters
    return [error for index, one in enumerate(sent) for error in check(one, *where, index)]


def points_from(
    definition: Mapping[str, Any], sent: Sequence[dict[str, Any]]
) -> list[dict[str, float]]:
    """Return checked bare weights, or bare parameters, as points as they are stored."""
    rules = RunRules(definition)
    if rules.points.is_mixture:
        return [normalise(one, rules.domains)[0] for one in sent]
    return [rules.points.read(one) for one in sent]
