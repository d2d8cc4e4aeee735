"""Wire format of swarms."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.jobs.schemas import JobRead
from app.proposals.schemas import LeaseToken, Seed, Tokens
from app.runs.schemas import Weight
from app.studies.schemas import Positive
from app.swarms.schedule_schemas import DesignSchedule
from app.wire import AnswerModel, Name, Number, Share, StrictModel

Size = Annotated[int, Field(strict=True, ge=1, le=10**6)]
LeaseSeconds = Annotated[float, Field(strict=True, gt=0, le=3600, allow_inf_nan=False)]


class DesignSchema(StrictModel):
    """Which points of the study's space to train: mixtures, or parameters.

    By default the space's own design: `sampler` of QuaDMix, else `dirichlet`. `given`:
    those in `mixtures` or `parameters`. `proposals`: the leased runs in `runs`, which the swarm
    takes over from whoever asked for them. `schedules`: those in `schedules`, by id or in place,
    each trained with every seed, to be compared: see `GET /v1/swarms/{swarm}/comparison`.
    """

    kind: (
        Literal["dirichlet", "sampler", "space_filling", "given", "proposals", "schedules"] | None
    ) = None
    seed: Seed = 0
    mixtures: Annotated[list[dict[str, Weight]], Field(min_length=1, max_length=4096)] | None = None
    parameters: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=4096)] | None = None
    runs: Annotated[list[Name], Field(min_length=1, max_length=4096)] | None = None
    schedules: (
        Annotated[list[Name | DesignSchedule], Field(min_length=1, max_length=100)] | None
    ) = None

    @model_validator(mode="after")
    def _schedules_are_named_once(self) -> "DesignSchema":
        if (self.kind == "schedules") != (self.schedules is not None):
            raise ValueError("`schedules` and the kind `schedules` need each other")
        names = [one if isinstance(one, str) else one.name for one in self.schedules or ()]
        if len(set(names)) < len(names):
            raise ValueError("`schedules` names one twice")
        return self

    @model_validator(mode="after")
    def _mixtures_are_given(self) -> "DesignSchema":
        if self.mixtures is not None and self.parameters is not None:
            raise ValueError("give `mixtures` or `parameters`, as the study's space has them")
        if (self.kind == "given") != (self.given is not None):
            raise ValueError("`mixtures` or `parameters` and the kind `given` need each other")
        if (self.kind == "proposals") != (self.runs is not None):
            raise ValueError("`runs` and the kind `proposals` need each other")
        if self.runs is not None and len(set(self.runs)) < len(self.runs):
            raise ValueError("`runs` names a run twice")
        return self

    @property
    def given(self) -> list[dict[str, Any]] | None:
        """The points that are given, if any are."""
        return self.mixtures or self.parameters

    @property
    def named(self) -> int | None:
        """How many points are named, if any are."""
        named = self.given or self.runs or self.schedules
        return None if named is None else len(named)


class ModelSchema(StrictModel):
    """A decoder: a preset, with whatever is named beside it changed. See docs/proxies.md."""

    preset: Literal["65k", "1m", "15m", "30m", "60m"] | None = None
    layers: Size | None = None
    width: Size | None = None
    heads: Size | None = None
    feed_forward: Size | None = None
    context: Size | None = None
    tied: bool | None = None


class OptimizerSchema(StrictModel):
    """AdamW and its schedule, the same for every mixture of the swarm.

    `learning_rate`: a number; `step_law`, which also gives the batch where `batch_sequences` is
    left out; or `sweep`, four rates around the step law's tried on the prior first. `warmup` and
    `decay` are shares of the steps.
    """

    learning_rate: Positive | Literal["step_law", "sweep"] = "step_law"
    schedule: Literal["wsd", "cosine", "linear", "constant"] = "wsd"
    warmup: Share = 0.05
    decay: Share = 0.2
    weight_decay: Annotated[float, Field(strict=True, ge=0, le=10)] = 0.1
    beta1: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.95
    clip: Positive = 1.0
    batch_sequences: Size | None = None


class SamplingSchema(StrictModel):
    """How batches are drawn.

    `target_tokens`: draw from pools so small that a domain is repeated as often as it would be in
    a run of that many tokens (simulated epoching). `budget_tokens`: how many tokens of the corpus
    the best documents may have, in a study of Meta-rater, whose points do not say it.
    """

    mode: Literal["replacement", "epochs"] = "replacement"
    max_epochs: Positive | None = None
    target_tokens: Positive | None = None
    budget_tokens: Positive | None = None

    @model_validator(mode="after")
    def _epochs_are_counted(self) -> "SamplingSchema":
        if self.max_epochs is not None and self.mode != "epochs":
            raise ValueError("`max_epochs` needs the mode `epochs`")
        return self


class EvaluationSchema(StrictModel):
    """At which shares of the tokens to evaluate, on how many windows of each domain."""

    at: Annotated[list[Share], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: [0.125, 0.25, 0.5, 1.0]
    )
    windows: Annotated[int, Field(strict=True, ge=2, le=10_000)] = 64

    @model_validator(mode="after")
    def _ends_at_the_end(self) -> "EvaluationSchema":
        if sorted(set(self.at)) != self.at or self.at[0] <= 0 or self.at[-1] != 1:
            raise ValueError("`at` has to ascend from above 0 to 1")
        return self


class TrainerSchema(StrictModel):
    """How each proxy is trained. `tokens` left out: those of the fidelity.

    `seed` gives initial weights and batches; all mixtures share them, so that proxies differ by
    their mixture alone. `replicates` trains each mixture with that many seeds. `width` is how many
    proxies train together. `keep`: workers keep trained proxies, which can score documents.
    """

    corpus: Name
    model: ModelSchema = ModelSchema(preset="1m")
    optimizer: OptimizerSchema = OptimizerSchema()
    sampling: SamplingSchema = SamplingSchema()
    evaluation: EvaluationSchema = EvaluationSchema()
    tokens: Annotated[int, Field(strict=True, ge=1, le=10**15)] | None = None
    replicates: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    seed: Seed = 0
    width: Annotated[int, Field(strict=True, ge=1, le=1024)] = 16
    compile: bool = False
    keep: bool = False


class SwarmCreate(StrictModel):
    """Asks for a swarm: `count` points by a design, each trained `replicates` times.

    In a study whose space has raters a proxy is trained on the documents that its parameters
    select, so the corpus needs their scores.
    """

    count: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = None
    fidelity: Name
    design: DesignSchema = DesignSchema()
    trainer: TrainerSchema

    @model_validator(mode="after")
    def _count_is_known(self) -> "SwarmCreate":
        given = self.design.named
        if given is not None and self.design.runs and self.trainer.replicates != 1:
            raise ValueError("a proposal is one run: `replicates` has to be 1")
        if self.count is None and given is None:
            raise ValueError("say how many mixtures: `count`")
        if self.count is not None and given not in (None, self.count):
            raise ValueError(f"`count` is {self.count}, but {given} points are given")
        return self


class SwarmRead(JobRead):
    """A swarm and how far it has come; `seconds_left` is known once a worker is at it."""

    id: str
    study_id: str
    fidelity: str
    corpus_id: str
    runs_total: int
    runs_done: int
    runs_failed: int
    runs_cancelled: int
    runs_left: int
    tokens_per_second: float
    seconds_left: float | None
    workers: list[str]
    design: dict[str, Any]
    trainer: dict[str, Any]
    warnings: list[str]


class Claim(StrictModel):
    """A worker's wish to train a group."""

    worker: Name
    lease_seconds: LeaseSeconds = 60.0


class GroupLease(AnswerModel):
    """A worker's hold on a group; the token is also that of the group's runs."""

    token: int
    expires_at: datetime


class ClaimRead(AnswerModel):
    """What to train. `ended`: runs that need no report. `metrics`: those the study knows."""

    lease: GroupLease
    order: dict[str, Any]
    purpose: Literal["runs", "sweep"]
    metrics: list[str]
    ended: list[str]


class GroupPoint(StrictModel):
    """A point of a run's loss curve."""

    run: Name
    tokens: Positive
    metrics: Annotated[dict[str, Number], Field(min_length=1)]


class GroupHeartbeat(StrictModel):
    """Says how far a group has come."""

    lease_token: LeaseToken
    progress: Share
    tokens_per_second: Annotated[float, Field(strict=True, ge=0, lt=1e15)] | None = None
    points: Annotated[list[GroupPoint], Field(max_length=10_000)] = Field(default_factory=list)


class GroupHeartbeatRead(AnswerModel):
    """Until when the lease holds now."""

    expires_at: datetime


class GroupResult(StrictModel):
    """How a run of the group ended: with metrics, or with a reason for having none."""

    run: Name
    metrics: Annotated[dict[str, Number], Field(min_length=1)] | None = None
    realised_tokens: dict[str, Tokens] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    reason: Annotated[str, Field(min_length=1, max_length=2000)] | None = None

    @model_validator(mode="after")
    def _ended_one_way(self) -> "GroupResult":
        if (self.metrics is None) == (self.reason is None):
            raise ValueError("a run ends with `metrics` or with a `reason`")
        return self


class GroupComplete(StrictModel):
    """Reports the runs of a group and ends it; a sweep tells the rate it chose.

    Results are kept even from a worker that has lost the group: see `POST /v1/runs/{run}/complete`.
    """

    lease_token: LeaseToken
    results: Annotated[list[GroupResult], Field(max_length=1024)] = Field(default_factory=list)
    learning_rate: Positive | None = None


class GroupFail(StrictModel):
    """Why a group, and every run of it that has not ended, will have no result."""

    lease_token: LeaseToken
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class GroupRead(JobRead):
    """A group of a swarm."""

    id: str
    swarm_id: str
    purpose: str
    worker: str | None
    attempt: int
    tokens_per_second: float | None
