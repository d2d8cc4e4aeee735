"""Wire format of tokens."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from app.auth.access import Scope
from app.wire import AnswerModel, Name, StrictModel


class TokenCreate(StrictModel):
    """A token to be made."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    study: str | None = None
    expires_at: AwareDatetime | None = None


class TokenRead(AnswerModel):
    """A token without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    study_id: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class TokenCreated(TokenRead):
    """A new token; `token` is shown this once and never again."""

    token: str
