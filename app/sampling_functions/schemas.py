"""Wire format of sampling functions."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from app.studies.schemas import Positive
from app.wire import AnswerModel, Name, Number, StrictModel


def _is_text(document: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a name has half a character") from error
    return document


ByDomain = dict[str, float]


class SamplingFunctionCreate(StrictModel):
    """What to make a function of: parameters, or a recommendation that has some.

    `budget_tokens` is for Meta-rater, which keeps the best documents until there are so many
    tokens; in QuaDMix θ itself says how much is kept.
    """

    parameters: Annotated[dict[str, Any], AfterValidator(_is_text)] | None = None
    recommendation: Name | None = None
    budget_tokens: Positive | None = None


class ImpliedRead(AnswerModel):
    """What the function is expected to select, by domain.

    `repetitions` says how often a selected token is seen on average; `available_of` whether
    available tokens are those of the study's domains or of the sample alone.
    """

    mixture: ByDomain
    tokens: ByDomain
    distinct_tokens: ByDomain
    repetitions: ByDomain
    available_tokens: ByDomain
    available_of: Literal["study", "sample"]
    expected_tokens: float
    warnings: list[str]


class SampleUsed(AnswerModel):
    """The sample that ranks were estimated from, as it was then."""

    documents: int
    digest: str


class SamplingFunctionItem(AnswerModel):
    """A sampling function, without the function. Immutable."""

    id: str
    study_id: str
    recommendation: str | None
    parameters: dict[str, Any]
    budget_tokens: float | None
    implied: ImpliedRead
    sample: SampleUsed
    digest: str
    created_at: datetime


class SamplingFunctionRead(SamplingFunctionItem):
    """A sampling function; `digest` is the SHA-256 of `function.json`."""

    function: dict[str, Any]


class DocumentSchema(StrictModel):
    """A scored document; its copies are decided by its `id`."""

    domain: Name
    scores: dict[Name, Number]
    tokens: Annotated[int, Field(strict=True, ge=0, lt=2**32)] | None = None
    id: (
        Annotated[str, Field(strict=True, max_length=2000)]
        | Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
        | None
    ) = None


class EvaluationCreate(StrictModel):
    """Documents to evaluate a function at, and the seed of the choice."""

    documents: Annotated[list[DocumentSchema], Field(min_length=1, max_length=10_000)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0


class EvaluatedDocument(AnswerModel):
    """What becomes of a document; `copies` needs its id, `expected_tokens` its tokens."""

    id: str | int | None
    domain: str
    rank: float
    expected_copies: float
    expected_tokens: float | None
    copies: int | None


class EvaluationRead(AnswerModel):
    """What becomes of documents, in their order."""

    documents: list[EvaluatedDocument]
