"""Who is asking, and what they may do.

With no token in the database the server answers on loopback only, to anyone there.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request
from fastapi.params import Depends as DependsParameter
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Row, bindparam, event, or_, select, update
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.db.models import TokenRow
from app.db.session import Sessions, first_row, writing
from app.errors import ForbiddenError, UnauthorizedError
from app.recent import Recent

_TOKEN_BY_ID = select(*TokenRow.__table__.c).where(TokenRow.id == bindparam("id"))
_ANY_TOKEN = select(TokenRow.id).limit(1)
_TOKEN = re.compile(r"mw_([0-9a-zA-Z]+)_([0-9A-Za-z-]{16,})")
_TRUSTED_SECONDS = 1.0
_CHANGED = "tokens changed"  # of a session's `info`
_TOUCH_EVERY = timedelta(minutes=1)  # a write per request for `last_used_at` would cost too much


RecentTokens: TypeAlias = Recent[Row[Any]]


class Scope(StrEnum):
    """What a token allows. `write` and `train` include `read`; `admin` includes everything."""

    READ = "read"
    WRITE = "write"
    TRAIN = "train"
    ADMIN = "admin"


_INCLUDED = {
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.TRAIN: {Scope.READ, Scope.TRAIN},
    Scope.ADMIN: set(Scope),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes:
        id: the token's id, or "anonymous".
        scopes: what it may do.
        study_id: the only study it may touch, or None for all.
    """

    id: str
    scopes: frozenset[Scope]
    study_id: str | None = None

    def require(self, *scopes: Scope) -> None:
        """Return if the principal has one of `scopes`.

        Raises:
            ForbiddenError: it has none.
        """
        if not self.scopes.intersection(scopes):
            named = " or ".join(f"'{scope}'" for scope in scopes)
            raise ForbiddenError(f"this needs a token with the scope {named}")

    def require_study(self, study_id: str) -> None:
        """Return if the principal may touch the study.

        Raises:
            ForbiddenError: its token is bound to another study.
        """
        if self.study_id not in (None, study_id):
            raise ForbiddenError("this token is bound to another study")


ANONYMOUS = Principal("anonymous", frozenset(Scope))
LOCAL_WORKER = Principal("local-worker", frozenset(_INCLUDED[Scope.TRAIN]))


def new_secret() -> tuple[str, str]:
    """Return a new token's id and secret (256 random bits)."""
    return secrets.token_hex(8), secrets.token_hex(32)


def hash_secret(secret: str) -> str:
    """Return what is stored. The secret is random and long, so a fast hash is safe."""
    return hashlib.sha256(secret.encode()).hexdigest()


def split_token(token: str) -> tuple[str, str]:
    """Return id and secret of `mw_<id>_<secret>`.

    Raises:
        UnauthorizedError: it does not look like a token.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise UnauthorizedError("the token is not of the form mw_<id>_<secret>")
    return match[1], match[2]


async def authenticate(sessions: Sessions, recent: RecentTokens, token: str) -> Principal:
    """Return whose token this is.

    Raises:
        UnauthorizedError: malformed, unknown, expired or revoked.
    """
    token_id, secret = split_token(token)
    row = recent.get(token_id)
    if row is None:
        row = await run_in_threadpool(_look_up, sessions, recent, token_id, secret)
    _check(row, secret, datetime.now(UTC))
    scopes = frozenset(scope for name in row.scopes for scope in _INCLUDED[Scope(name)])
    return Principal(token_id, scopes, row.study_id)


def _look_up(sessions: Sessions, recent: RecentTokens, token_id: str, secret: str) -> Row[Any]:
    """Return a token's row; once a minute, note that it was used."""
    question, now = recent.question(), datetime.now(UTC)
    row = first_row(sessions, _TOKEN_BY_ID, {"id": token_id})
    _check(row, secret, now)
    assert row is not None  # noqa: S101  - checked
    if row.last_used_at is None or row.last_used_at < now - _TOUCH_EVERY:
        _touch(sessions, token_id, now)
    else:
        recent.remember(token_id, row, question)
    return row


def note_change(session: Session) -> None:
    """Have tokens looked up anew in this process once `session` has committed."""
    session.info[_CHANGED] = True


def recent_tokens(sessions: Sessions) -> RecentTokens:
    """Return what keeps tokens for a second: so long one may live that another process revoked."""
    recent: RecentTokens = Recent(_TRUSTED_SECONDS)

    def after_commit(session: Session) -> None:
        if _CHANGED in session.info:
            recent.forget_all()

    event.listen(sessions, "after_commit", after_commit)
    return recent


def _check(row: Row[tuple[object, ...]] | None, secret: str, now: datetime) -> None:
    stored = row.secret_sha256 if row is not None else ""
    if not hmac.compare_digest(stored, hash_secret(secret)) or row is None:
        raise UnauthorizedError("the token is unknown")
    if row.revoked_at is not None:
        raise UnauthorizedError("the token was revoked")
    if row.expires_at is not None and row.expires_at <= now:
        raise UnauthorizedError("the token has expired")


def _touch(sessions: Sessions, token_id: str, now: datetime) -> None:
    with writing(sessions, lambda _job, _queue: None) as session:
        session.execute(
            update(TokenRow)
            .where(
                TokenRow.id == token_id,
                or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at < now - _TOUCH_EVERY),
            )
            .values(last_used_at=now)
        )


def any_token(sessions: Sessions) -> bool:
    """Return whether a token was ever made."""
    return first_row(sessions, _ANY_TOKEN) is not None


_bearer = HTTPBearer(auto_error=False, description="A token `mw_<id>_<secret>`")


async def current_principal(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Return who is asking.

    Raises:
        UnauthorizedError: no token where one is needed, or one that is not valid.
        ForbiddenError: no token was ever made, and the request does not come from this machine.
    """
    sessions = request.app.state.sessions
    if credentials is not None and _is_local_worker(request, credentials.credentials):
        return LOCAL_WORKER
    if credentials is not None:
        recent = request.app.state.recent_tokens
        return await authenticate(sessions, recent, credentials.credentials)
    if await run_in_threadpool(any_token, sessions):
        raise UnauthorizedError("send a token: Authorization: Bearer mw_<id>_<secret>")
    if not (
        _is_loopback(request.client.host if request.client else "")
        and _is_loopback(request.url.hostname or "")
    ):
        raise ForbiddenError(
            "no token is configured, so only requests from this machine are answered; "
            "make one with `mixwright token create`"
        )
    return ANONYMOUS


def _is_local_worker(request: Request, token: str) -> bool:
    own = request.app.state.worker_token
    return own is not None and hmac.compare_digest(token, own.get_secret_value())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


def requires(*scopes: Scope) -> DependsParameter:
    """Return a dependency that lets only principals with one of `scopes` pass."""

    # A coroutine, because FastAPI would send a plain function through its thread pool.
    async def check(principal: CurrentPrincipal) -> None:
        principal.require(*scopes)

    dependency: DependsParameter = Depends(check)
    return dependency
