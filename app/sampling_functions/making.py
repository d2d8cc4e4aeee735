"""Makes a sampling function of what was asked and the study's sample; writes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.errors import FieldError, ForbiddenError, InvalidRequestError, NotFoundError, pointer
from app.recommendations import service as recommendations
from app.samples import service as samples
from app.samples.service import SampleOfStudy
from app.samples.space import RatedSpace, rated_space
from app.sampling_functions.schemas import (
    ByDomain,
    ImpliedRead,
    SampleUsed,
    SamplingFunctionCreate,
)
from app.studies import service as studies
from app.wire import refuse
from mixwright.arrays import FloatArray
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import Implied, implied


@dataclass(frozen=True, slots=True)
class Made:
    """A function that is ready to be stored.

    Attributes:
        parameters: θ as JSON, as it was asked for.
        text: the function's JSON.
    """

    study_id: str
    recommendation: str | None
    parameters: dict[str, Any]
    budget_tokens: float | None
    implied: ImpliedRead
    sample: SampleUsed
    text: bytes


def make(session: Session, principal: Principal, study: str, asked: SamplingFunctionCreate) -> Made:
    """Return the function. Ten million documents take ten seconds of a core, by ranks 28.

    Raises:
        NotFoundError: no such study.
        InvalidRequestError: names every wrong field.
        ConflictError: the study has no raters, its sample cannot tell ranks, or the recommendation
            has not succeeded.
    """
    row = studies.find(session, principal, study)
    space = rated_space(row.definition)
    refuse(list(_wrong_fields(space, asked)))
    parameters = asked.parameters
    if asked.recommendation is not None:
        parameters = _recommended(session, principal, row.id, asked.recommendation)
    assert parameters is not None  # noqa: S101  - one of the two was given
    refuse(list(_wrong_parameters(space, parameters)))
    sample = samples.load(session, row, space)
    function = space.points.function(
        sample.raters(), parameters, sample.content, asked.budget_tokens, _available(space)
    )
    return Made(
        study_id=row.id,
        recommendation=asked.recommendation,
        parameters=parameters,
        budget_tokens=asked.budget_tokens,
        implied=_imply(space, function, sample),
        sample=SampleUsed(documents=sample.documents, digest=sample.digest),
        text=function.to_json().encode(),
    )


def _wrong_fields(space: RatedSpace, asked: SamplingFunctionCreate) -> Iterator[FieldError]:
    if (asked.parameters is None) == (asked.recommendation is None):
        detail = "give either parameters or a recommendation"
        yield FieldError(pointer="/parameters", detail=detail)
    if (asked.budget_tokens is None) == space.points.has_budget:
        detail = (
            "Meta-rater keeps the best documents until there are so many tokens: say how many"
            if asked.budget_tokens is None
            else "QuaDMix takes no budget, its parameters say how much is kept: leave it out"
        )
        yield FieldError(pointer="/budget_tokens", detail=detail)


def _recommended(session: Session, principal: Principal, study_id: str, rec: str) -> dict[str, Any]:
    """Return the parameters that a recommendation of the study recommends."""
    try:
        found = recommendations.read(session, principal, rec)
    except (NotFoundError, ForbiddenError):
        found = None
    if found is None or found.study_id != study_id:
        detail = f"'{rec}' is not a recommendation of this study"
        raise InvalidRequestError(detail, [FieldError(pointer="/recommendation", detail=detail)])
    recommendations.require_succeeded(found)
    assert found.parameters is not None  # noqa: S101  - the study's space has parameters
    return found.parameters


def _wrong_parameters(space: RatedSpace, found: Mapping[str, Any]) -> Iterator[FieldError]:
    for place, detail in space.points.wrong_choice(found):
        yield FieldError(pointer=pointer("parameters", *place), detail=detail)


def _available(space: RatedSpace) -> FloatArray | None:
    return None if space.tokens is None else np.array(space.tokens, dtype=np.float64)


def _imply(space: RatedSpace, function: SamplingFunction, sample: SampleOfStudy) -> ImpliedRead:
    found = implied(function, sample.content, _available(space))

    def by_domain(values: FloatArray) -> ByDomain:
        return dict(zip(space.domains, values.tolist(), strict=True))

    return ImpliedRead(
        mixture=by_domain(found.mixture),
        tokens=by_domain(found.tokens),
        distinct_tokens=by_domain(found.distinct_tokens),
        repetitions=by_domain(found.repetitions),
        available_tokens=by_domain(found.available_tokens),
        available_of="sample" if space.tokens is None else "study",
        expected_tokens=float(found.tokens.sum()),
        warnings=[*_warn(space, function, found), *sample.suspicious()],
    )


def _warn(space: RatedSpace, function: SamplingFunction, found: Implied) -> Iterator[str]:
    if space.quadmix is not None:
        for domain, name, detail in space.quadmix.outside(function.parameters):
            yield f"{name} of domain '{domain}' {detail}: no proxy was like this"
    if space.tokens is None:
        yield (
            "tokens are those of the sample: give every domain of the study its tokens to know "
            "those of the whole"
        )
    yield from found.warnings
