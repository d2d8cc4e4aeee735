"""Wire format of ask and tell."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.runs.schemas import Cost, Parameters, RunRead, Weight
from app.suggestions.schemas import Options, OutlierRead, Reason, Recommended, Stopping
from app.wire import AnswerModel, Name, Number, StrictModel

LeaseSeconds = Annotated[float, Field(strict=True, gt=0, le=30 * 86400, allow_inf_nan=False)]
LeaseToken = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Tokens = Annotated[float, Field(strict=True, ge=0, lt=1e30, allow_inf_nan=False)]


class PoolEntry(StrictModel):
    """A mixture, or parameters of another space, and a fidelity that may be proposed."""

    weights: dict[str, Weight] | None = None
    parameters: Parameters | None = None
    fidelity: Name


class Ask(StrictModel):
    """Asks for runs to train.

    `fidelity` null: the study's cheapest for `swarm` and `climb`, what teaches most for
    `bayesopt`. `wait`, seconds: how long `bayesopt` may take to choose from a pool, or how long to
    wait for suggestions that know every result there is; after it, those that are ready are given.
    """

    count: Annotated[int, Field(strict=True, ge=0, le=1000)] = 1
    strategy: Literal["swarm", "climb", "bayesopt"] = "swarm"
    fidelity: Name | None = None
    lease_seconds: LeaseSeconds = 3600.0
    wait: Annotated[float, Field(strict=True, ge=0, le=60)] = 30.0
    seed: Seed = 0
    pool: Annotated[list[PoolEntry], Field(min_length=1, max_length=10_000)] | None = None
    options: Options = Options()


class ProposalRead(RunRead):
    """A leased run; `pool_index` is its place in the pool, where one was sent."""

    pool_index: int | None = None


class Shortfall(AnswerModel):
    """Why fewer runs came than were asked for."""

    reason: Reason
    detail: str


class ProposalsRead(AnswerModel):
    """Runs leased to the asker, and what `bayesopt` knows.

    `outliers`: runs that cannot be what they say, and were given no weight.
    """

    items: list[ProposalRead]
    shortfall: Shortfall | None
    recommendation: Recommended | None = None
    stopping: Stopping | None = None
    outliers: list[OutlierRead] = Field(default_factory=list)


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
