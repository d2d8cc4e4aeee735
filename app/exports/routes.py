"""HTTP endpoints of exports."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession
from app.exports import schedules, service
from app.exports.schemas import (
    ExportQuery,
    ExportRead,
    FormatRead,
    ScheduleExportQuery,
    ScheduleExportRead,
)
from app.wire import Page
from mixwright.exports import describe_formats
from mixwright.exports.staged import STAGED

router = APIRouter(prefix="/v1", tags=["exports"])


@router.get("/export-formats", dependencies=[requires(Scope.READ)])
def list_formats() -> Page[FormatRead]:
    """List the formats a mixture or a schedule can be exported to, with the units each takes."""
    formats = [
        FormatRead(
            **described,
            stages="one file" if described["name"] in STAGED else "one file a segment",
        )
        for described in describe_formats()
    ]
    return Page(items=formats, next_cursor=None)


_TEXT_OR_JSON: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the text itself, or, for `Accept: application/json`, with warnings "
        "and file name around it",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/recommendations/{rec}/export",
    response_model=ExportRead,
    responses=_TEXT_OR_JSON,
    dependencies=[requires(Scope.READ)],
)
def export_recommendation(
    rec: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    request: Request,
    query: Annotated[ExportQuery, Query()],
) -> Response:
    """Write the mixture for a trainer.

    The answer is the text to paste or save, with its warnings inside; a client that accepts
    `application/json` gets an object with text, warnings, unit and file name instead. What a
    format needs to know of domains, such as their paths, is taken from the study.
    """
    return _answer(request, service.write(session, principal, rec, query))


@router.get(
    "/runs/{run}/export",
    response_model=ExportRead,
    responses=_TEXT_OR_JSON,
    dependencies=[requires(Scope.READ)],
)
def export_run(
    run: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    request: Request,
    query: Annotated[ExportQuery, Query()],
) -> Response:
    """Write the mixture of a run, such as a leased proposal, for a trainer."""
    return _answer(request, service.write_run(session, principal, run, query))


_FILES_OR_JSON: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the text, or a zip archive of one text a segment; or, for `Accept: "
        "application/json`, files with warnings",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get(
    "/schedules/{schedule}/export",
    response_model=ScheduleExportRead,
    responses=_FILES_OR_JSON,
    dependencies=[requires(Scope.READ)],
)
def export_schedule(
    schedule: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    request: Request,
    query: Annotated[ScheduleExportQuery, Query()],
) -> Response:
    """Write a schedule for a trainer.

    Loaders that take stages get one file. The others are launched once a segment: a zip archive
    with a file for each. A client that accepts `application/json` gets an object with all texts.
    """
    written = schedules.write(session, principal, schedule, query)
    headers = {"Vary": "Accept"}
    if "application/json" in request.headers.get("accept", ""):
        return Response(written.model_dump_json(), media_type="application/json", headers=headers)
    body, media_type, filename = schedules.packed(written)
    headers["Content-Disposition"] = f'inline; filename="{filename}"'
    return Response(body, media_type=media_type, headers=headers)


def _answer(request: Request, written: ExportRead) -> Response:
    if "application/json" in request.headers.get("accept", ""):
        body, media_type = written.model_dump_json(), "application/json"
    else:
        body, media_type = written.text, written.media_type
    disposition = f'inline; filename="{written.filename}"'
    return Response(
        body,
        media_type=media_type,
        headers={"Content-Disposition": disposition, "Vary": "Accept"},
    )
