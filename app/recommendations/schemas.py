"""Wire format of recommendations."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.fits.schemas import IntervalRead, Seed, Weights
from app.jobs.schemas import JobRead
from app.wire import AnswerModel, Name, Number, StrictModel


class Method(StrEnum):
    """How the mixture, or the parameters, are chosen."""

    REGMIX = "regmix"
    EXACT = "exact"
    POOL = "pool"
    BEST_OBSERVED = "best_observed"
    EVOLVE = "evolve"


class SelectedTokens(StrictModel):
    """How many tokens parameters of QuaDMix are expected to select; either end may be left out."""

    lower: Annotated[Number, Field(ge=0)] | None = None
    upper: Annotated[Number, Field(ge=0)] | None = None


class RecommendationCreate(StrictModel):
    """What to recommend by.

    Without `fit`, the study's runs are fitted first, unless a fit of these very runs is there.
    `top_k` null: what the source of the study's space averages, 128, or 10 for QuaDMix. A `pool`
    has mixtures, or parameters in a study of another space. `selected_tokens` is for `regmix` and
    `evolve` in studies of QuaDMix.
    """

    surrogate: Name = "auto"
    fit: Name | None = None
    method: Method = Method.REGMIX
    candidates: Annotated[int, Field(strict=True, ge=1, le=10**7)] = 100_000
    top_k: Annotated[int, Field(strict=True, ge=1, le=10**6)] | None = None
    kl_to_prior: Annotated[Number, Field(ge=0)] = 0.0
    pool: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100_000)] | None = None
    selected_tokens: SelectedTokens | None = None
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

    It has `weights` in a study of mixtures, `parameters` in one of another space.

    Only `runs_available` still changes: it counts the study's runs now, so that a recommendation
    that has not seen the newest of them can be told. `digest` is the SHA-256 of the canonical JSON
    of the result; equal inputs give equal digests, whatever the fit was called.
    """

    id: str
    study_id: str
    fit: str
    method: Method
    candidates: int
    top_k: int | None
    kl_to_prior: float
    selected_tokens: SelectedTokens | None = None
    seed: int
    runs_available: int
    weights: Weights | None = None
    parameters: dict[str, Any] | None = None
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
