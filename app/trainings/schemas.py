"""Wire format of trainings."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from app.fits.schemas import Seed
from app.runs.schemas import Weight
from app.wire import AnswerModel, Name, Options, StrictModel

Step = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Version = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Measured = Annotated[float, Field(strict=True, allow_inf_nan=True)]
"""A number that is refused where it is not finite, but as an observation, which is counted."""
ByDomain = dict[Name, Measured | None]


def _are_different(names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"'{twice[0]}' comes twice")
    return names


DomainNames = Annotated[
    list[Name], Field(min_length=1, max_length=10_000), AfterValidator(_are_different)
]


class Policy(StrEnum):
    """Whether versions are served as they come, or wait for a person's approval."""

    AUTO = "auto"
    APPROVE = "approve"


class Fate(StrEnum):
    """What became of a version; a training that was resumed before it made it void."""

    PUBLISHED = "published"
    PROPOSED = "proposed"
    VOID = "void"


class TrainingCreate(StrictModel):
    """A training whose weights are to be kept here.

    `domains` and `initial_weights` are by default those of the study, its prior; without a study
    the weights are even. `options` are the algorithm's and the guards'.

    With a `schedule`, the ledger is the schedule's: an entry for each stage, from its first step
    on. Study and domains are then the schedule's, what is observed is kept, and there is no
    algorithm. Without one, an `algorithm` is needed.
    """

    name: Name
    study: Name | None = None
    domains: DomainNames | None = None
    algorithm: Name | None = None
    schedule: Name | None = None
    options: Options = Field(default_factory=dict)
    initial_weights: dict[Name, Weight] | None = None
    lead_steps: Annotated[int, Field(strict=True, ge=0, le=10**9)] = 0
    policy: Policy = Policy.AUTO
    seed: Seed = 0


class TrainingPatch(StrictModel):
    """The schedule to follow from now on; stages that have begun have to be the same."""

    schedule: Name


class Table(StrictModel):
    """A matrix with names on its axes."""

    model_config = ConfigDict(allow_inf_nan=True)

    rows: Annotated[list[Name], Field(max_length=10_000)]
    columns: Annotated[list[Name], Field(max_length=10_000)]
    values: list[list[Measured | None]]


class BlockLosses(StrictModel):
    """Losses of blocks of documents."""

    ids: list[Annotated[int, Field(strict=True, ge=0, lt=2**53)]]
    losses: list[Measured | None]


class ObservationCreate(StrictModel):
    """What a trainer measured at a step; `requires` of the training says what of it is needed.

    Numbers by domain are null where a domain was not seen. `weights_version` is the version that
    the batch was drawn with.
    """

    step: Step
    losses: ByDomain | None = None
    excess_losses: ByDomain | None = None
    rewards: ByDomain | None = None
    alignment: ByDomain | None = None
    grad_norms: ByDomain | None = None
    grad_norms_squared: ByDomain | None = None
    grad_variances: ByDomain | None = None
    gram: Table | None = None
    influence: Table | None = None
    probe_losses: Table | None = None
    block_losses: BlockLosses | None = None
    scores: dict[Name, Measured] | None = None
    learning_rate: Measured | None = None
    batch_size: Measured | None = None
    weights_version: Version | None = None


class ResumeCreate(StrictModel):
    """A trainer goes on from a checkpoint of `step`; `version` is the newest that it holds."""

    step: Step
    version: Version


class RollbackCreate(StrictModel):
    """The version whose weights are wanted back."""

    version: Version


class DomainsCreate(StrictModel):
    """A new set of domains.

    `origin` says, by new name, which domain it was, or null for a new one; where it says nothing a
    domain is the one of its name before. Without `weights` old domains keep their proportions, and
    a new one gets what it would have in an even mixture. `options` are those that change with the
    domains, each as a whole, such as `target_losses`; the others stay.
    """

    domains: DomainNames
    origin: dict[Name, Name | None] = Field(default_factory=dict)
    weights: dict[Name, Weight] | None = None
    options: Options | None = None


class AckCreate(StrictModel):
    """From which step on a trainer really used a version."""

    version: Version
    applied_step: Step


class WeightsRead(AnswerModel):
    """The weights in force: use them from `effective_step` on, or as soon after as you can."""

    version: int
    effective_step: int
    weights: dict[str, float]


class OutcomeRead(WeightsRead):
    """What came of an event: the weights in force after it.

    `applied` says whether the event changed anything, `reason` why not, or why the weights stay.
    `proposal` is a version that waits for approval. `plan` is what the trainer is to measure next,
    `diagnostics` what the algorithm thought, `warnings` what a person should look at.
    """

    applied: bool
    reason: str | None
    proposal: WeightsRead | None
    plan: dict[str, Any]
    diagnostics: dict[str, Any]
    warnings: list[str]


class TrainingRead(WeightsRead):
    """A training and the weights in force.

    `options` are those in force: of the registration, or since a change of domains. `requires` is
    what an observation has to carry, `plan` what is to be measured next. `position` is the step of
    the last observation that was applied. `refused` counts observations that were answered 422.
    `schedule` is what the weights follow, if not the algorithm.
    """

    id: str
    name: str
    study_id: str | None
    domains: list[str]
    algorithm: str
    schedule: str | None = None
    options: dict[str, Any]
    lead_steps: int
    policy: Policy
    seed: int
    requires: dict[str, Any]
    plan: dict[str, Any]
    position: int
    refused: int
    warnings: list[str]
    created_at: datetime


class TrainingSummary(WeightsRead):
    """A training in a list."""

    id: str
    name: str
    study_id: str | None
    algorithm: str
    policy: Policy
    created_at: datetime


class EntryRead(WeightsRead):
    """A line of the ledger; `applied_step` is what the trainer acknowledged last."""

    state: Fate
    applied_step: int | None
    created_at: datetime


class AckRead(AnswerModel):
    """What was acknowledged."""

    version: int
    applied_step: int


class EventRead(AnswerModel):
    """What happened, and what was answered; `digest` is that of the training's state after it."""

    number: int
    kind: str
    content: dict[str, Any]
    answer: dict[str, Any]
    digest: str
    created_at: datetime
