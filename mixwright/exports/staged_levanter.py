"""Levanter: stages in `train_weights`, `[[step, {domain: weight}], ...]`.

Source: marin-levanter 0.2.20, `levanter/data/mixture.py` [X]: steps become sequences by the batch
schedule, a stage must begin at a whole block, and domains that a stage does not name have no weight
there. Blocks and the order of components decide what earlier stages drew, so neither depends on
later stages: the block is that of the first stage, and a new domain comes last.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from mixwright.exports.canonical import PreparedMixture, prepare
from mixwright.exports.levanter import TOLERANCE, block_size
from mixwright.exports.stages import ExportedSchedule, PreparedStages, schedule_header
from mixwright.exports.text import decimal, yaml_string
from mixwright.exports.units import Unit


def aligned(schedule: ExportedSchedule, unit: Unit) -> tuple[ExportedSchedule, list[str]]:
    """Return the schedule with stages that begin at whole blocks, and what was moved.

    A stage's start depends on those before it alone. A stage that loses all of its steps is left
    out.
    """
    block = _block(prepare(schedule.stages[0].mixture, unit))
    kept, warnings = [schedule.stages[0]], [*_cut_away(schedule, unit, block)]
    for stage in schedule.stages[1:]:
        step = _nearest(schedule, stage.first_step, block, kept[-1].first_step)
        if step is None:
            warnings.append(
                f"stage {stage.name!r} is left out: no step from {kept[-1].first_step + 1} on "
                f"begins at a whole block of {block} sequences"
            )
            continue
        if step != stage.first_step:
            warnings.append(
                f"stage {stage.name!r} begins at step {step} and not at {stage.first_step}: "
                f"blocks have {block} sequences"
            )
        start, end = schedule.start_of(step), stage.first_step + stage.steps
        moved = replace(stage, first_step=step, steps=max(1, end - step), start_token=start)
        before = replace(kept[-1], steps=step - kept[-1].first_step, end_token=start)
        kept = [*kept[:-1], before, moved]
    last = kept[-1]
    kept[-1] = replace(last, steps=schedule.steps - last.first_step, end_token=schedule.tokens)
    return replace(schedule, stages=tuple(kept)), warnings


def _block(first: PreparedMixture) -> int:
    return block_size(first.values)


def _nearest(schedule: ExportedSchedule, wanted: int, block: int, after: int) -> int | None:
    """Return the step nearest to `wanted`, above `after`, that begins at a whole block."""
    unit = block * schedule.sequence_length
    reach = max(wanted - after, schedule.steps - wanted)
    for apart in range(min(reach, 2 * block) + 1):
        for step in (wanted - apart, wanted + apart):
            if after < step < schedule.steps and schedule.start_of(step) % unit == 0:
                return step
    return None


def _cut_away(schedule: ExportedSchedule, unit: Unit, block: int) -> list[str]:
    warnings = []
    for stage in schedule.stages:
        for name, weight in prepare(stage.mixture, unit).values.items():
            count = math.floor(weight * block)
            if count < float(weight) * block * (1 - TOLERANCE):
                warnings.append(
                    f"{name!r} gets {count} of {block} sequences in stage {stage.name!r}, "
                    f"{count / block:.3g} instead of {decimal(weight)}"
                )
    return warnings


def render_levanter(prepared: PreparedStages, warnings: Sequence[str]) -> str:
    """Return the `data` section of a training YAML."""
    lines = [
        "data:",
        f"  mixture_block_size: {_block(prepared.stages[0])}",
        "  stop_strategy: restart",
        "  components:",
        *(
            f"    {yaml_string(name)}: {{cache_dir: {yaml_string(prepared.path(name))}}}"
            for name in prepared.domains
        ),
        "  train_weights:",
    ]
    for stage, mixture in zip(prepared.schedule.stages, prepared.stages, strict=True):
        weights = ", ".join(
            f"{yaml_string(name)}: {decimal(value)}" for name, value in mixture.values.items()
        )
        lines.append(f"    - [{stage.first_step}, {{{weights}}}]")
    note = "# append new domains last: inserting one reshuffles those after it\n"
    return schedule_header(prepared, warnings) + note + "\n".join(lines) + "\n"
