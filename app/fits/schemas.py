"""Wire format of fits and predictions."""

from typing import Annotated, Any

from pydantic import Field

from app.jobs.schemas import JobRead
from app.wire import AnswerModel, Name, StrictModel

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Weights = dict[str, float]


class FitCreate(StrictModel):
    """What to fit.

    Without `fidelity`, at the one with the most usable runs; `multi_fidelity_gp`, which learns from
    the others as well, at the target.
    """

    surrogate: Name = "auto"
    fidelity: Name | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    seed: Seed = 0


class FitSummary(JobRead):
    """A fit without its report. `runs_digest` says which runs it has seen, once it is done."""

    id: str
    study_id: str
    surrogate: str
    fidelity: str | None
    options: dict[str, Any]
    seed: int
    runs_digest: str | None
    study_version: int | None


class FitRead(FitSummary):
    """A fit and how well it predicts; what follows `study_version` is null until it is done.

    Attributes:
        fitted_fidelity: whose runs it was fitted on.
        chosen: the surrogate that predicts, why, and what else was considered.
        metrics: by metric: cross-validated `spearman`, `r2`, `mae`, interval `coverage`, `runs`.
        objective: the same of the objective.
        transfer: by fidelity that was not fitted: `runs`, `metrics` and `objective`.
    """

    fitted_fidelity: str | None = None
    chosen: dict[str, Any] | None = None
    runs_used: int | None = None
    runs_available: int | None = None
    metrics: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    transfer: dict[str, Any] | None = None
    warnings: list[str] | None = None


class OutOfFoldRead(AnswerModel):
    """Every run as predicted by a fit that did not see it, in the order of `run_ids`."""

    run_ids: list[str]
    metrics: dict[str, Any]
    objective: dict[str, Any]


class Predict(StrictModel):
    """Mixtures to predict at, or parameters in a study of another space."""

    mixtures: Annotated[list[Weights], Field(min_length=1, max_length=10_000)] | None = None
    parameters: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=10_000)] | None = (
        None
    )


class IntervalRead(AnswerModel):
    """A prediction with its 90 % interval; null for a metric that could not be fitted."""

    mean: float | None
    lower: float | None
    upper: float | None


class PredictionRead(AnswerModel):
    """What is predicted at one mixture; the objective is lower for better mixtures.

    Outside the hull of the runs a prediction is an extrapolation.
    """

    metrics: dict[str, IntervalRead]
    objective: IntervalRead
    inside_hull: bool


class PredictionsRead(AnswerModel):
    """Predictions in the order of the mixtures or parameters sent."""

    predictions: list[PredictionRead]
