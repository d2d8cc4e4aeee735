"""HTTP endpoint of algorithms."""

from fastapi import APIRouter

from app.algorithms.catalogue import DESIGNS, OPTIMISERS, RECOMMENDERS
from app.algorithms.schemas import AlgorithmRead
from app.auth.access import Scope, requires
from app.wire import Page
from mixwright import reweighting, surrogates
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
    items = [*fitted, *RECOMMENDERS, *DESIGNS, *OPTIMISERS, *online]
    return Page(items=items, next_cursor=None)
