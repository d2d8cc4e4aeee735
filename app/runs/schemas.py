"""Wire format of runs."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.studies.schemas import Positive
from app.wire import AnswerModel, Name, Number, StrictModel

Cost = Annotated[float, Field(strict=True, ge=0, lt=1e15, allow_inf_nan=False)]
Weight = Annotated[float, Field(strict=True)]  # signs, sums and names: app.runs.validation
Parameters = dict[str, Any]  # of the study's space: app.runs.validation
ExternalId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class RunState(StrEnum):
    """Where a run is. Only succeeded runs count."""

    QUEUED = "queued"
    LEASED = "leased"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    RETRACTED = "retracted"


class RunCreate(StrictModel):
    """A run that has ended: its mixture and what was measured.

    In a study of another space than that of mixtures, `parameters` take the place of `weights`.
    """

    external_id: ExternalId | None = None
    fidelity: Name
    weights: dict[str, Weight] | None = None
    parameters: Parameters | None = None
    metrics: Annotated[dict[str, Number], Field(min_length=1)]
    cost: Cost | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class RunBatch(StrictModel):
    """Runs to be stored together: all of them or none."""

    runs: Annotated[list[RunCreate], Field(min_length=1, max_length=10_000)]


class Origin(StrEnum):
    """Where a run comes from: reported when it had ended, or asked for here.

    Runs of a `schedule` change their mixture as they train: they are compared with each other, and
    enter no fit.
    """

    REPORTED = "reported"
    PROPOSAL = "proposal"
    SWARM = "swarm"
    SCHEDULE = "schedule"


class LeaseRead(AnswerModel):
    """A holder's right to report a run; a higher token is a later holder's."""

    token: int
    expires_at: datetime


class SelectsRead(AnswerModel):
    """What parameters of QuaDMix are expected to select, by domain, for scores without large ties.

    `repetitions` says how often a selected token is seen on average.
    """

    mixture: dict[str, float]
    tokens: dict[str, float]
    repetitions: dict[str, float]
    expected_tokens: float


class RunRead(AnswerModel):
    """A run. `raw_weights` are the weights as sent, where they did not sum to 1 exactly.

    `parameters` take the place of `weights` in a study of another space than that of mixtures;
    `selects` says what those of QuaDMix select, if the study knows the tokens of all its domains.
    `realised_tokens` are what was drawn from each domain, where the trainer told; fits use them
    in place of weights asked for, never of parameters. `late`: reported after its lease had run
    out.
    """

    id: str
    study_id: str
    external_id: str | None
    state: RunState
    fidelity: str
    weights: dict[str, float] | None
    parameters: Parameters | None
    raw_weights: dict[str, float] | None
    metrics: dict[str, float]
    cost: float | None
    metadata: dict[str, Any]
    created_at: datetime
    ended_at: datetime | None
    retraction: dict[str, Any] | None
    origin: Origin
    group_id: str | None
    lease: LeaseRead | None
    started_at: datetime | None
    late: bool
    failure: str | None
    realised_tokens: dict[str, float] | None
    selects: SelectsRead | None


class BatchRead(AnswerModel):
    """What became of a batch: the runs' ids in the order sent."""

    ids: list[str]
    created: int
    already_stored: int


class PointSchema(StrictModel):
    """A point of the loss curve: metrics after `tokens` of training."""

    tokens: Positive
    metrics: Annotated[dict[str, Number], Field(min_length=1)]


class PointsCreate(StrictModel):
    """Points of a run's loss curve."""

    points: Annotated[list[PointSchema], Field(min_length=1, max_length=10_000)]


class PointsRead(AnswerModel):
    """All points of a run, by tokens."""

    points: list[PointSchema]


class Retract(StrictModel):
    """Why a run is taken out of all later fits."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]
