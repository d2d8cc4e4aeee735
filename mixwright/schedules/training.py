"""What a schedule asks of our own trainer: steps in every stage, and checkpoints to average."""

import numpy as np

from mixwright.errors import InvalidInputError
from mixwright.schedules.base import Schedule
from mixwright.schedules.selecting import require_selectable
from mixwright.schedules.steps import Steps


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
    checkpoints_of(schedule, steps)


def checkpoints_of(schedule: Schedule, steps: Steps) -> dict[int, float]:
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
    last = schedule.stages[-1]
    averaging = last.averaging
    if averaging is None:
        return {}
    apart = averaging.share * last.tokens / averaging.checkpoints
    before = apart * np.arange(averaging.checkpoints - 1, -1, -1)
    ends = np.cumsum(steps.batch_tokens)
    numbers = np.searchsorted(ends, ends[-1] - before) + 1
    if len(np.unique(numbers)) < len(numbers):
        raise InvalidInputError(
            f"stage '{last.name}' averages {averaging.checkpoints} checkpoints within fewer steps; "
            "average over a larger share of it, or fewer",
            f"stages/{last.name}/averaging",
        )
    return dict(zip(numbers.tolist(), averaging.weights.tolist(), strict=True))
