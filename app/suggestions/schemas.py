"""Wire format of Bayesian optimisation: how it is asked for, and what it says."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from app.wire import AnswerModel, Name, Number, StrictModel
from mixwright.bayesopt.aims import Wanted
from mixwright.bayesopt.recipes import Recipe

Reason: TypeAlias = Literal["budget", "pool", "round", "rounds", "time", "none_ready"]

Rounds: TypeAlias = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=1000)], ...],
    Field(min_length=1, max_length=20),
]


class BayesoptOptions(StrictModel):
    """How Bayesian optimisation proposes.

    `recipe`: how the next run is chosen, by default our own way. `wanted`: the objective's weighted
    sum, its worst metric, a front of its metrics, or the sum while metrics stay within `bounds`
    (the worst value allowed, as measured). `curves`: whether points of loss curves are learned
    from.
    """

    recipe: Recipe = Recipe.OWN
    wanted: Wanted = Wanted.OBJECTIVE
    bounds: Annotated[dict[Name, Number], Field(max_length=100)] = Field(default_factory=dict)
    curves: bool = False


class Options(BayesoptOptions):
    """How runs are proposed: the others are those of `bayesopt`.

    `design` is that of `swarm`, by default the space's own: `dirichlet` for mixtures and weights of
    raters, `sampler` for QuaDMix. `rounds`: how many runs each round of `climb` has, by default 64,
    32 and 16.
    """

    design: Literal["dirichlet", "sampler", "space_filling"] | None = None
    rounds: Rounds | None = None

    @property
    def needs_botorch(self) -> bool:
        """Whether BoTorch has to be installed."""
        return self.recipe is Recipe.ADMIRE or self.wanted is Wanted.PARETO


class FrontEntry(AnswerModel):
    """A mixture that no other is expected to be better than in every metric, and its metrics."""

    weights: dict[str, float] | None = None
    parameters: dict[str, Any] | None = None
    metrics: dict[str, float]


class Recommended(AnswerModel):
    """The point with the best expected outcome at the target fidelity, as things stand.

    It has `weights` in a study of mixtures, `parameters` in one of another space.

    `objective` has a 90 % interval of the mean; `pool_index` is the place in the pool, if one was
    sent. `front`: where a front is wanted, all of it, the recommended mixture first.
    """

    weights: dict[str, float] | None = None
    parameters: dict[str, Any] | None = None
    objective: dict[str, float]
    pool_index: int | None
    front: list[FrontEntry] | None = None


class Stopping(AnswerModel):
    """What going on is worth: the gain in the objective that a target run's cost may buy.

    `regret` is by how much the recommended mixture is expected to miss the best one, and, as
    `upper`, what it misses it by with a probability of 5 % or less.
    """

    expected_gain: float
    cost: float
    regret: dict[str, float]
    sentence: str


class FidelityKnown(AnswerModel):
    """What is known of a fidelity.

    `correlation` with the target has a 90 % interval; `gain` is what runs here are expected to
    improve the recommendation by, for what a target run costs (null: not compared).
    """

    name: str
    runs: int
    spent: float
    correlation: dict[str, float] | None
    noise: float
    gain: float | None


class OutlierRead(AnswerModel):
    """A run that cannot be what it says, and was given no weight; `metric` null: the objective."""

    run: str
    metric: str | None
    value: float
    expected: float


class Step(AnswerModel):
    """What the optimiser thought once it had so many runs."""

    runs: int
    spent: float
    recommendation: Recommended
    stopping: Stopping | None
    fidelities: list[FidelityKnown]
    outliers: list[OutlierRead]
    runs_digest: str
    seed: int
    version: str


class StepRead(Step):
    """A step, and when it was made."""

    created_at: datetime


class OptimisationRead(AnswerModel):
    """The history of an optimisation, oldest step first."""

    fidelity: str | None
    seed: int
    options: Options
    steps: list[StepRead]


class OptimisationsRead(AnswerModel):
    """Every way in which suggestions were asked for in a study."""

    items: list[OptimisationRead]
