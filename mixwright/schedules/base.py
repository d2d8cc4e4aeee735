"""The schedule: which data, at which batch size and learning rate, over the tokens of a training.

Everything is immutable and in tokens; steps follow from it (`mixwright.schedules.steps`).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.schedules.averaging import Averaging
from mixwright.schedules.curves import Curve

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training may use.

    Attributes:
        tokens: to train on.
        sequence_length: tokens of a sequence.
        batch_tokens: tokens of a step, as it is without a schedule of its own.
        peak_learning_rate: the largest.
        batch_multiple: sequences that a batch is a multiple of: data-parallel ranks times
            micro-batch.

    Raises:
        InvalidInputError: a number out of range, or fewer tokens than one batch.
    """

    tokens: float
    sequence_length: int
    batch_tokens: float
    peak_learning_rate: float
    batch_multiple: int = 1

    def __post_init__(self) -> None:
        for name in ("tokens", "sequence_length", "batch_tokens", "batch_multiple"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 1):
                raise InvalidInputError(
                    f"{name} is {value}; it must be at least 1", f"budget/{name}"
                )
        if not (math.isfinite(self.peak_learning_rate) and self.peak_learning_rate > 0):
            raise InvalidInputError(
                f"peak_learning_rate is {self.peak_learning_rate}; it must be above 0",
                "budget/peak_learning_rate",
            )
        if self.batch_tokens < self.batch_unit:
            raise InvalidInputError(
                f"batch_tokens is {self.batch_tokens:g}, less than the {self.batch_unit} tokens of "
                f"{self.batch_multiple} sequences; make it larger",
                "budget/batch_tokens",
            )
        if self.tokens < self.batch_tokens:
            raise InvalidInputError(
                f"tokens is {self.tokens:g}, less than one batch of {self.batch_tokens:g}; train "
                "on more, or with smaller batches",
                "budget/tokens",
            )

    @property
    def batch_unit(self) -> int:
        """Tokens that a batch is a multiple of."""
        return self.sequence_length * self.batch_multiple

    def border(self, share: float) -> float:
        """Return the end of a whole batch that is nearest to a share of the tokens.

        Raises:
            InvalidInputError: no whole batch is left on one of its sides.
        """
        found = round(self.tokens * share / self.batch_tokens) * self.batch_tokens
        if not 0 < found < self.tokens:
            raise InvalidInputError(
                f"a stage that ends at {share:.3g} of {self.tokens:g} tokens leaves less than one "
                f"batch of {self.batch_tokens:g} to a stage",
                "budget/tokens",
            )
        return found

    def rounded(self, batch_tokens: float) -> int:
        """Return the nearest batch that can be trained, at least one unit, in tokens."""
        return self.batch_unit * max(1, round(batch_tokens / self.batch_unit))


@dataclass(frozen=True, slots=True)
class Stage:
    """An interval of tokens with its data, batch size and learning rate.

    Attributes:
        name: unique within the schedule.
        start_token: where it begins.
        end_token: where it ends.
        batch: tokens of a step, before rounding.
        rate: learning rate.
        weights: share by domain, or None where documents are selected.
        selection: what selects documents: JSON values that name a column and a range, with
            `tokens` by domain where they are known. None where a mixture is drawn.
        averaging: of checkpoints, or None.

    Raises:
        InvalidInputError: it has no tokens; both or neither of `weights` and `selection`; weights
            that are not a mixture.
    """

    name: str
    start_token: float
    end_token: float
    batch: Curve
    rate: Curve
    weights: Mapping[str, float] | None = None
    selection: Mapping[str, Any] | None = None
    averaging: Averaging | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_token < self.end_token < math.inf:
            raise InvalidInputError(
                f"stage '{self.name}' has no tokens: it begins at {self.start_token:g} and ends at "
                f"{self.end_token:g}",
                f"stages/{self.name}",
            )
        if (self.weights is None) == (self.selection is None):
            raise InvalidInputError(
                f"stage '{self.name}' needs either weights or a selection of documents",
                f"stages/{self.name}",
            )
        if self.weights is not None and not _is_mixture(self.weights):
            raise InvalidInputError(
                f"the weights of stage '{self.name}' must be at least 0 and sum to 1; they are "
                f"{dict(self.weights)}",
                f"stages/{self.name}/weights",
            )

    @property
    def tokens(self) -> float:
        """How many it trains on."""
        return self.end_token - self.start_token

    def domain_tokens(self) -> dict[str, float]:
        """Return the tokens of each domain; empty where a selection does not say."""
        if self.weights is not None:
            return {name: share * self.tokens for name, share in self.weights.items()}
        assert self.selection is not None  # noqa: S101  - one of the two
        return dict(self.selection.get("tokens") or {})

    def cut(self) -> "Stage":
        """Return the same stage, whose constants reach no further: later stages leave it alone."""
        batch, rate = self.batch.until(self.end_token), self.rate.until(self.end_token)
        return replace(self, batch=batch, rate=rate)

    def agrees(self, other: "Stage") -> bool:
        """Return whether both train alike; how far a constant reaches beyond them is no matter."""
        return self.cut() == other.cut()

    def to_json(self) -> dict[str, Any]:
        """Return the stage as JSON values."""
        data = {"weights": dict(self.weights)} if self.weights is not None else {}
        data |= {"selection": dict(self.selection)} if self.selection is not None else {}
        return {
            "name": self.name,
            "start_token": self.start_token,
            "end_token": self.end_token,
            **data,
            "batch_tokens": self.batch.to_json(),
            "learning_rate": self.rate.to_json(),
            "averaging": None if self.averaging is None else self.averaging.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Stage":
        """Return the stage that `to_json` wrote."""
        averaging = document.get("averaging")
        return cls(
            name=document["name"],
            start_token=document["start_token"],
            end_token=document["end_token"],
            batch=Curve.from_json(document["batch_tokens"]),
            rate=Curve.from_json(document["learning_rate"]),
            weights=document.get("weights"),
            selection=document.get("selection"),
            averaging=None if averaging is None else Averaging(**averaging),
        )


def _is_mixture(weights: Mapping[str, float]) -> bool:
    return abs(sum(weights.values()) - 1) <= _ROUNDING and min(weights.values()) >= 0


@dataclass(frozen=True)
class Schedule:
    """Stages in order, without gaps, over a token budget.

    Attributes:
        budget: what the training may use.
        stages: the first begins at 0, the last ends at the budget.
        warnings: what to know before training.
        evidence: what the planner computed besides, as JSON values.

    Raises:
        InvalidInputError: there is no stage, a gap, an overlap, a name that comes twice.
    """

    budget: Budget
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise InvalidInputError(f"stages must be named, each once: {names}", "stages")
        ends = [0.0, *(stage.end_token for stage in self.stages)]
        for before, stage in zip(ends, self.stages, strict=False):
            if stage.start_token != before:
                raise InvalidInputError(
                    f"stage '{stage.name}' begins at token {stage.start_token:g}, the one before "
                    f"ends at {before:g}",
                    f"stages/{stage.name}/start_token",
                )
        if ends[-1] != self.budget.tokens:
            raise InvalidInputError(
                f"the stages end at token {ends[-1]:g} and the budget is {self.budget.tokens:g}",
                "stages",
            )

    def stage_at(self, token: float) -> Stage:
        """Return the stage that a token belongs to.

        Raises:
            InvalidInputError: the token is not of this training.
        """
        if not 0 <= token < self.budget.tokens:
            raise InvalidInputError(
                f"token {token:g} is not of this training, which has {self.budget.tokens:g}",
                "token",
            )
        return next(stage for stage in self.stages if token < stage.end_token)

    @cached_property
    def domain_tokens(self) -> dict[str, float]:
        """Tokens of each domain over all stages; empty where a selection does not say."""
        parts = [stage.domain_tokens() for stage in self.stages]
        if not all(parts):
            return {}
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: math.fsum(part.get(name, 0.0) for part in parts) for name in names}

    @property
    def effective_weights(self) -> dict[str, float]:
        """Shares of the domains over all stages, token-weighted; empty where not known."""
        total = math.fsum(self.domain_tokens.values())
        return {name: tokens / total for name, tokens in self.domain_tokens.items()}

    def to_json(self) -> dict[str, Any]:
        """Return budget and stages as JSON values: what has to be known to train it."""
        return {"budget": asdict(self.budget), "stages": [one.to_json() for one in self.stages]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Schedule":
        """Return the schedule that `to_json` wrote.

        Raises:
            InvalidInputError: the stages are no schedule of the budget.
        """
        stages = tuple(Stage.from_json(one) for one in document["stages"])
        return cls(Budget(**document["budget"]), stages)

    def epochs(self, unique_tokens: Mapping[str, float | None]) -> dict[str, float | None]:
        """Return how often each domain is seen over all stages; None where its size is unknown."""
        found: dict[str, float | None] = {}
        for name, tokens in self.domain_tokens.items():
            unique = unique_tokens.get(name)
            found[name] = None if unique is None else tokens / unique
        return found
