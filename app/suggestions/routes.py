"""HTTP endpoint of what Bayesian optimisation thought."""

from fastapi import APIRouter

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession
from app.suggestions import service
from app.suggestions.schemas import OptimisationsRead

router = APIRouter(prefix="/v1", tags=["ask and tell"])


@router.get("/studies/{study}/optimisations", dependencies=[requires(Scope.READ)])
def list_optimisations(
    study: str, principal: CurrentPrincipal, session: ReadSession
) -> OptimisationsRead:
    """Get what was recommended after every result, and why: the history."""
    return service.history(session, principal, study)
