"""Wire format of studies."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from app.wire import AnswerModel, Name, Number, Share, StrictModel
from mixwright.quality.raters import Normalisation
from mixwright.study import Direction


def _is_no_id(name: str) -> str:
    if re.fullmatch(r"study_[0-9a-f]{26}", name):
        raise ValueError("a name must not look like a study's id")
    return name


StudyName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"), AfterValidator(_is_no_id)
]
Positive = Annotated[float, Field(strict=True, gt=0, lt=1e30, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=10**9)]


class DomainSchema(StrictModel):
    """A data source. Exports write `path`; some need to know how long its documents are."""

    name: Name
    tokens: Positive | None = None
    prior: Share | None = None
    lower: Share = 0.0
    upper: Share = 1.0
    mean_document_tokens: Positive | None = None
    path: Annotated[str, Field(min_length=1, max_length=2000)] | None = None


class MetricSchema(StrictModel):
    """What a run measures."""

    name: Name
    direction: Direction = Direction.MINIMIZE


class FidelitySchema(StrictModel):
    """A scale at which runs are trained."""

    name: Name
    cost: Positive | None = None
    parameters: Positive | None = None
    tokens: Positive | None = None


class LinearSchema(StrictModel):
    """`lower <= sum(coefficients * weights) <= upper`; either bound may be left out."""

    coefficients: Annotated[dict[Name, Number], Field(min_length=1)]
    lower: Number | None = None
    upper: Number | None = None


class RepetitionSchema(StrictModel):
    """At most `max_epochs` passes over any domain within `target_tokens`."""

    target_tokens: Positive
    max_epochs: Positive = 4.0


class ConstraintsSchema(StrictModel):
    """Constraints besides the domains' bounds."""

    linear: list[LinearSchema] = Field(default_factory=list)
    repetition: RepetitionSchema | None = None


class BudgetSchema(StrictModel):
    """What the study may spend on proposals."""

    max_runs: Count | None = None
    max_cost: Positive | None = None


class SpaceSchema(StrictModel):
    """What runs are described by: a mixture, weights of raters, or parameters of QuaDMix.

    `raters`: their names; `lower_is_better` names those whose low scores are good;
    `normalisation`: how all are brought to one scale, "z_score" by default. `steepness`: how λ of
    QuaDMix is drawn, and `limits` the largest λ, ω, η and ε that are searched.
    """

    kind: Literal["mixture", "meta_rater", "quadmix"] = "mixture"
    raters: Annotated[list[Name], Field(max_length=1000)] = Field(default_factory=list)
    lower_is_better: Annotated[list[Name], Field(max_length=1000)] = Field(default_factory=list)
    normalisation: Normalisation | None = None
    steepness: Literal["linear", "log"] | None = None
    limits: dict[Literal["lambda", "omega", "eta", "epsilon"], Positive] | None = None


class StudyCreate(StrictModel):
    """A mixture problem, or one of another space."""

    name: StudyName
    domains: Annotated[list[DomainSchema], Field(min_length=1, max_length=1000)]
    metrics: Annotated[list[MetricSchema], Field(min_length=1, max_length=1000)]
    objective: dict[Name, Number] | None = None
    fidelities: Annotated[list[FidelitySchema], Field(min_length=1, max_length=100)]
    target_fidelity: Name | None = None
    constraints: ConstraintsSchema = ConstraintsSchema()
    budget: BudgetSchema = BudgetSchema()
    space: SpaceSchema = SpaceSchema()


class StudyPatch(StrictModel):
    """Changes to a study; what is left out stays.

    Domains, metrics and fidelities that runs refer to can be neither removed nor reordered, and
    the space stays as it is once there are runs, or suggestions of runs.
    """

    name: StudyName | None = None
    domains: Annotated[list[DomainSchema], Field(min_length=1, max_length=1000)] | None = None
    metrics: Annotated[list[MetricSchema], Field(min_length=1, max_length=1000)] | None = None
    objective: dict[Name, Number] | None = None
    fidelities: Annotated[list[FidelitySchema], Field(min_length=1, max_length=100)] | None = None
    target_fidelity: Name | None = None
    constraints: ConstraintsSchema | None = None
    budget: BudgetSchema | None = None
    space: SpaceSchema | None = None


class StudyRead(AnswerModel):
    """A study with its defaults filled in."""

    id: str
    name: str
    version: int
    created_at: datetime
    domains: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    objective: dict[str, float]
    fidelities: list[dict[str, Any]]
    target_fidelity: str
    constraints: dict[str, Any]
    budget: dict[str, Any]
    space: dict[str, Any] = Field(default_factory=lambda: {"kind": "mixture"})
