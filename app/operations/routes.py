"""Health, readiness and metrics: unversioned, and open to probes."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from app.db.revision import check_revision
from app.errors import PROBLEM_RESPONSES, problem_response
from app.jobs.metrics import metrics_text
from app.startup import WrongRevisionError

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process is up."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: PROBLEM_RESPONSES[503]}, response_model=dict[str, str])
def readyz(request: Request) -> Response:
    """Say whether database, schema revision and broker are ready."""
    state = request.app.state
    try:
        check_revision(state.sessions.kw["bind"])
    except WrongRevisionError as error:
        return problem_response(503, str(error))
    except SQLAlchemyError as error:
        return problem_response(503, f"the database does not answer: {type(error).__name__}")
    if not state.broker_is_ready():
        return problem_response(503, "the broker does not answer")
    return JSONResponse({"database": "ready", "schema": "ready", "broker": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Give counters in Prometheus' text format."""
    with request.app.state.sessions() as session:
        queued = metrics_text(session)
    body = generate_latest(request.app.state.registry) + queued
    return Response(body, media_type=CONTENT_TYPE_LATEST)
