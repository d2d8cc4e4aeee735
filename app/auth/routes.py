"""HTTP endpoints of tokens."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.auth import service
from app.auth.access import CurrentPrincipal, Scope, requires
from app.auth.schemas import TokenCreate, TokenCreated, TokenRead
from app.db.session import ReadSession, WriteSession
from app.wire import Limit, Page, paginate

router = APIRouter(prefix="/v1/tokens", tags=["tokens"], dependencies=[requires(Scope.ADMIN)])


@router.post("", status_code=201)
def create_token(
    token: TokenCreate, principal: CurrentPrincipal, session: WriteSession, response: Response
) -> TokenCreated:
    """Make a token. Its secret is in this answer and nowhere else."""
    response.headers["Cache-Control"] = "no-store"
    return service.create(session, principal, token)


@router.get("")
def list_tokens(
    session: ReadSession,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[TokenRead]:
    """List tokens, without their secrets."""
    rows, after = paginate(service.page(session, limit, cursor), limit)
    return Page(items=[service.to_read(row) for row in rows], next_cursor=after)


@router.post("/{token}/revoke")
def revoke_token(token: str, session: WriteSession) -> TokenRead:
    """Make a token worthless."""
    return service.revoke(session, token)
