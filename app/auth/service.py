"""Making and revoking tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.access import Principal, Scope, hash_secret, new_secret, note_change, split_token
from app.auth.schemas import TokenCreate, TokenCreated, TokenRead
from app.db.models import TokenRow
from app.errors import FieldError, ForbiddenError, NotFoundError
from app.studies import service as studies
from app.wire import refuse


def create(session: Session, principal: Principal, asked: TokenCreate) -> TokenCreated:
    """Make a token; only its hash is stored.

    Raises:
        ForbiddenError: the asking token is bound to a study.
        NotFoundError: the study it is to be bound to does not exist.
        InvalidRequestError: it would have expired already.
    """
    if principal.study_id is not None:
        raise ForbiddenError("a token that is bound to a study cannot make tokens")
    now = datetime.now(UTC)
    if asked.expires_at is not None and asked.expires_at <= now:
        refuse([FieldError(pointer="/expires_at", detail="this time has passed")])
    bound = studies.find(session, principal, asked.study).id if asked.study else None
    token_id, secret = new_secret()
    row = TokenRow(
        id=token_id,
        name=asked.name,
        secret_sha256=hash_secret(secret),
        scopes=sorted(set(asked.scopes)),
        study_id=bound,
        created_at=now,
        expires_at=asked.expires_at,
    )
    session.add(row)
    note_change(session)
    return TokenCreated(token=f"mw_{token_id}_{secret}", **to_read(row).model_dump())


def ensure_admin(session: Session, token: str) -> None:
    """Make sure that the deployment's own admin token exists.

    Raises:
        UnauthorizedError: it is not of the form of a token.
    """
    token_id, secret = split_token(token)
    row = session.get(TokenRow, token_id) or TokenRow(
        id=token_id, name="admin", scopes=[Scope.ADMIN], created_at=datetime.now(UTC)
    )
    row.secret_sha256 = hash_secret(secret)
    session.add(row)
    note_change(session)


def page(session: Session, limit: int, cursor: str | None) -> Sequence[TokenRow]:
    """Return up to `limit + 1` tokens after `cursor`."""
    query = select(TokenRow).order_by(TokenRow.id).limit(limit + 1)
    return session.scalars(query if cursor is None else query.where(TokenRow.id > cursor)).all()


def revoke(session: Session, token_id: str) -> TokenRead:
    """Make a token worthless from now on.

    Raises:
        NotFoundError: no such token.
    """
    row = session.get(TokenRow, token_id)
    if row is None:
        raise NotFoundError("token", token_id)
    row.revoked_at = row.revoked_at or datetime.now(UTC)
    note_change(session)
    return to_read(row)


def to_read(row: TokenRow) -> TokenRead:
    """Return the token as it is answered."""
    return TokenRead(**{name: getattr(row, name) for name in TokenRead.model_fields})
