"""How many sequences every step trains on, at which learning rates, and what is averaged.

Without schedules all steps are alike and the optimizer's own schedule holds. With them, batch sizes
and rates are those of each run's stages; a group's runs have the same batch sizes, since they are
trained in one step.

Shapes: K runs, S steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.proxies import ProxyModel
from mixwright.schedules import Schedule
from mixwright.schedules.steps import Steps, steps_of
from mixwright.schedules.training import checkpoints_of, require_trainable
from workers.learning_rate import multiplier
from workers.order import GroupOrder, OrderError, RunOrder


@dataclass(frozen=True, slots=True)
class Pace:
    """The steps of a group.

    Attributes:
        sequences: shape (S,), of each step.
        rates: shape (K, S), learning rates.
        averaged: by number of steps done, what the parameters then weigh in the average of each
            run, shape (K,); 0 where a run has none.
    """

    sequences: IntArray
    rates: FloatArray
    averaged: Mapping[int, FloatArray]

    def __len__(self) -> int:
        return len(self.sequences)

    def tokens_after(self, steps: int, context: int) -> float:
        """Return what each run has trained on after so many steps."""
        return float(self.sequences[:steps].sum() * context)

    def steps_at(self, share: float) -> int:
        """Return after how many steps a share of the tokens has been trained on."""
        ends = np.cumsum(self.sequences)
        return int(np.searchsorted(ends / ends[-1], share)) + 1


def pace_of(order: GroupOrder, model: ProxyModel, runs: Sequence[RunOrder]) -> Pace:
    """Return the steps of some runs of an order.

    Raises:
        OrderError: fewer tokens than one batch; schedules of another model, or whose steps are not
            alike.
        InvalidInputError: a schedule that cannot be trained.
    """
    if not order.has_schedules:
        return _plain(order, model, runs)
    schedules = [run.schedule for run in runs if run.schedule is not None]
    steps = [_steps(order, model, schedule) for schedule in schedules]
    if any(not np.array_equal(one.batch_tokens, steps[0].batch_tokens) for one in steps):
        raise OrderError(
            "the schedules of a group differ in their batches; train them in groups of their own",
            "runs",
        )
    return Pace(
        steps[0].batch_tokens // model.context,
        np.stack([one.learning_rate for one in steps]),
        _averaged(schedules),
    )


def _plain(order: GroupOrder, model: ProxyModel, runs: Sequence[RunOrder]) -> Pace:
    optimizer = order.optimizer
    batch = optimizer.batch_sequences * model.context
    if order.tokens < batch:
        raise OrderError(
            f"{order.tokens:,} tokens are less than one batch of {batch:,}; train on more, or use "
            "fewer sequences a batch",
            "tokens",
        )
    count = order.tokens // batch
    shape = np.array([multiplier(optimizer, step, count) for step in range(count)])
    peaks = np.array([run.learning_rate or optimizer.learning_rate for run in runs])
    return Pace(np.full(count, optimizer.batch_sequences), peaks[:, None] * shape, {})


def _steps(order: GroupOrder, model: ProxyModel, schedule: Schedule) -> Steps:
    budget = schedule.budget
    if (budget.sequence_length, budget.tokens) != (model.context, order.tokens):
        raise OrderError(
            f"a schedule of {budget.tokens:g} tokens in sequences of {budget.sequence_length}; "
            f"proxies train on {order.tokens} in sequences of {model.context}",
            "runs",
        )
    steps = steps_of(schedule)
    require_trainable(schedule, steps)
    return steps


def _averaged(schedules: Sequence[Schedule]) -> dict[int, FloatArray]:
    found: dict[int, FloatArray] = {}
    for slot, schedule in enumerate(schedules):
        for number, weight in checkpoints_of(schedule).items():
            found.setdefault(number, np.zeros(len(schedules)))[slot] = weight
    return found
