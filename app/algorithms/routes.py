"""HTTP endpoint of algorithms."""

from fastapi import APIRouter

from app.algorithms.catalogue import DESIGNS, OPTIMISERS, RECOMMENDERS, SPACES
from app.algorithms.schemas import AlgorithmRead
from app.auth.access import Scope, requires
from app.wire import Page
from mixwright import reweighting, schedules, surrogates
from mixwright.reweighting.guards import guarded_schema

router = APIRouter(prefix="/v1/algorithms", tags=["algorithms"])


@router.get("", dependencies=[requires(Scope.READ)])
def list_algorithms() -> Page[AlgorithmRead]:
    """List every algorithm with its options, its source and its departures from it."""
    fitted = [AlgorithmRead(**one) for one in surrogates.describe()]
    online = [
        AlgorithmRead(**{**one, "options": guarded_schema(one["name"])})
        for one in reweighting.describe()
    ]
    planners = [AlgorithmRead(**one) for one in schedules.describe()]
    items = [*fitted, *SPACES, *RECOMMENDERS, *DESIGNS, *OPTIMISERS, *online, *planners]
    return Page(items=items, next_cursor=None)
