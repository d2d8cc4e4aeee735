"""What a schedule asks of a trainer: steps in every stage, and checkpoints to average."""

import math
from dataclasses import dataclass

from mixwright.errors import InvalidInputError
from mixwright.schedules.base import Schedule, Stage
from mixwright.schedules.selecting import require_selectable
from mixwright.schedules.steps import Span, Steps, spans_of


@dataclass(frozen=True, slots=True)
class AveragedCheckpoint:
    """A checkpoint that is averaged.

    Attributes:
        steps: after how many steps of the training it is taken.
        tokens: what they have trained on.
        weight: in the average.
    """

    steps: int
    tokens: int
    weight: float


def require_trainable(schedule: Schedule, steps: Steps) -> None:
    """Check that proxies can be trained by a schedule.

    Raises:
        InvalidInputError: a stage without a step, a selection that is no condition, or averages
            that cannot be.
    """
    for index, stage in enumerate(schedule.stages):
        if not (steps.stage == index).any():
            raise InvalidInputError(
                f"the {stage.tokens:g} tokens of stage '{stage.name}' are less than a step; train "
                "on more tokens, or in smaller batches",
                f"stages/{stage.name}",
            )
        if stage.selection is not None:
            require_selectable(stage.selection, f"stages/{stage.name}/selection")
    checkpoints_of(schedule)


def checkpoints_of(schedule: Schedule) -> dict[int, float]:
    """Return after how many steps a checkpoint is averaged, and what it weighs.

    Raises:
        InvalidInputError: an average within the training, or of more checkpoints than there are
            steps.
    """
    for stage in schedule.stages[:-1]:
        if stage.averaging is not None:
            raise InvalidInputError(
                f"stage '{stage.name}' averages within the training; proxies average at its end",
                f"stages/{stage.name}/averaging",
            )
    last = averaged(schedule, spans_of(schedule))[-1]
    return {one.steps: one.weight for one in last}


def averaged(
    schedule: Schedule, spans: tuple[Span, ...]
) -> tuple[tuple[AveragedCheckpoint, ...], ...]:
    """Return the checkpoints that each stage averages, oldest first; none where it averages none.

    Args:
        schedule: with the averages.
        spans: what `spans_of` returned of it.

    Raises:
        InvalidInputError: an average of more checkpoints than there are steps.
    """
    return tuple(_of_stage(stage, spans, index) for index, stage in enumerate(schedule.stages))


def _of_stage(stage: Stage, spans: tuple[Span, ...], index: int) -> tuple[AveragedCheckpoint, ...]:
    averaging, past = stage.averaging, [span for span in spans if span.stage <= index]
    if averaging is None:
        return ()
    apart = averaging.share * stage.tokens / averaging.checkpoints
    before = [apart * left for left in reversed(range(averaging.checkpoints))]
    has_steps = any(span.stage == index for span in past)
    ends = [_reaching(past, past[-1].end_token - left) for left in before] if has_steps else []
    if len(set(ends)) < averaging.checkpoints:
        raise InvalidInputError(
            f"stage '{stage.name}' averages {averaging.checkpoints} checkpoints within fewer "
            "steps; average over a larger share of it, or fewer",
            f"stages/{stage.name}/averaging",
        )
    weights = averaging.weights.tolist()
    return tuple(AveragedCheckpoint(*end, one) for end, one in zip(ends, weights, strict=True))


def _reaching(spans: list[Span], token: float) -> tuple[int, int]:
    """Return after how many steps a token is reached, and what was trained on by then."""
    span = next(one for one in spans if one.end_token >= token)
    steps = math.ceil((token - span.start_token) / span.batch_tokens)
    return span.first_step + steps, span.start_token + steps * span.batch_tokens
