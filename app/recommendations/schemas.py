"""Wire format of recommendations."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.fits.schemas import IntervalRead, Seed, Weights
from app.jobs.schemas import JobRead
from app.wire import AnswerModel, Name, Number, StrictModel


class Method(StrEnum):
    """How the mixture is chosen."""

    REGMIX = "regmix"
    EXACT = "exact"
    POOL = "pool"
    BEST_OBSERVED = "best_observed"


class RecommendationCreate(StrictModel):
    """What to recommend by.

    Without `fit`, the study's runs are fitted first, unless a fit of these very runs is there.
    """

    surrogate: Name = "auto"
    fit: Name | None = None
    method: Method = Method.REGMIX
    candidates: Annotated[int, Field(strict=True, ge=1, le=10**7)] = 100_000
    top_k: Annotated[int, Field(strict=True, ge=1, le=10**6)] = 128
    kl_to_prior: Annotated[Number, Field(ge=0)] = 0.0
    pool: Annotated[list[Weights], Field(min_length=1, max_length=100_000)] | None = None
    seed: Seed = 0


class Provenance(AnswerModel):
    """What the recommendation was made from."""

    fit: str
    runs_digest: str
    study_version: int
    seed: int
    version: str


class RecommendationRead(JobRead):
    """A recommendation. What comes after `seed` is null until it has succeeded, and then fixed.

    Only `runs_available` still changes: it counts the study's runs now, so that a recommendation
    that has not seen the newest of them can be told. `digest` is the SHA-256 of the canonical JSON
    of the result; equal inputs give equal digests, whatever the fit was called.
    """

    id: str
    study_id: str
    fit: str
    method: Method
    candidates: int
    top_k: int
    kl_to_prior: float
    seed: int
    runs_available: int
    weights: Weights | None = None
    objective: IntervalRead | None = None
    metrics: dict[str, IntervalRead] | None = None
    baselines: dict[str, Any] | None = None
    feasible: bool | None = None
    inside_hull: bool | None = None
    active_constraints: list[dict[str, Any]] | None = None
    epochs: dict[str, float | None] | None = None
    ranking: list[dict[str, Any]] | None = None
    warnings: list[str] | None = None
    runs_used: int | None = None
    provenance: Provenance | None = None
    digest: str | None = None
