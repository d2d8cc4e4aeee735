"""From a schedule in tokens to the steps of a trainer, exactly.

A step begins where the one before ended, and its batch is what the schedule says there, rounded to
what can be trained. The last step is the last whole one, so that the batches sum to the budget but
for less than one batch, and no domain is asked for more than it was planned for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.schedules.base import Schedule, Stage

MOST_SPANS: Final = 100_000
"""Batch sizes in a row that a schedule may have."""


@dataclass(frozen=True, slots=True)
class Span:
    """Steps in a row of one stage with one batch size.

    Attributes:
        stage: index of the stage.
        first_step: counted from 0.
        steps: how many.
        start_token: where the first one begins.
        batch_tokens: what each trains on.
    """

    stage: int
    first_step: int
    steps: int
    start_token: int
    batch_tokens: int

    @property
    def end_token(self) -> int:
        """Where the last step ends."""
        return self.start_token + self.steps * self.batch_tokens


@dataclass(frozen=True, slots=True)
class StageSteps:
    """What a stage is to a trainer; empty where no step begins within it.

    Attributes:
        first_step: counted from 0.
        steps: how many.
        start_token: where the first one begins.
        end_token: where the last one ends.
    """

    first_step: int
    steps: int
    start_token: int
    end_token: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Every step of a training.

    Attributes:
        start_token: shape `(s,)`, where each begins.
        batch_tokens: shape `(s,)`, what it trains on.
        learning_rate: shape `(s,)`.
        stage: shape `(s,)`, index of its stage.
    """

    start_token: IntArray
    batch_tokens: IntArray
    learning_rate: FloatArray
    stage: IntArray

    def __len__(self) -> int:
        return len(self.batch_tokens)

    @property
    def tokens(self) -> int:
        """What all of them train on."""
        return int(self.batch_tokens.sum())


def spans_of(schedule: Schedule) -> tuple[Span, ...]:
    """Return the steps of a schedule, those of one batch size together.

    A stage lasts until a step begins beyond it. The work is in proportion to the number of batch
    sizes, not of steps.

    Raises:
        InvalidInputError: batches change more often than `MOST_SPANS`.
    """
    spans: list[Span] = []
    step = token = 0
    for index, stage in enumerate(schedule.stages):
        for batch, count in _batches(schedule, stage, token):
            spans.append(Span(index, step, count, token, batch))
            step, token = step + count, token + count * batch
            if len(spans) > MOST_SPANS:
                raise InvalidInputError(
                    f"the batch takes more than {MOST_SPANS} sizes in a row; make it a multiple of "
                    "more sequences",
                    "budget/batch_multiple",
                )
    return tuple(spans)


def stage_steps(schedule: Schedule, spans: tuple[Span, ...]) -> tuple[StageSteps, ...]:
    """Return the steps of every stage, of a schedule and what `spans_of` returned of it."""
    found, step, token = [], 0, 0
    for index in range(len(schedule.stages)):
        own = [span for span in spans if span.stage == index]
        count = sum(span.steps for span in own)
        end = own[-1].end_token if own else token
        found.append(StageSteps(step, count, token, end))
        step, token = step + count, end
    return tuple(found)


def steps_of(schedule: Schedule) -> Steps:
    """Return every step of a schedule; raises as `spans_of` does."""
    spans = spans_of(schedule)
    counts = np.array([span.steps for span in spans])
    batches = np.repeat([span.batch_tokens for span in spans], counts).astype(np.int64)
    begins = np.cumsum(batches) - batches
    stages = np.repeat([span.stage for span in spans], counts).astype(np.int64)
    rows = zip(stages.tolist(), begins.tolist(), batches.tolist(), strict=True)
    rates = [schedule.stages[stage].rate.of_step(begin, size) for stage, begin, size in rows]
    return Steps(begins, batches, np.array(rates, dtype=np.float64), stages)


def _batches(schedule: Schedule, stage: Stage, token: int) -> Iterator[tuple[int, int]]:
    """Yield batch and number of the steps that begin in a stage, the first at `token`."""
    while token < stage.end_token:
        batch = _batch_at(schedule, stage, token)
        in_stage = int(-((token - stage.end_token) // batch))  # those that begin before its end
        in_budget = int((schedule.budget.tokens - token) // batch)
        most = min(in_stage, in_budget)
        if not most:
            return
        count = _how_many(schedule, stage, token, batch, most)
        yield batch, count
        token += count * batch


def _batch_at(schedule: Schedule, stage: Stage, token: int) -> int:
    budget = schedule.budget
    return budget.rounded(stage.batch.of_step(token, budget.batch_tokens))


def _how_many(schedule: Schedule, stage: Stage, token: int, batch: int, most: int) -> int:
    """Return how many steps of this batch follow each other: a curve never turns back."""

    def lasts(steps: int) -> bool:
        return _batch_at(schedule, stage, token + (steps - 1) * batch) == batch

    if lasts(most):
        return most
    low, high = 1, 2
    while lasts(high):
        low, high = high, 2 * high
    while high - low > 1:  # `low` lasts and `high` does not
        middle = (low + high) // 2
        low, high = (middle, high) if lasts(middle) else (low, middle)
    return low
