"""`Idempotency-Key`: the first answer is stored in the transaction of what it answers for."""

import hashlib
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.auth.access import CurrentPrincipal
from app.db.models import IdempotencyRow
from app.db.session import WriteSession, reading
from app.errors import InProgressError, InvalidRequestError


class Replay(Exception):
    """Carries the stored answer past the endpoint."""

    def __init__(self, row: IdempotencyRow) -> None:
        super().__init__(row.key)
        self.response = Response(
            row.body,
            status_code=row.status,
            media_type="application/json",
            headers={**row.headers, "Idempotent-Replayed": "true"},
        )


class Answer:
    """Answers a request that creates something, and remembers the answer if asked to."""

    def __init__(self, session: Session, principal: str, key: str | None, digest: str) -> None:
        self._session, self._principal, self._key, self._digest = session, principal, key, digest

    def __call__(
        self, model: BaseModel, status: int, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return `model` as JSON; with a key, store the answer in the request's transaction."""
        body = model.model_dump_json().encode()
        if self._key is not None:
            self._session.execute(
                insert(IdempotencyRow).values(
                    principal=self._principal,
                    key=self._key,
                    request_sha256=self._digest,
                    status=status,
                    headers=dict(headers or {}),
                    body=body,
                    created_at=datetime.now(UTC),
                )
            )
        return Response(
            body, status_code=status, media_type="application/json", headers=dict(headers or {})
        )


async def _request_digest(request: Request) -> str:
    if "idempotency-key" not in request.headers:
        return ""
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(head + await request.body()).hexdigest()


async def _answer(
    session: WriteSession,
    principal: CurrentPrincipal,
    digest: Annotated[str, Depends(_request_digest)],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Answer:
    answer = Answer(session, principal.id, idempotency_key, digest)
    if idempotency_key is not None:
        await run_in_threadpool(_replay, session, principal.id, idempotency_key, digest)
    return answer


def _replay(session: Session, principal: str, key: str, digest: str) -> None:
    """Return if the key is new.

    Raises:
        Replay: the same request was answered before.
        InvalidRequestError: the key was used for another request.
        InProgressError: the first request with this key is still under way.
    """
    _lock_key(session, principal, key)
    row = session.get(IdempotencyRow, (principal, key))
    if row is not None and row.request_sha256 != digest:
        raise InvalidRequestError(
            f"the Idempotency-Key '{key}' was used for another request; "
            "use a new key for a new request"
        )
    if row is not None:
        raise Replay(row)


def _lock_key(session: Session, principal: str, key: str) -> None:
    """Hold `key` until the transaction ends; SQLite's single writer does so by itself."""
    if session.get_bind().dialect.name != "postgresql":
        return
    number = zlib.crc32(f"{principal}\n{key}".encode()) | (zlib.crc32(key.encode()) << 31)
    if not session.scalar(select(func.pg_try_advisory_xact_lock(number))):
        raise InProgressError("the first request with this Idempotency-Key is still under way")


def forget_before(session: Session, moment: datetime) -> None:
    """Drop the answers given before `moment`."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < moment))


Answering = Annotated[Answer, Depends(_answer, scope="function")]


async def _replay_early(
    request: Request,
    principal: CurrentPrincipal,
    digest: Annotated[str, Depends(_request_digest)],
) -> None:
    """Give the stored answer before anything is worked out, outside the request's transaction."""

    def look() -> None:
        with reading(request.app.state.sessions) as session:
            row = session.get(IdempotencyRow, (principal.id, key))
            if row is not None and row.request_sha256 == digest:
                raise Replay(row)

    if key := request.headers.get("idempotency-key"):
        await run_in_threadpool(look)


ReplayedEarly = Depends(_replay_early)
"""For endpoints that work for seconds before they ask for `Answering`."""


def replayed(_: Request, replay: Exception) -> Response:
    """Exception handler: give the stored answer."""
    assert isinstance(replay, Replay)  # noqa: S101  - registered for it
    return replay.response
