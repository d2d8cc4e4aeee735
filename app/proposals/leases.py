"""What the holder of a run says: still at it, done, or failed.

No answer is thrown away. The first result becomes the run's, even when its lease had lapsed or
was another holder's by then (it is marked late); every later one is kept as an attempt. So a run
ends once and counts once, whatever is retried.
"""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.clock import database_now
from app.errors import ConflictError, FieldError
from app.proposals import repository
from app.proposals.schemas import (
    AttemptRead,
    AttemptsRead,
    Complete,
    Fail,
    Heartbeat,
    HeartbeatRead,
)
from app.runs import service as runs
from app.runs.repository import StoredRun
from app.runs.schemas import RunState
from app.wire import refuse

_HAS_RESULT = (RunState.SUCCEEDED, RunState.RETRACTED)


def heartbeat(
    session: Session, principal: Principal, run_id: str, beat: Heartbeat
) -> HeartbeatRead:
    """Hold on to a run for another while.

    Raises:
        NotFoundError: no such run.
        ConflictError: it has ended, or is another holder's: stop training it.
    """
    run = runs.find(session, principal, run_id, lock=True)
    _require_known(run, beat.lease_token)
    if run["state"] != RunState.LEASED:
        raise ConflictError(f"the run is {run['state']}; there is nothing left to train")
    if run["lease_token"] != beat.lease_token:
        raise ConflictError("the lease ran out and the run is another holder's by now")
    until = database_now(session) + timedelta(seconds=run["lease_seconds"])
    runs.change(session, run_id, lease_until=until)
    return HeartbeatRead(expires_at=until)


def complete(session: Session, principal: Principal, run_id: str, asked: Complete) -> StoredRun:
    """Take a run's result; the same again changes nothing.

    Raises:
        NotFoundError: no such run.
        InvalidRequestError: names every wrong field.
        ConflictError: this holder has answered otherwise before.
    """
    run = runs.find(session, principal, run_id, lock=True)
    _require_known(run, asked.lease_token)
    refuse(runs.wrong_result(session, run, asked.metrics, asked.realised_tokens))
    answer = asked.model_dump(mode="json", exclude={"lease_token"})
    if not _is_new(session, run, asked.lease_token, answer):
        return run
    now, is_result = database_now(session), run["state"] not in _HAS_RESULT
    _keep(session, run, asked.lease_token, answer, is_result, now)
    if not is_result:
        return run
    runs.end(
        session,
        run,
        metrics=asked.metrics,
        cost=asked.cost,
        realised_tokens=asked.realised_tokens,
        run_metadata={**run["run_metadata"], **asked.metadata},
        late=_is_late(run, asked.lease_token, now),
        failure=None,
        ended_at=now,
    )
    return runs.find(session, principal, run_id)


def fail(session: Session, principal: Principal, run_id: str, asked: Fail) -> StoredRun:
    """Note that a run will have no result; the same again changes nothing.

    A holder whose run has passed to another is heard, but the other goes on.

    Raises:
        NotFoundError: no such run.
        ConflictError: this holder has answered otherwise before.
    """
    run = runs.find(session, principal, run_id, lock=True)
    _require_known(run, asked.lease_token)
    answer = {"failure": asked.reason}
    if not _is_new(session, run, asked.lease_token, answer):
        return run
    now = database_now(session)
    _keep(session, run, asked.lease_token, answer, False, now)
    if run["state"] != RunState.LEASED or run["lease_token"] != asked.lease_token:
        return run
    runs.change(session, run_id, state=RunState.FAILED, failure=asked.reason, ended_at=now)
    return runs.find(session, principal, run_id)


def attempts(session: Session, principal: Principal, run_id: str) -> AttemptsRead:
    """Return all that the run's holders answered.

    Raises:
        NotFoundError: no such run.
    """
    runs.find(session, principal, run_id)
    found = repository.attempts(session, run_id).values()
    names = AttemptRead.model_fields
    return AttemptsRead(
        items=[AttemptRead(**{name: getattr(row, name) for name in names}) for row in found]
    )


def _require_known(run: StoredRun, token: int) -> None:
    if token > run["lease_token"]:
        detail = f"the run was never leased with the token {token}"
        refuse([FieldError(pointer="/lease_token", detail=detail)])


def _is_late(run: StoredRun, token: int, now: datetime) -> bool:
    holds = run["state"] == RunState.LEASED and run["lease_token"] == token
    return not holds or run["lease_until"] < now


def _is_new(session: Session, run: StoredRun, token: int, answer: dict[str, Any]) -> bool:
    """Return whether this holder has not answered yet.

    Raises:
        ConflictError: it has, otherwise.
    """
    before = repository.attempts(session, run["id"]).get(token)
    if before is not None and before.answer_sha256 != _digest(answer):
        raise ConflictError("this lease has answered before, with other content")
    return before is None


def _keep(
    session: Session,
    run: StoredRun,
    token: int,
    answer: dict[str, Any],
    is_result: bool,
    now: datetime,
) -> None:
    repository.insert_attempt(
        session,
        run_id=run["id"],
        lease_token=token,
        answer=answer,
        answer_sha256=_digest(answer),
        is_result=is_result,
        answered_at=now,
    )


def _digest(answer: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()
