"""HTTP endpoints of recommendations."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.fits import service as fits
from app.idempotency import Answering
from app.jobs.waiting import until_ended
from app.recommendations import repository, service
from app.recommendations.schemas import RecommendationCreate, RecommendationRead
from app.runs import service as runs
from app.sampling_functions import service as sampling_functions
from app.studies import service as studies
from app.suggestions import service as suggestions
from app.wire import Cursor, Limit, Page, Wait, conditional

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post(
    "/studies/{study}/recommendations",
    status_code=202,
    response_model=RecommendationRead,
    dependencies=[requires(Scope.WRITE)],
)
def create_recommendation(
    study: str,
    recommendation: RecommendationCreate,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Ask for a recommended mixture; a worker makes it, after the fit if there is none."""
    created = service.create(session, principal, study, recommendation)
    return answer(created, 202, {"Location": f"/v1/recommendations/{created.id}"})


@router.get("/studies/{study}/recommendations", dependencies=[requires(Scope.READ)])
def list_recommendations(
    study: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RecommendationRead]:
    """List recommendations, oldest first."""
    study_id = studies.find(session, principal, study).id
    rows = repository.page(session, study_id, limit, cursor)
    after = rows[limit - 1][0].id if len(rows) > limit else None
    available = runs.count_completed(session, study_id)
    return Page(
        items=[repository.to_read(row, available) for row in rows[:limit]], next_cursor=after
    )


@router.get(
    "/studies/{study}/recommendations/latest",
    response_model=RecommendationRead,
    dependencies=[requires(Scope.READ)],
)
def get_latest_recommendation(
    study: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> Response:
    """Get the latest recommendation that succeeded."""
    return conditional(request, service.read_latest(session, principal, study))


@router.get(
    "/recommendations/{rec}",
    response_model=RecommendationRead,
    dependencies=[requires(Scope.READ)],
)
async def get_recommendation(
    rec: str, principal: CurrentPrincipal, request: Request, wait: Wait = 0.0
) -> Response:
    """Get a recommendation; with `wait`, hold until it has ended."""

    def read() -> RecommendationRead:
        with reading(request.app.state.sessions) as session:
            return service.read(session, principal, rec)

    return conditional(request, await until_ended(request, read, wait))


@router.get(
    "/recommendations/{rec}/report",
    response_class=HTMLResponse,
    dependencies=[requires(Scope.READ)],
)
def get_report(rec: str, principal: CurrentPrincipal, request: Request) -> HTMLResponse:
    """Get one self-contained page with the recommendation and the evidence for it."""
    with reading(request.app.state.sessions) as session:
        recommendation = service.read(session, principal, rec)
        service.require_succeeded(recommendation)
        study = studies.read(session, principal, recommendation.study_id)
        fit_report = fits.report_of(session, recommendation.fit)
        model = fits.model_of(session, recommendation.fit)
        every_run = runs.everything(session, recommendation.study_id)
        history = suggestions.history(session, principal, recommendation.study_id)
        function = sampling_functions.of_recommendation(session, rec)
        implied = None if function is None else sampling_functions.to_item(function).implied
    from app.report.page import render_report  # loads scipy.stats, which nothing else here needs

    page = render_report(
        study.model_dump(mode="json"),
        recommendation.model_dump(mode="json"),
        fit_report,
        every_run,
        model,
        history.model_dump(mode="json"),
        None if implied is None else implied.model_dump(mode="json"),
    )
    return HTMLResponse(page)
