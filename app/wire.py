"""What every feature's wire format shares: strict models, numbers, pages and conditional reads."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.errors import FieldError, InvalidRequestError, PreconditionError
from mixwright.arrays import LARGEST_NUMBER


class StrictModel(BaseModel):
    """A request body: unknown fields are refused, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AnswerModel(BaseModel):
    """A response body."""

    model_config = ConfigDict(extra="forbid")


def _is_plausible(value: float) -> float:
    if abs(value) >= LARGEST_NUMBER:
        raise ValueError(f"magnitudes of {LARGEST_NUMBER:g} or more are refused")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_is_plausible)]
"""A finite number of believable magnitude; text is refused, not converted."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name given by a user: any printable text."""


def _has_finite_numbers(options: dict[str, Any]) -> dict[str, Any]:
    json.dumps(options, allow_nan=False)  # raises a ValueError
    return options


Options = Annotated[dict[str, Any], AfterValidator(_has_finite_numbers)]
"""Options of an algorithm, which checks them further."""

Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]

Item = TypeVar("Item", bound=BaseModel)


class Page(BaseModel, Generic[Item]):
    """A page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None


Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=100, pattern=r"^[a-z]+_[0-9a-f]+$")]
Wait = Annotated[float, Query(ge=0, le=60, description="seconds to wait for the end of the work")]


def paginate(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], str | None]:
    """Split `limit + 1` fetched rows into a page and the cursor after it (a row's id)."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], rows[limit - 1].id


def etag_of(body: bytes) -> str:
    """Return a strong entity tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def conditional(request: Request, answer: BaseModel) -> Response:
    """Answer with `answer` and its ETag, or 304 if the client has it already."""
    body = answer.model_dump_json().encode()
    etag = etag_of(body)
    if is_known(request, etag):
        return not_modified(etag)
    return Response(body, media_type="application/json", headers={"ETag": etag})


def is_known(request: Request, etag: str) -> bool:
    """Return whether the client says that it has what `etag` is of."""
    return etag in _tags(request.headers.get("if-none-match"))


def not_modified(etag: str) -> Response:
    """Answer that the client has it already."""
    return Response(status_code=304, headers={"ETag": etag})


def require_match(request: Request, current: BaseModel) -> None:
    """Refuse the request if it carries an `If-Match` that is not of `current`.

    Raises:
        PreconditionError: the resource has changed since.
    """
    wanted = request.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    if etag_of(current.model_dump_json().encode()) not in _tags(wanted):
        raise PreconditionError("it has changed since you read it; read it again")


def _tags(header: str | None) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]


def refuse(errors: Sequence[FieldError]) -> None:
    """Raise for `errors`, if any.

    Raises:
        InvalidRequestError: names them all.
    """
    if errors:
        first = "; ".join(f"{error.pointer}: {error.detail}" for error in errors[:3])
        more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
        raise InvalidRequestError(f"the request is not valid: {first}{more}", errors)
