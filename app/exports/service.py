"""Writes a mixture, recommended or proposed, for a trainer."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.errors import ConflictError
from app.exports.schemas import ExportQuery, ExportRead
from app.recommendations import service as recommendations
from app.runs import service as runs
from app.studies import service as studies
from app.studies.spaces import parameters_of
from mixwright.exports import ExportedMixture, export

_NO_MIXTURE = (
    "these are parameters, from which a mixture only follows; POST /v1/studies/STUDY/"
    "sampling-functions with {} to get what selects documents"
)


def write(session: Session, principal: Principal, identity: str, asked: ExportQuery) -> ExportRead:
    """Return the recommendation's mixture in the format asked for.

    Raises:
        NotFoundError: no such recommendation.
        ConflictError: it has not succeeded, or has parameters in place of a mixture.
        InvalidRequestError, InvalidInputError: an unknown format or unit, or one that needs what
            the study does not say; names it.
    """
    recommendation = recommendations.read(session, principal, identity)
    recommendations.require_succeeded(recommendation)
    if recommendation.weights is None:
        raise ConflictError(_NO_MIXTURE.format(f'{{"recommendation": "{recommendation.id}"}}'))
    definition = studies.load(session, recommendation.study_id).definition
    return _export(recommendation.id, recommendation.weights, definition, asked)


def write_run(
    session: Session, principal: Principal, run_id: str, asked: ExportQuery
) -> ExportRead:
    """Return a run's mixture in the format asked for: what a proposal is trained on.

    Raises:
        NotFoundError: no such run.
        ConflictError: it has parameters in place of a mixture.
        InvalidRequestError, InvalidInputError: see `write`.
    """
    run = runs.find(session, principal, run_id)
    definition = studies.load(session, run["study_id"]).definition
    if parameters_of(definition, run["weights"]) is not None:
        raise ConflictError(_NO_MIXTURE.format('{"parameters": ...} of the run'))
    return _export(run_id, run["weights"], definition, asked)


def _export(
    identity: str, weights: Mapping[str, float], definition: dict[str, Any], asked: ExportQuery
) -> ExportRead:
    domains = definition["domains"]
    repetition = definition["constraints"]["repetition"] or {}
    mixture = ExportedMixture(
        mixture_id=identity,
        version=1,  # neither a recommendation nor a run ever changes its mixture
        domains=tuple(domain["name"] for domain in domains),
        weights=weights,
        tokens=known(domains, "tokens"),
        mean_document_tokens=known(domains, "mean_document_tokens"),
        paths=known(domains, "path"),
        token_budget=asked.token_budget or repetition.get("target_tokens"),
        sequence_length=asked.sequence_length,
        max_epochs=repetition.get("max_epochs"),
        seed=asked.seed,
    )
    result = export(mixture, asked.format, asked.unit)
    return ExportRead(
        format=asked.format,
        unit=result.unit,
        text=result.text,
        warnings=list(result.warnings),
        filename=result.filename,
        media_type=result.media_type,
    )


def known(domains: list[dict[str, Any]], field: str) -> dict[str, Any]:
    """Return what the study says of its domains, without those it says nothing of."""
    return {domain["name"]: domain[field] for domain in domains if domain.get(field) is not None}
