"""Wire format of ask and tell."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from app.runs.schemas import Cost, RunRead, Weight
from app.wire import AnswerModel, Name, Number, StrictModel

Reason: TypeAlias = Literal["budget", "pool", "time"]
LeaseSeconds = Annotated[float, Field(strict=True, gt=0, le=30 * 86400, allow_inf_nan=False)]
LeaseToken = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Tokens = Annotated[float, Field(strict=True, ge=0, lt=1e30, allow_inf_nan=False)]


class PoolEntry(StrictModel):
    """A mixture and fidelity that may be proposed."""

    weights: dict[str, Weight]
    fidelity: Name


class SwarmOptions(StrictModel):
    """How a swarm's mixtures are drawn."""

    design: Literal["dirichlet", "space_filling"] = "dirichlet"


class Ask(StrictModel):
    """Asks for runs to train.

    `fidelity` null: the study's cheapest for `swarm`, what teaches most for `bayesopt`. `wait` is
    how long `bayesopt` may think, seconds. `options` are those of `swarm`.
    """

    count: Annotated[int, Field(strict=True, ge=0, le=1000)] = 1
    strategy: Literal["swarm", "bayesopt"] = "swarm"
    fidelity: Name | None = None
    lease_seconds: LeaseSeconds = 3600.0
    wait: Annotated[float, Field(strict=True, ge=0, le=60)] = 30.0
    seed: Seed = 0
    pool: Annotated[list[PoolEntry], Field(min_length=1, max_length=10_000)] | None = None
    options: SwarmOptions = SwarmOptions()


class ProposalRead(RunRead):
    """A leased run; `pool_index` is its place in the pool, where one was sent."""

    pool_index: int | None = None


class Shortfall(AnswerModel):
    """Why fewer runs came than were asked for."""

    reason: Reason
    detail: str


class Recommended(AnswerModel):
    """The mixture with the best expected objective at the target fidelity, as things stand.

    `objective` has a 90 % interval of the mean; `pool_index` is the place in the pool, if one was
    sent.
    """

    weights: dict[str, float]
    objective: dict[str, float]
    pool_index: int | None


class Stopping(AnswerModel):
    """What going on is worth: the gain in the objective that a target run's cost may buy."""

    expected_gain: float
    cost: float
    sentence: str


class ProposalsRead(AnswerModel):
    """Runs leased to the asker."""

    items: list[ProposalRead]
    shortfall: Shortfall | None
    recommendation: Recommended | None = None
    stopping: Stopping | None = None


class Heartbeat(StrictModel):
    """Says that the holder is alive."""

    lease_token: LeaseToken


class HeartbeatRead(AnswerModel):
    """Until when the lease holds now."""

    expires_at: datetime


class Complete(StrictModel):
    """What the run showed.

    `realised_tokens`: what was drawn from every domain, where that differs from what was asked.
    `metadata` is added to the run's own.
    """

    lease_token: LeaseToken
    metrics: Annotated[dict[str, Number], Field(min_length=1)]
    cost: Cost | None = None
    realised_tokens: dict[str, Tokens] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class Fail(StrictModel):
    """Why there will be no result."""

    lease_token: LeaseToken
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class AttemptRead(AnswerModel):
    """An answer to a run's lease: its result, or one that came when there was one."""

    lease_token: int
    is_result: bool
    answered_at: datetime
    answer: dict[str, Any]


class AttemptsRead(AnswerModel):
    """All answers to a run's leases, oldest holder first."""

    items: list[AttemptRead]
