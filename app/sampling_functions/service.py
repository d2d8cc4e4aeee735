"""What the service does with sampling functions once they are made."""

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.sampling_models import SamplingFunctionRow
from app.errors import FieldError, NotFoundError, pointer
from app.identifiers import new_id
from app.sampling_functions.making import Made
from app.sampling_functions.schemas import (
    DocumentSchema,
    EvaluatedDocument,
    EvaluationCreate,
    EvaluationRead,
    SamplingFunctionItem,
    SamplingFunctionRead,
)
from app.studies import service as studies
from app.studies.definition import listed
from app.wire import refuse
from mixwright.quality.function import SamplingFunction, round_copies
from mixwright.quality.uniforms import uniforms_of


def store(session: Session, made: Made) -> SamplingFunctionRead:
    """Store a function that was made."""
    row = SamplingFunctionRow(
        id=new_id("function"),
        study_id=made.study_id,
        recommendation_id=made.recommendation,
        parameters=made.parameters,
        result={
            "budget_tokens": made.budget_tokens,
            "implied": made.implied.model_dump(mode="json"),
            "sample": made.sample.model_dump(mode="json"),
        },
        sha256=hashlib.sha256(made.text).hexdigest(),
        function=zlib.compress(made.text),
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    return to_read(row)


def find(session: Session, principal: Principal, identity: str) -> SamplingFunctionRow:
    """Return the function with this id.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    row = session.get(SamplingFunctionRow, identity)
    if row is None:
        raise NotFoundError("sampling function", identity)
    principal.require_study(row.study_id)
    return row


def page(
    session: Session, principal: Principal, study: str, limit: int, cursor: str | None
) -> Sequence[SamplingFunctionRow]:
    """Return up to `limit + 1` functions of a study after `cursor`, oldest first."""
    study_id = studies.find(session, principal, study).id
    query = select(SamplingFunctionRow).where(SamplingFunctionRow.study_id == study_id)
    if cursor is not None:
        query = query.where(SamplingFunctionRow.id > cursor)
    return session.scalars(query.order_by(SamplingFunctionRow.id).limit(limit + 1)).all()


def of_recommendation(session: Session, recommendation: str) -> SamplingFunctionRow | None:
    """Return the newest function that was made of a recommendation, for its report."""
    query = select(SamplingFunctionRow).where(
        SamplingFunctionRow.recommendation_id == recommendation
    )
    return session.scalar(query.order_by(SamplingFunctionRow.id.desc()).limit(1))


def text_of(row: SamplingFunctionRow) -> bytes:
    """Return the function's JSON: what `mixwright sample apply --function` reads."""
    return zlib.decompress(row.function)


def to_item(row: SamplingFunctionRow) -> SamplingFunctionItem:
    """Return a function as lists have it."""
    return SamplingFunctionItem(
        id=row.id,
        study_id=row.study_id,
        recommendation=row.recommendation_id,
        parameters=row.parameters,
        digest=row.sha256,
        created_at=row.created_at,
        **row.result,
    )


def to_read(row: SamplingFunctionRow) -> SamplingFunctionRead:
    """Return a function as it is answered."""
    function = json.loads(text_of(row))
    return SamplingFunctionRead(**to_item(row).model_dump(), function=function)


def evaluate(row: SamplingFunctionRow, asked: EvaluationCreate) -> EvaluationRead:
    """Return what becomes of documents.

    Raises:
        InvalidRequestError: names every document of another domain or with other scores.
    """
    function = SamplingFunction.from_json(text_of(row))
    refuse(list(_wrong_documents(function, asked.documents)))
    index = function.index_of([one.domain for one in asked.documents])
    scores = np.array(
        [[one.scores[name] for name in function.rater_names] for one in asked.documents]
    )
    ranks = function.rank(index, scores)
    expected = function.expected_copies(index, scores)
    uniforms = uniforms_of([str(one.id) for one in asked.documents], asked.seed)
    copies = round_copies(expected, uniforms)
    rows = zip(asked.documents, ranks.tolist(), expected.tolist(), copies.tolist(), strict=True)
    return EvaluationRead(
        documents=[
            EvaluatedDocument(
                id=document.id,
                domain=document.domain,
                rank=rank,
                expected_copies=expect,
                expected_tokens=None if document.tokens is None else document.tokens * expect,
                copies=None if document.id is None else copied,
            )
            for document, rank, expect, copied in rows
        ]
    )


def _wrong_documents(
    function: SamplingFunction, documents: Sequence[DocumentSchema]
) -> Iterator[FieldError]:
    for place, document in enumerate(documents):
        where = ("documents", place)
        if document.domain not in function.domains:
            detail = f"the function knows no such domain; it knows {listed(function.domains)}"
            yield FieldError(pointer=pointer(*where, "domain"), detail=detail)
        yield from _wrong_scores(function, document.scores, *where, "scores")


def _wrong_scores(
    function: SamplingFunction, scores: Mapping[str, float], *where: str | int
) -> Iterator[FieldError]:
    for name in function.rater_names:
        if name not in scores:
            yield FieldError(pointer=pointer(*where, name), detail="this rater's score is missing")
    for name in scores:
        if name not in function.rater_names:
            detail = f"there is no such rater; there are {listed(function.rater_names)}"
            yield FieldError(pointer=pointer(*where, name), detail=detail)
