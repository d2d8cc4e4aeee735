"""Wire format of schedules."""

from typing import Annotated, Any

from pydantic import Field

from app.fits.schemas import Seed, Weights
from app.jobs.schemas import JobRead
from app.wire import AnswerModel, Name, Number, Options, StrictModel

MOST_DOCUMENTS = 200_000

TokenCount = Annotated[float, Field(strict=True, ge=1, lt=1e18, allow_inf_nan=False)]


class BudgetSchema(StrictModel):
    """What the training may use.

    `batch_tokens` is of a step where the schedule does not say otherwise; every batch is a multiple
    of `batch_multiple` sequences, data-parallel ranks times micro-batch.
    """

    tokens: TokenCount
    sequence_length: Annotated[int, Field(strict=True, ge=1, le=10**8)]
    batch_tokens: TokenCount
    peak_learning_rate: Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)]
    batch_multiple: Annotated[int, Field(strict=True, ge=1, le=10**8)] = 1


Column = Annotated[list[Number | None], Field(max_length=MOST_DOCUMENTS)]


class DocumentsSchema(StrictModel):
    """A sample of scored documents, as columns: what planners split is estimated from it.

    It is not kept; the schedule keeps its size and digest.
    """

    domain: Annotated[list[Name], Field(min_length=1, max_length=MOST_DOCUMENTS)]
    tokens: Annotated[
        list[Annotated[float, Field(strict=True, gt=0, lt=1e15, allow_inf_nan=False)]],
        Field(max_length=MOST_DOCUMENTS),
    ]
    columns: Annotated[dict[Name, Column], Field(max_length=20)] = Field(default_factory=dict)


class WithinSchema(StrictModel):
    """The schedule of a whole training, whose data from token `begin` on is planned here.

    Its batch sizes and learning rates stay: so a curriculum goes inside an anneal.
    """

    schedule: Name
    begin: Annotated[float, Field(strict=True, ge=0, lt=1e18, allow_inf_nan=False)]


class ScheduleCreate(StrictModel):
    """What to plan.

    It begins with `weights`, or those of `recommendation`; by default with those of the study's
    latest recommendation that succeeded, else with the study's prior.
    """

    planner: Name
    budget: BudgetSchema
    options: Options = Field(default_factory=dict)
    seed: Seed = 0
    recommendation: Name | None = None
    weights: Weights | None = None
    documents: DocumentsSchema | None = None
    within: WithinSchema | None = None


class CheckpointRead(AnswerModel):
    """A checkpoint that is averaged: after so many steps and tokens, with this weight."""

    steps: int
    tokens: int
    weight: float


class StepsOfStage(AnswerModel):
    """The steps of a stage; none where it is shorter than a batch.

    Steps are counted from 0; tokens are those of whole steps. `averaged` lists the checkpoints that
    are averaged when it has ended, oldest first; null in a schedule of an older version.
    """

    first_step: int
    steps: int
    start_token: int
    end_token: int
    averaged: list[CheckpointRead] | None = None


class StepsRead(AnswerModel):
    """How many steps there are, what they train on, and which are of which stage."""

    count: int
    tokens: int
    stages: list[StepsOfStage]


class ScheduleRead(JobRead):
    """A schedule. What comes after `budget` is null until it is planned, and then fixed.

    A stage has `name`, `start_token`, `end_token`, `weights` or `selection`, `batch_tokens`,
    `learning_rate` and `averaging`. A curve goes from `start` at `start_token` to `end` at
    `end_token`, which may lie outside the stage. `worth` says what part of each domain's tokens
    counts, as a repeated token is worth less than a new one; null where a domain's size is unknown.
    `digest` is the SHA-256 of the canonical JSON of the result.
    """

    id: str
    study_id: str
    planner: str
    options: dict[str, Any]
    seed: int
    budget: BudgetSchema
    stages: list[dict[str, Any]] | None = None
    epochs: dict[str, float | None] | None = None
    effective_weights: Weights | None = None
    worth: dict[str, float | None] | None = None
    steps: StepsRead | None = None
    warnings: list[str] | None = None
    evidence: dict[str, Any] | None = None
    provenance: dict[str, Any] | None = None
    digest: str | None = None


class MomentRead(AnswerModel):
    """A moment of a schedule: what is trained on at a token.

    `step` is null in the tokens that are left over after the last whole batch.
    """

    token: float
    step: int | None
    stage: str
    index: int
    weights: Weights | None
    selection: dict[str, Any] | None
    batch_tokens: int
    learning_rate: float


class RepetitionRead(AnswerModel):
    """What repeated tokens cost a model of so many parameters, in nats a token.

    `cost` is `loss` minus `loss_if_fresh`, of as many tokens of which none comes again; both are of
    the corpus that the `law` was fitted to, and mean little by themselves.
    """

    parameters: float
    trained_tokens: float
    unique_tokens: float
    effective_tokens: float
    loss: float
    loss_if_fresh: float
    cost: float
    law: str
