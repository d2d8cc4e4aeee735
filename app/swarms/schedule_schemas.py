"""Wire format of the schedules that a swarm trains, and of how they compare."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.schedules.schemas import BudgetSchema, TokenCount
from app.wire import AnswerModel, Name, Number, Options, StrictModel


class CurveSchema(StrictModel):
    """A value from `start` at `start_token` to `end` at `end_token`."""

    start: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    end: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    shape: str = "constant"
    start_token: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    end_token: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AveragingSchema(StrictModel):
    """Checkpoints that are averaged at a stage's end."""

    method: str = "simple"
    checkpoints: Annotated[int, Field(strict=True, ge=2, le=1000)] = 6
    share: float = 0.2
    decay: float = 0.5


class ConditionSchema(StrictModel):
    """A range of a column of documents."""

    column: Name
    above: Number | None = None
    up_to: Number | None = None


class SelectionSchema(BaseModel):
    """What selects documents: conditions, or a subset of every domain."""

    model_config = ConfigDict(extra="allow")

    where: list[ConditionSchema] | None = None
    tokens: dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    handover: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] | None = None
    subset_tokens: TokenCount | None = None
    best_by: Name | None = None


class StageSchema(StrictModel):
    """A stage, as `GET /v1/schedules/{schedule}` answers it."""

    name: Name
    start_token: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    end_token: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    batch_tokens: CurveSchema
    learning_rate: CurveSchema
    weights: dict[str, float] | None = None
    selection: SelectionSchema | None = None
    averaging: AveragingSchema | None = None


class GivenSchedule(StrictModel):
    """A whole schedule: its budget and stages."""

    budget: BudgetSchema
    stages: Annotated[list[StageSchema], Field(min_length=1, max_length=1000)]


class DesignSchedule(StrictModel):
    """A schedule under a name: whole, or a planner with options, planned for the proxies' budget.

    A planner begins with the study's prior, and has no documents: plan one that needs them first,
    by `POST /v1/studies/{study}/schedules`, and name its id.
    """

    name: Name
    schedule: GivenSchedule | None = None
    planner: Name | None = None
    options: Options = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "DesignSchedule":
        if (self.schedule is None) == (self.planner is None):
            raise ValueError("give a `schedule` or a `planner`")
        return self


class IntervalRead(AnswerModel):
    """A mean over seeds and its 95 % interval by Student's t, null where there is one seed."""

    mean: float
    lower: float | None
    upper: float | None
    count: int


class ComparedSchedule(AnswerModel):
    """A schedule of a swarm: the study's objective, lower is better, and means of its metrics.

    `difference` is its objective minus the baseline's, paired by seed.
    """

    name: str
    runs: int
    ended: int
    objective: IntervalRead | None
    difference: IntervalRead | None
    metrics: dict[str, float]


class ComparisonRead(AnswerModel):
    """The schedules of a swarm against the first of them."""

    swarm_id: str
    baseline: str
    schedules: list[ComparedSchedule]
