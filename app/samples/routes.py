"""HTTP endpoints of samples."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.errors import PROBLEM_RESPONSES
from app.idempotency import Answering, ReplayedEarly
from app.samples import service
from app.samples.checking import Part
from app.samples.reading import ENCODINGS, NDJSON, PARQUET, read_part
from app.samples.schemas import PartRead, SampleRead
from app.samples.space import rated_space
from app.studies import service as studies

router = APIRouter(prefix="/v1/studies/{study}/samples", tags=["samples"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "documents: `domain`, `tokens`, a score of every rater, and perhaps `id`",
        "content": {
            NDJSON: {"schema": {"type": "string"}},
            PARQUET: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_UNSUPPORTED = {**PROBLEM_RESPONSES[422], "description": "neither lines of JSON nor Parquet"}


async def _uploaded(
    study: str,
    request: Request,
    principal: CurrentPrincipal,
    _early: Annotated[None, ReplayedEarly],
) -> Part:
    """Read and check the documents before a transaction begins that others might wait for."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type not in (NDJSON, PARQUET) or encoding not in ENCODINGS:
        raise HTTPException(
            415,
            f"send {NDJSON} or {PARQUET}, plain or with Content-Encoding gzip or zstd; this was "
            f"{media_type or 'nothing named'}, {encoding}",
        )
    body = await request.body()

    def check() -> Part:
        with reading(request.app.state.sessions) as session:
            space = rated_space(studies.find(session, principal, study).definition)
        return read_part(body, media_type, encoding, space)

    return await run_in_threadpool(check)


@router.post(
    "",
    status_code=201,
    response_model=PartRead,
    responses={
        200: {"model": PartRead, "description": "all of these documents were stored before"},
        415: _UNSUPPORTED,
    },
    openapi_extra=_BODY,
    dependencies=[requires(Scope.WRITE)],
)
def store_part(
    study: str,
    part: Annotated[Part, Depends(_uploaded)],
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Add documents to the study's sample.

    A sample may come in parts, of at most a million documents. A document that has an `id` counts
    once, however the parts are divided; without ids, the same documents in the same order again
    change nothing. Wrong rows are named, and then nothing of the body is stored.
    """
    read, is_new = service.store(session, principal, study, part)
    return answer(read, 201 if is_new else 200, {"Location": f"/v1/studies/{study}/samples"})


@router.get("", dependencies=[requires(Scope.READ)])
def get_sample(study: str, principal: CurrentPrincipal, session: ReadSession) -> SampleRead:
    """Say what is in the study's sample, and what looks wrong with it."""
    return service.read(session, principal, study)


@router.delete("", status_code=204, dependencies=[requires(Scope.WRITE)])
def delete_sample(study: str, principal: CurrentPrincipal, session: WriteSession) -> None:
    """Delete the study's sample. Sampling functions that were made of it stay."""
    service.remove(session, principal, study)
