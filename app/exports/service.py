"""Writes a recommended mixture for a trainer."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.errors import FieldError, pointer
from app.exports.schemas import ExportQuery, ExportRead
from app.recommendations import service as recommendations
from app.recommendations.schemas import RecommendationRead
from app.studies import service as studies
from app.studies.definition import listed
from app.wire import refuse
from mixwright.exports import ExportedMixture, export


def write(session: Session, principal: Principal, identity: str, asked: ExportQuery) -> ExportRead:
    """Return the recommendation's mixture in the format asked for.

    Raises:
        NotFoundError: no such recommendation.
        ConflictError: it has not succeeded; says why.
        InvalidRequestError, InvalidInputError: an unknown format or unit, or one that needs what
            was not given; names the parameter.
    """
    recommendation = recommendations.read(session, principal, identity)
    recommendations.require_succeeded(recommendation)
    definition = studies.load(session, recommendation.study_id).definition
    result = export(_mixture(recommendation, definition, asked), asked.format, asked.unit)
    return ExportRead(
        format=asked.format,
        unit=result.unit,
        text=result.text,
        warnings=list(result.warnings),
        filename=result.filename,
        media_type=result.media_type,
    )


def _mixture(
    recommendation: RecommendationRead, definition: dict[str, Any], asked: ExportQuery
) -> ExportedMixture:
    assert recommendation.weights is not None  # noqa: S101  - it has succeeded
    domains = [domain["name"] for domain in definition["domains"]]
    repetition = definition["constraints"]["repetition"] or {}
    return ExportedMixture(
        mixture_id=recommendation.id,
        version=1,  # a recommendation never changes
        domains=tuple(domains),
        weights=recommendation.weights,
        tokens={d["name"]: d["tokens"] for d in definition["domains"] if d["tokens"] is not None},
        mean_document_tokens=_mean_document_tokens(asked.mean_document_tokens, domains),
        token_budget=asked.token_budget or repetition.get("target_tokens"),
        sequence_length=asked.sequence_length,
        max_epochs=repetition.get("max_epochs"),
        seed=asked.seed,
    )


def _mean_document_tokens(given: Sequence[str], domains: Sequence[str]) -> dict[str, float]:
    parts = [item.rpartition("=") for item in given]
    wrong = [
        FieldError(
            pointer=pointer("mean_document_tokens", index),
            detail=f"'{given[index]}' is not DOMAIN=TOKENS with one of {listed(domains)}",
        )
        for index, (domain, _, number) in enumerate(parts)
        if domain not in domains or not _is_number(number)
    ]
    refuse(wrong)
    return {domain: float(number) for domain, _, number in parts}


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
