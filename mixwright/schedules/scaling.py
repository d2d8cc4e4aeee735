"""A schedule for another budget: what a proxy is trained by that stands for a larger model."""

from dataclasses import replace

from mixwright.schedules.base import Budget, Schedule, Stage
from mixwright.schedules.curves import Curve


def scaled(schedule: Schedule, budget: Budget) -> Schedule:
    """Return a schedule at other tokens, batches and rates, its stages at the same shares.

    Batches and rates are what they were against the budget's own batch and peak. Rounded to whole
    sequences, a ramp may become coarse.

    Args:
        schedule: to be scaled.
        budget: what the other training may use.
    """
    tokens = budget.tokens / schedule.budget.tokens
    batch = budget.batch_tokens / schedule.budget.batch_tokens
    rate = budget.peak_learning_rate / schedule.budget.peak_learning_rate
    ends = [stage.end_token * tokens for stage in schedule.stages[:-1]] + [budget.tokens]
    begins = [0.0, *ends[:-1]]
    stages = tuple(
        _scaled(stage, begin, end, tokens, batch, rate)
        for stage, begin, end in zip(schedule.stages, begins, ends, strict=True)
    )
    return replace(schedule, budget=budget, stages=stages)


def _scaled(
    stage: Stage, begin: float, end: float, tokens: float, batch: float, rate: float
) -> Stage:
    selection = None if stage.selection is None else dict(stage.selection)
    if selection is not None and selection.get("tokens"):
        selection["tokens"] = {name: n * tokens for name, n in selection["tokens"].items()}
    if selection is not None and "subset_tokens" in selection:
        selection["subset_tokens"] *= tokens
    return replace(
        stage,
        start_token=begin,
        end_token=end,
        batch=_curve(stage.batch, tokens, batch),
        rate=_curve(stage.rate, tokens, rate),
        selection=selection,
    )


def _curve(curve: Curve, tokens: float, values: float) -> Curve:
    return replace(
        curve,
        start_token=curve.start_token * tokens,
        end_token=curve.end_token * tokens,
        start=curve.start * values,
        end=curve.end * values,
    )
