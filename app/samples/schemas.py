"""Wire format of samples."""

from datetime import datetime

from app.wire import AnswerModel


class CountRead(AnswerModel):
    """How much of a domain is in a sample."""

    documents: int
    tokens: int


class PartRead(AnswerModel):
    """A part of a sample as it was sent; `sha256` is that of its content.

    `repeated` of its documents were in the sample before, and count once. `stored_bytes` is what
    the others take, and `created_at` null if there are none.
    """

    sha256: str
    documents: int
    repeated: int
    stored_bytes: int
    domains: dict[str, CountRead]
    created_at: datetime | None


class RaterRead(AnswerModel):
    """A rater's raw scores over the sample, and how they are brought to one scale.

    A score is normalised to (score - mean) / spread ("z_score") or to the normal quantile of its
    rank ("rank_normal"), and turned so that smaller is better. Mean, spread and ranks are weighted
    by tokens, or not: "…_of_documents", Meta-rater's.
    """

    higher_is_better: bool
    normalisation: str
    mean: float
    spread: float
    lowest: float
    highest: float


class SampleRead(AnswerModel):
    """A study's sample. Its digest changes with its content, not with the order of uploads."""

    study_id: str
    documents: int
    tokens: int
    parts: int
    stored_bytes: int
    domains: dict[str, CountRead]
    raters: dict[str, RaterRead]
    warnings: list[str]
    digest: str
