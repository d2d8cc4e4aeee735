"""Two schedules in one: what data from the one, batch and rate from the other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.checks import warnings_of


def compose(data: Schedule, training: Schedule, begin: float = 0.0) -> Schedule:
    """Return `training` with the data of another schedule from token `begin` on.

    So a curriculum goes inside an anneal: `compose(curriculum, annealed, begin=where_it_anneals)`.
    Stages are cut wherever either has a border; names join.

    Args:
        data: weights, selections and averaging.
        training: batch sizes and learning rates; also the data before `begin`.
        begin: where `data` begins, in tokens of `training`.

    Raises:
        InvalidInputError: `data` does not end where `training` does.
    """
    end = begin + data.budget.tokens
    if end != training.budget.tokens:
        raise InvalidInputError(
            f"the schedule of data ends at token {end:g}, that of the training at "
            f"{training.budget.tokens:g}",
            "begin",
        )
    borders = {begin, end} - {0.0}
    borders |= {begin + stage.end_token for stage in data.stages}
    borders |= {stage.end_token for stage in training.stages}
    stages, start = [], 0.0
    for border in sorted(borders):
        under = training.stage_at(start)
        over = data.stage_at(start - begin) if start >= begin else None
        stages.append(_joined(under, over, start, border, begin))
        start = border
    composed = Schedule(training.budget, _named_once(stages))
    return replace(composed, warnings=(*_own(data), *_own(training), *warnings_of(composed)))


def _own(schedule: Schedule) -> tuple[str, ...]:
    """Return what a planner warned of, without what is true of its stages where they stood."""
    of_stages = warnings_of(schedule)
    return tuple(text for text in schedule.warnings if text not in of_stages)


def _joined(under: Stage, over: Stage | None, start: float, end: float, begin: float) -> Stage:
    cut = replace(under, start_token=start, end_token=end, selection=_part(under, end - start))
    if end != under.end_token:
        cut = replace(cut, averaging=None)  # it is of the stage's end
    if over is None:
        return cut
    return replace(
        cut,
        name=f"{over.name}, {under.name}",
        weights=over.weights,
        selection=_part(over, end - start),
        averaging=over.averaging if end - begin == over.end_token else None,
    )


def _part(stage: Stage, tokens: float) -> Mapping[str, Any] | None:
    """Return the selection of so many tokens of a stage, which say how many of each domain."""
    selection, share = stage.selection, tokens / stage.tokens
    if selection is None or not selection.get("tokens") or share == 1:
        return selection
    return {**selection, "tokens": {name: n * share for name, n in selection["tokens"].items()}}


def _named_once(stages: list[Stage]) -> tuple[Stage, ...]:
    names = [stage.name for stage in stages]
    return tuple(
        replace(stage, name=f"{stage.name} {names[:place].count(stage.name) + 1}")
        if names.count(stage.name) > 1
        else stage
        for place, stage in enumerate(stages)
    )
