"""Service errors, and the one place where errors become HTTP answers (RFC 9457).

ServiceError
├── NotFoundError         404
├── ConflictError         409   ├── InProgressError  409 with Retry-After
├── PreconditionError     412
├── InvalidRequestError   422   names every wrong field
├── UnauthorizedError     401
├── ForbiddenError        403
└── UnavailableError      503 with Retry-After
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from mixwright.errors import InvalidInputError, MixwrightError

log = structlog.get_logger()


class FieldError(BaseModel):
    """One wrong field: `pointer` is a JSON pointer (RFC 6901) into the request's body or query."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class ServiceError(Exception):
    """Base of errors the HTTP service raises on purpose."""

    status = 500
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.errors = list(errors)


class NotFoundError(ServiceError):
    """No such resource."""

    status = 404

    def __init__(self, kind: str, identity: str) -> None:
        super().__init__(f"there is no {kind} '{identity}'")


class ConflictError(ServiceError):
    """The resource is in a state that does not allow this."""

    status = 409


class InProgressError(ConflictError):
    """The same request is still being answered."""

    headers: Mapping[str, str] = {"Retry-After": "1"}


class PreconditionError(ServiceError):
    """The resource is not the version the client thinks it is."""

    status = 412


class InvalidRequestError(ServiceError):
    """The request is well-formed JSON that asks for something wrong."""

    status = 422


class UnauthorizedError(ServiceError):
    """No token, or one that is not valid."""

    status = 401
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ServiceError):
    """A valid token without the right to do this."""

    status = 403


class UnavailableError(ServiceError):
    """The database cannot answer now."""

    status = 503
    headers: Mapping[str, str] = {"Retry-After": "2"}


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer made of `parts`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def problem(status: int, detail: str, errors: Sequence[FieldError] = ()) -> dict[str, Any]:
    """Return the body of a problem answer; also what failed jobs keep as their error."""
    title = HTTPStatus(status).phrase
    slug = re.sub(r"[^a-z]+", "-", title.lower())
    return Problem(
        type=f"urn:mixwright:problem:{slug}",
        title=title,
        status=status,
        detail=detail,
        errors=list(errors),
    ).model_dump()


def problem_response(
    status: int,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an `application/problem+json` answer."""
    return JSONResponse(
        problem(status, detail, errors),
        status_code=status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def problem_of(error: ServiceError | MixwrightError) -> dict[str, Any]:
    """Return the problem that describes `error`."""
    if isinstance(error, ServiceError):
        return problem(error.status, str(error), error.errors)
    if isinstance(error, InvalidInputError):
        where = pointer(*error.field.split("/", 1)) if error.field else ""
        return problem(422, str(error), [FieldError(pointer=where, detail=str(error))])
    return problem(422, str(error))


def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError | MixwrightError)  # noqa: S101  - registered for these
    body = problem_of(error)
    return JSONResponse(
        body,
        status_code=body["status"],
        media_type="application/problem+json",
        headers=dict(getattr(error, "headers", {})),
    )


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = _CLEARER.get(error.status_code, str(error.detail))
    return problem_response(error.status_code, detail, headers=error.headers)


_CLEARER = {413: "the body is too large; send several smaller requests"}


def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [_field_error(item) for item in error.errors()]
    detail = "; ".join(f"{e.pointer or 'body'}: {e.detail}" for e in errors[:3])
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return problem_response(422, f"the request is not valid: {detail}{more}", errors)


def _field_error(item: Mapping[str, Any]) -> FieldError:
    location = [part for part in item["loc"][1:] if part != "[key]"]
    if item["type"] == "json_invalid":
        return FieldError(pointer="", detail=f"not JSON: {item.get('ctx', {}).get('error', '')}")
    detail = str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    if isinstance(given, str | int | float | bool) and repr(given) not in detail:
        detail += f", got {str(given)[:80]!r}" if isinstance(given, str) else f", got {given}"
    return FieldError(pointer=pointer(*location), detail=detail)


def _database_error(_: Request, error: Exception) -> Response:
    log.warning("database unavailable", error=str(error))
    unavailable = UnavailableError("the database cannot answer now; try again")
    return _service_error(_, unavailable)


def _unexpected(_: Request, error: Exception) -> Response:
    log.error("unexpected error", error=repr(error), exc_info=error)
    return problem_response(500, "an unexpected error; the server's log has the details")


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of `app` an `application/problem+json` answer."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(MixwrightError, _service_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(PoolTimeoutError, _database_error)
    app.add_exception_handler(Exception, _unexpected)


_DECLARED = {
    401: "no token, or one that is unknown, expired or revoked",
    403: "the token lacks the scope, or is bound to another study",
    404: "no such resource",
    409: "in conflict with what is stored",
    412: "changed since the version named in If-Match",
    413: "the body is too large",
    422: "the request names something wrong; `errors` lists every wrong field",
    503: "the database cannot answer now",
}
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, description in _DECLARED.items()
}
"""What any endpoint may answer, for the OpenAPI document."""
