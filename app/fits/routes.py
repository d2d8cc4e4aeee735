"""HTTP endpoints of fits."""

from fastapi import APIRouter, Request, Response

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.fits import repository, service
from app.fits.predictions import predict
from app.fits.schemas import FitCreate, FitRead, FitSummary, OutOfFoldRead, Predict, PredictionsRead
from app.idempotency import Answering
from app.jobs.waiting import until_ended
from app.studies import service as studies
from app.wire import Cursor, Limit, Page, Wait, conditional

router = APIRouter(prefix="/v1", tags=["fits"])


@router.post(
    "/studies/{study}/fits",
    status_code=202,
    response_model=FitRead,
    dependencies=[requires(Scope.WRITE)],
)
def create_fit(
    study: str,
    fit: FitCreate,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Ask for a fit; a worker does it."""
    created = service.create(session, principal, study, fit)
    return answer(created, 202, {"Location": f"/v1/fits/{created.id}"})


@router.get("/studies/{study}/fits", dependencies=[requires(Scope.READ)])
def list_fits(
    study: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[FitSummary]:
    """List fits, oldest first, without their scores."""
    study_id = studies.find(session, principal, study).id
    rows = repository.page(session, study_id, limit, cursor)
    after = rows[limit - 1][0].id if len(rows) > limit else None
    return Page(items=[repository.to_summary(row) for row in rows[:limit]], next_cursor=after)


@router.get("/fits/{fit}", response_model=FitRead, dependencies=[requires(Scope.READ)])
async def get_fit(
    fit: str, principal: CurrentPrincipal, request: Request, wait: Wait = 0.0
) -> Response:
    """Get a fit and how well it predicts; with `wait`, hold until it has ended."""

    def read() -> FitRead:
        with reading(request.app.state.sessions) as session:
            return repository.to_read(repository.get(session, principal, fit))

    return conditional(request, await until_ended(request, read, wait))


@router.get("/fits/{fit}/out-of-fold", dependencies=[requires(Scope.READ)])
def get_out_of_fold(fit: str, principal: CurrentPrincipal, session: ReadSession) -> OutOfFoldRead:
    """Get every run as predicted by a fit that did not see it, with intervals."""
    return service.out_of_fold(session, principal, fit)


@router.post("/fits/{fit}/cancel", dependencies=[requires(Scope.WRITE)])
def cancel_fit(fit: str, principal: CurrentPrincipal, session: WriteSession) -> FitRead:
    """Cancel a fit that is queued or running; cancelling it again changes nothing."""
    return service.cancel(session, principal, fit)


@router.post(
    "/fits/{fit}/predict", response_model=PredictionsRead, dependencies=[requires(Scope.READ)]
)
def predict_mixtures(
    fit: str, mixtures: Predict, principal: CurrentPrincipal, request: Request
) -> Response:
    """Predict metrics and objective at up to 10,000 mixtures."""
    answer = predict(request.app.state.sessions, principal, fit, mixtures)
    return Response(answer.model_dump_json(), media_type="application/json")
