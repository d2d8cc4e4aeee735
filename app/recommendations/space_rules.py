"""What of a recommendation's request goes with the study's space."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.errors import FieldError, pointer
from app.recommendations.schemas import Method, RecommendationCreate
from app.studies.definition import listed
from app.studies.spaces import kind_of


def wrong_in_space(
    definition: Mapping[str, Any], asked: RecommendationCreate
) -> Iterator[FieldError]:
    """Yield what is asked for that the study's space does not have."""
    kind = kind_of(definition)
    if asked.method == Method.EXACT and kind == "quadmix":
        detail = "'exact' needs a simplex of weights; in a study of quadmix use 'evolve'"
        yield FieldError(pointer="/method", detail=detail)
    if asked.method == Method.EVOLVE and kind != "quadmix":
        detail = f"'evolve' is for studies of quadmix; in one of '{kind}' use 'regmix' or 'exact'"
        yield FieldError(pointer="/method", detail=detail)
    if asked.selected_tokens is not None:
        yield from _wrong_budget(definition, kind, asked)


def _wrong_budget(
    definition: Mapping[str, Any], kind: str, asked: RecommendationCreate
) -> Iterator[FieldError]:
    budget = asked.selected_tokens
    assert budget is not None  # noqa: S101  - it was asked for
    if kind != "quadmix" or asked.method not in (Method.REGMIX, Method.EVOLVE):
        detail = "for the methods 'regmix' and 'evolve' in studies of quadmix; leave it out"
        yield FieldError(pointer="/selected_tokens", detail=detail)
        return
    if budget.lower is None and budget.upper is None:
        yield FieldError(pointer="/selected_tokens", detail="give a lower or an upper end")
    if budget.lower is not None and budget.upper is not None and budget.lower > budget.upper:
        detail = f"the lower end {budget.lower:g} is above the upper end {budget.upper:g}"
        yield FieldError(pointer=pointer("selected_tokens", "lower"), detail=detail)
    unknown = [one["name"] for one in definition["domains"] if one["tokens"] is None]
    if unknown:
        detail = (
            f"it needs the tokens of every domain, and those of {listed(unknown)} are not known; "
            "PATCH the study with them"
        )
        yield FieldError(pointer="/selected_tokens", detail=detail)
