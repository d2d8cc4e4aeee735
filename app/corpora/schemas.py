"""Wire format of corpora."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from app.wire import AnswerModel, Name, StrictModel

Count = Annotated[int, Field(strict=True, ge=0, lt=2**62)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ShardSchema(StrictModel):
    """One domain of a token store."""

    name: Name
    train_tokens: Annotated[int, Field(strict=True, ge=1, lt=2**62)]
    validation_tokens: Annotated[int, Field(strict=True, ge=1, lt=2**62)]
    train_bytes: Count
    validation_bytes: Count
    documents: Count
    sha256: dict[Name, Sha256] = Field(description="digests of the shard's files by name")


class CorpusCreate(StrictModel):
    """A token store: where workers find it, and what they must find there."""

    name: Name
    uri: Annotated[str, Field(min_length=1, max_length=2000)]
    tokenizer: Annotated[str, Field(min_length=1, max_length=2000)]
    vocabulary: Annotated[int, Field(strict=True, ge=2, lt=2**32)]
    digest: Sha256
    domains: Annotated[list[ShardSchema], Field(min_length=1, max_length=1000)]
    raters: Annotated[list[Name], Field(max_length=1000)] = Field(
        default_factory=list, description="scores that every training document has"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "CorpusCreate":
        names = [domain.name for domain in self.domains]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"domains named twice: {', '.join(twice)}")
        return self


class CorpusRead(AnswerModel):
    """A registered token store."""

    id: str
    name: str
    uri: str
    tokenizer: str
    vocabulary: int
    digest: str
    domains: list[ShardSchema]
    raters: list[str] = Field(default_factory=list)
    created_at: datetime
