"""Two schedules in one: what data from the one, batch and rate from the other."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.checks import warnings_of


def compose(data: Schedule, training: Schedule, begin: float = 0.0) -> Schedule:
    """Return `training` with the data of another schedule from token `begin` on.

    So a curriculum goes inside an anneal: `compose(curriculum, annealed, begin=where_it_anneals)`.
    Stages are cut wherever either has a border; names join. A border of the data that is less than
    a batch from one of the training is taken for it, so that no stage is left without a step.

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
    stages = []
    for start, border in pairwise(_borders(data, training, begin)):
        middle = (start + border) / 2
        under = training.stage_at(middle)
        piece = replace(under, start_token=start, end_token=border)
        source, moved = (data.stage_at(middle - begin), begin) if middle >= begin else (under, 0.0)
        stages.append(_joined(piece, source, moved, training.budget.batch_tokens))
    composed = Schedule(training.budget, _named_once(stages))
    return replace(composed, warnings=(*_own(data), *_own(training), *warnings_of(composed)))


def _own(schedule: Schedule) -> tuple[str, ...]:
    """Return what a planner warned of, without what is true of its stages where they stood."""
    of_stages = warnings_of(schedule)
    return tuple(text for text in schedule.warnings if text not in of_stages)


def _borders(data: Schedule, training: Schedule, begin: float) -> list[float]:
    fixed = [0.0, *(stage.end_token for stage in training.stages)]
    borders = set(fixed)
    for token in (begin, *(begin + stage.end_token for stage in data.stages)):
        nearest = min(fixed, key=lambda border: abs(border - token))
        is_near = abs(nearest - token) < training.budget.batch_tokens
        borders.add(nearest if is_near else token)
    return sorted(borders)


def _joined(piece: Stage, source: Stage, begin: float, batch: float) -> Stage:
    """Return a piece with the data of the stage that it is cut from, which is told from `begin`."""
    has_end = abs(begin + source.end_token - piece.end_token) < batch
    return replace(
        piece,
        name=piece.name if piece.name == source.name else f"{source.name}, {piece.name}",
        weights=source.weights,
        selection=_part(source.selection, piece.tokens),
        averaging=source.averaging if has_end else None,  # it is of the stage's end
    )


def _part(selection: Mapping[str, Any] | None, tokens: float) -> Mapping[str, Any] | None:
    """Return a selection that has so many tokens, in the shares that it has of domains."""
    known = (selection or {}).get("tokens")
    if selection is None or not known:
        return selection
    part = tokens / sum(known.values())
    return {**selection, "tokens": {name: part * count for name, count in known.items()}}


def _named_once(stages: list[Stage]) -> tuple[Stage, ...]:
    names = [stage.name for stage in stages]
    return tuple(
        replace(stage, name=f"{stage.name} {names[:place].count(stage.name) + 1}")
        if names.count(stage.name) > 1
        else stage
        for place, stage in enumerate(stages)
    )
