"""Reads and writes runs and the points of their loss curves.

Runs are the hot path, so they are read and written as plain rows, without the identity map.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
from sqlalchemy import Select, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import PointRow, RunCountRow, RunRow
from app.errors import NotFoundError
from app.identifiers import new_id
from app.jobs import service as jobs
from app.runs.schemas import Origin, RunState
from app.studies.spaces import Points
from mixwright.study import CompletedRuns, Study

StoredRun: TypeAlias = dict[str, Any]
"""A run as the columns of its row."""

_COLUMNS = RunRow.__table__.c
_NOT_SHOWN = {"run_metadata", "content_sha256", "lease_token", "lease_seconds", "lease_until"}
_ROWS_PER_INSERT = 500
_INSERT_NEW = {
    dialect: build(RunRow)
    .on_conflict_do_nothing(index_elements=["study_id", "external_id"])
    .returning(RunRow.id)
    for dialect, build in (("postgresql", postgresql_insert), ("sqlite", sqlite_insert))
}
_INSERT_NEW_POINT = {
    dialect: build(PointRow).on_conflict_do_nothing()
    for dialect, build in (("postgresql", postgresql_insert), ("sqlite", sqlite_insert))
}
_ADD_TO_COUNT = (
    update(RunCountRow)
    .where(RunCountRow.study_id == bindparam("study"))
    .values(
        succeeded=RunCountRow.succeeded + bindparam("change"), revision=RunCountRow.revision + 1
    )
    .returning(RunCountRow.watched_until)
)


def new_row(study_id: str, fidelity: str, weights: dict[str, float]) -> StoredRun:
    """Return a run that was asked for and not begun, as the columns of its row."""
    return {
        "id": new_id("run"),
        "study_id": study_id,
        "external_id": None,
        "state": RunState.QUEUED,
        "fidelity": fidelity,
        "weights": weights,
        "raw_weights": None,
        "metrics": {},
        "cost": None,
        "run_metadata": {},
        "content_sha256": "",
        "created_at": datetime.now(UTC),
        "ended_at": None,
        "retraction": None,
        "origin": Origin.PROPOSAL,
        "group_id": None,
        "lease_token": 0,
        "lease_seconds": None,
        "lease_until": None,
        "started_at": None,
        "late": False,
        "failure": None,
        "realised_tokens": None,
    }


def insert_new(session: Session, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Store the rows whose `(study_id, external_id)` is new; return the ids of those stored."""
    connection = session.connection()
    statement = _INSERT_NEW[connection.dialect.name]
    stored: set[str] = set()
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        some = rows[start : start + _ROWS_PER_INSERT]
        stored.update(connection.execute(statement, some if len(some) > 1 else some[0]).scalars())
    return stored


def by_external_id(
    session: Session, study_id: str, external_ids: Sequence[str]
) -> dict[str, StoredRun]:
    """Return the study's runs with these external ids."""
    found: dict[str, StoredRun] = {}
    for start in range(0, len(external_ids), _ROWS_PER_INSERT):
        some = external_ids[start : start + _ROWS_PER_INSERT]
        query = select(*_COLUMNS).where(RunRow.study_id == study_id, RunRow.external_id.in_(some))
        found.update({row["external_id"]: row for row in _rows(session, query)})
    return found


def get(session: Session, principal: Principal, run_id: str, *, lock: bool = False) -> StoredRun:
    """Return the run.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    query = select(*_COLUMNS).where(RunRow.id == run_id)
    rows = _rows(session, query.with_for_update() if lock else query)
    if not rows:
        raise NotFoundError("run", run_id)
    row = rows[0]
    principal.require_study(row["study_id"])
    return row


def page(
    session: Session,
    study_id: str,
    limit: int,
    cursor: str | None = None,
    state: RunState | None = None,
    fidelity: str | None = None,
) -> list[StoredRun]:
    """Return up to `limit + 1` runs after `cursor`, oldest first."""
    query = select(*_COLUMNS).where(RunRow.study_id == study_id)
    if cursor is not None:
        query = query.where(RunRow.id > cursor)
    if state is not None:
        query = query.where(RunRow.state == state)
    if fidelity is not None:
        query = query.where(RunRow.fidelity == fidelity)
    return _rows(session, query.order_by(RunRow.id).limit(limit + 1))


def _rows(session: Session, query: Select[Any]) -> list[StoredRun]:
    return [dict(row) for row in session.execute(query).mappings()]


def change(session: Session, run_id: str, **values: object) -> None:
    """Set columns of a run that the caller has locked."""
    session.execute(update(RunRow).where(RunRow.id == run_id).values(**values))


def points(session: Session, run_id: str) -> dict[float, dict[str, float]]:
    """Return the run's loss curve: tokens to metrics, ascending."""
    query = select(PointRow.tokens, PointRow.metrics).where(PointRow.run_id == run_id)
    rows = session.execute(query.order_by(PointRow.tokens))
    return {row.tokens: row.metrics for row in rows}


def insert_points(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store points of loss curves."""
    if rows:
        session.execute(insert(PointRow), list(rows))


def insert_point_if_new(
    session: Session, run_id: str, tokens: float, metrics: dict[str, float]
) -> None:
    """Store a point of a loss curve unless there is one at these tokens."""
    statement = _INSERT_NEW_POINT[session.get_bind().dialect.name]
    session.execute(statement, {"run_id": run_id, "tokens": tokens, "metrics": metrics})


def to_read(row: StoredRun, points: Points) -> dict[str, Any]:
    """Return the run as it is answered in a study of these points."""
    answer = {name: value for name, value in row.items() if name not in _NOT_SHOWN}
    is_leased = row["state"] == RunState.LEASED
    lease = {"token": row["lease_token"], "expires_at": row["lease_until"]} if is_leased else None
    shown = points.shown(row["weights"])
    more = {"metadata": row["run_metadata"], "lease": lease}
    return {**answer, **shown, **more, "selects": points.selects(row["weights"])}


def asked_for(session: Session, study_id: str) -> list[tuple[str, dict[str, float]]]:
    """Return fidelity and weights, as they were asked for, of every run that has not failed."""
    states = (RunState.QUEUED, RunState.LEASED, RunState.SUCCEEDED)
    query = select(RunRow.fidelity, RunRow.weights).where(
        RunRow.study_id == study_id, RunRow.state.in_(states), RunRow.origin != Origin.SCHEDULE
    )
    return [(row.fidelity, row.weights) for row in session.execute(query)]


def completed(session: Session, study_id: str, study: Study) -> CompletedRuns:
    """Return the runs that count, as arrays in the study's order of domains and metrics.

    Where a trainer told how many tokens it drew of each domain, their shares are the mixture;
    points of other spaces stay what they are.
    """
    query = (
        select(RunRow.id, RunRow.fidelity, RunRow.weights, RunRow.metrics, RunRow.realised_tokens)
        .where(
            RunRow.study_id == study_id,
            RunRow.state == RunState.SUCCEEDED,
            RunRow.origin != Origin.SCHEDULE,
        )
        .order_by(RunRow.id)
    )
    rows = session.execute(query).all()
    domains, metrics = study.domain_names, study.metric_names
    is_mixture = study.space.field == "weights"
    shares = [(is_mixture and row.realised_tokens) or row.weights for row in rows]
    mixtures = np.array([[share[name] for name in domains] for share in shares], dtype=float)
    mixtures = mixtures.reshape(len(rows), len(domains))
    is_realised = [is_mixture and row.realised_tokens is not None for row in rows]
    mixtures[is_realised] /= mixtures[is_realised].sum(axis=1, keepdims=True)
    return CompletedRuns(
        mixtures=mixtures,
        values=np.array(
            [[row.metrics.get(name, np.nan) for name in metrics] for row in rows]
        ).reshape(len(rows), len(metrics)),
        fidelity=np.array([row.fidelity for row in rows], dtype=np.str_),
        ids=tuple(row.id for row in rows),
    )


def count_completed(session: Session, study_id: str) -> int:
    """Return how many runs count."""
    query = select(RunCountRow.succeeded).where(RunCountRow.study_id == study_id)
    return session.scalars(query).one()


def revision(session: Session, study_id: str) -> int:
    """Return a number that rises with every result and every retraction."""
    query = select(RunCountRow.revision).where(RunCountRow.study_id == study_id)
    return session.scalars(query).one()


def watch(session: Session, study_id: str, until: datetime) -> None:
    """Have suggestions computed anew with every result until then."""
    query = update(RunCountRow).where(RunCountRow.study_id == study_id)
    session.execute(query.values(watched_until=until))


def curves(session: Session, study_id: str) -> list[tuple[str, float, dict[str, float]]]:
    """Return run, tokens and metrics of every point of the runs that count."""
    query = (
        select(PointRow.run_id, PointRow.tokens, PointRow.metrics)
        .join(RunRow, RunRow.id == PointRow.run_id)
        .where(
            RunRow.study_id == study_id,
            RunRow.state == RunState.SUCCEEDED,
            RunRow.origin != Origin.SCHEDULE,
        )
        .order_by(PointRow.run_id, PointRow.tokens)
    )
    return [(row.run_id, row.tokens, row.metrics) for row in session.execute(query)]


def costs(session: Session, study_id: str) -> list[tuple[str, int, int, float]]:
    """Return per fidelity: runs that count, those that told a cost, and its sum."""
    query = (
        select(RunRow.fidelity, func.count(), func.count(RunRow.cost), func.sum(RunRow.cost))
        .where(RunRow.study_id == study_id, RunRow.state == RunState.SUCCEEDED)
        .group_by(RunRow.fidelity)
    )
    rows = session.execute(query)
    return [(name, count, told, float(cost or 0.0)) for name, count, told, cost in rows]


def add_to_count(session: Session, study_id: str, change: int) -> None:
    """Note that `change` more runs count; has to be the transaction's last write but for jobs.

    Where suggestions are waited for, they are computed anew.
    """
    found = session.connection().execute(_ADD_TO_COUNT, {"study": study_id, "change": change})
    watched_until = found.scalar_one()
    if watched_until is not None and watched_until > datetime.now(UTC):
        jobs.do_again(session, study_id, "suggestions")


def stream(session: Session, study_id: str, size: int = 1000) -> Iterator[StoredRun]:
    """Yield all runs of the study, oldest first, a page at a time."""
    cursor: str | None = None
    while rows := page(session, study_id, size, cursor):
        yield from rows[:size]
        if len(rows) <= size:
            return
        cursor = rows[size - 1]["id"]
