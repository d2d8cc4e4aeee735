"""HTTP endpoint of algorithms."""

from fastapi import APIRouter

from app.algorithms.catalogue import DESIGNS, OPTIMISERS, RECOMMENDERS
from app.algorithms.schemas import AlgorithmRead
from app.auth.access import Scope, requires
from app.wire import Page
from mixwright import surrogates

router = APIRouter(prefix="/v1/algorithms", tags=["algorithms"])


@router.get("", dependencies=[requires(Scope.READ)])
def list_algorithms() -> Page[AlgorithmRead]:
    """List every algorithm with its options, its source and its departures from it."""
    described = [AlgorithmRead(**one) for one in surrogates.describe()]
    return Page(items=[*described, *RECOMMENDERS, *DESIGNS, *OPTIMISERS], next_cursor=None)
