"""Schedules for trainers: stages in one file where the loader takes them, else a file for each.

A stage that has begun is written to the same bytes whatever comes after it: its lines are made of
the stages up to it and of nothing that a later change touches. Where a schedule comes from is said
in the header alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mixwright.errors import InvalidInputError
from mixwright.exports import EXPORTS, export
from mixwright.exports.canonical import digest, prepare
from mixwright.exports.nanotron import render_nanotron
from mixwright.exports.staged_canonical import document, render_canonical
from mixwright.exports.staged_levanter import aligned, render_levanter
from mixwright.exports.staged_llm_foundry import render_llm_foundry
from mixwright.exports.stages import ExportedSchedule, ExportedStage, PreparedStages
from mixwright.exports.units import Unit

__all__ = ["STAGED", "StagedFormat", "StagedResult", "TextFile", "export_stages"]

Arrange = Callable[[ExportedSchedule, Unit], tuple[ExportedSchedule, list[str]]]


def _as_they_are(schedule: ExportedSchedule, unit: Unit) -> tuple[ExportedSchedule, list[str]]:
    return schedule, []


@dataclass(frozen=True, slots=True)
class StagedFormat:
    """A target that takes all stages in one file.

    Attributes:
        title: of the trainer and the form.
        description: where the text goes.
        units: what a weight may mean there; the first is the default.
        media_type: of the text.
        filename: to save it as.
        render: writes the text; takes the warnings, which go into it.
        arrange: moves stages to where the target can begin them, with warnings.
        has_paths: whether the text says where the data lies.
    """

    title: str
    description: str
    units: tuple[Unit, ...]
    media_type: str
    filename: str
    render: Callable[[PreparedStages, Sequence[str]], str]
    arrange: Arrange = _as_they_are
    has_paths: bool = True


STAGED: Final[Mapping[str, StagedFormat]] = {
    "canonical": StagedFormat(
        "Canonical JSON",
        "Every stage with its step, token and weights; its digest is cited by all.",
        (Unit.TOKEN_SHARE,),
        "application/json",
        "schedule.json",
        render_canonical,
        has_paths=False,
    ),
    "levanter": StagedFormat(
        "Levanter",
        "The data section of a training YAML, with stages in train_weights.",
        (Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE),
        "application/yaml",
        "data.yaml",
        render_levanter,
        aligned,
    ),
    "llm_foundry": StagedFormat(
        "MosaicML llm-foundry",
        "train_loader and the callback curriculum_learning of a training YAML.",
        (Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE, Unit.DOCUMENT_PROBABILITY),
        "application/yaml",
        "train_loader.yaml",
        render_llm_foundry,
    ),
    "nanotron": StagedFormat(
        "Nanotron",
        "data_stages of a training YAML, of Nanosets.",
        (Unit.SEQUENCE_SHARE, Unit.TOKEN_SHARE),
        "application/yaml",
        "data_stages.yaml",
        render_nanotron,
    ),
}


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of an export; `text` ends with a newline."""

    filename: str
    text: str


@dataclass(frozen=True, slots=True)
class StagedResult:
    """What to paste into a trainer, or to launch it with one after the other.

    Attributes:
        unit: what a weight means there.
        files: one, or one for each segment.
        warnings: what to check before training; also inside the texts.
        media_type: of the texts.
    """

    unit: Unit
    files: tuple[TextFile, ...]
    warnings: tuple[str, ...]
    media_type: str


def export_stages(schedule: ExportedSchedule, format: str, unit: str | None = None) -> StagedResult:
    """Write a schedule for a trainer.

    Args:
        schedule: stages in order.
        format: a key of `STAGED`, or of `EXPORTS` for one file a segment.
        unit: what a weight shall mean; None takes the format's own.

    Raises:
        InvalidInputError: the format is unknown, does not take the unit, cannot express a stage, or
            the unit's formula lacks an input.
    """
    if format in STAGED:
        return _in_one(schedule, format, unit)
    if format not in EXPORTS:
        raise InvalidInputError(
            f"format {format!r} is not known; choose one of {', '.join(EXPORTS)}", "format"
        )
    return _in_segments(schedule, format, unit)


def _in_one(schedule: ExportedSchedule, format: str, unit: str | None) -> StagedResult:
    target = STAGED[format]
    chosen = _accepted(format, target, unit)
    arranged, warnings = target.arrange(schedule, chosen)
    stages = tuple(prepare(stage.mixture, chosen) for stage in arranged.stages)
    facts = document(
        schedule, [prepare(stage.mixture, Unit.TOKEN_SHARE) for stage in schedule.stages]
    )
    prepared = PreparedStages(arranged, chosen, stages, digest(facts))
    warnings = [*warnings, *_left_out(prepared), *_placeholders(prepared, target.has_paths)]
    warnings += _not_in_the_file(schedule, format)
    text = target.render(prepared, warnings)
    return StagedResult(
        chosen, (TextFile(target.filename, text),), tuple(warnings), target.media_type
    )


def _accepted(format: str, target: StagedFormat, unit: str | None) -> Unit:
    if unit is None:
        return target.units[0]
    if unit not in target.units:
        accepted = ", ".join(one.value for one in target.units)
        raise InvalidInputError(
            f"{format} does not take unit {unit!r} for stages; it takes {accepted}", "unit"
        )
    return Unit(unit)


def _left_out(prepared: PreparedStages) -> list[str]:
    warnings = []
    for stage, mixture in zip(prepared.schedule.stages, prepared.stages, strict=True):
        small = [name for name in mixture.dropped if stage.mixture.weights[name] > 0]
        if small:
            names = ", ".join(map(repr, small))
            warnings.append(f"{names}: left out of stage {stage.name!r}, as the share is tiny")
    return warnings


def _placeholders(prepared: PreparedStages, has_paths: bool) -> list[str]:
    known = prepared.schedule.stages[0].mixture.paths
    missing = [name for name in prepared.domains if name not in known]
    if not has_paths or not missing:
        return []
    names = ", ".join(map(repr, missing))
    return [f"{names}: /path/to/... is a placeholder; put the path of the data there"]


def _not_in_the_file(schedule: ExportedSchedule, format: str) -> list[str]:
    warnings = []
    if format != "canonical":
        warnings.append(
            "learning rates are not in this file; the canonical JSON and the schedule have them"
        )
    if schedule.has_ramp and format != "canonical":
        warnings.append(
            "the batch size changes and is not in this file; steps and tokens are counted with it"
        )
    if schedule.selects and format != "canonical":
        warnings.append(
            "stages select documents, and this file does not: its shares are what the selection "
            "gives; select the data of each stage beforehand"
        )
    return warnings


def _in_segments(schedule: ExportedSchedule, format: str, unit: str | None) -> StagedResult:
    files, warnings = [], []
    used, consumed = Unit.TOKEN_SHARE, dict.fromkeys(schedule.domains, 0.0)
    target = EXPORTS[format]
    for place, stage in enumerate(schedule.stages):
        mixture = replace(stage.mixture, mixture_id=_segment_id(stage))
        result = export(mixture, format, unit, notes=_launch(stage, place, consumed))
        files.append(TextFile(f"{place + 1:02}-{target.filename}", result.text))
        warnings += [one for one in result.warnings if one not in warnings]
        used = result.unit
        for name, share in stage.mixture.weights.items():
            consumed[name] += share * stage.tokens
    warnings += _not_in_the_file(schedule, format)
    return StagedResult(used, tuple(files), tuple(warnings), target.media_type)


def _segment_id(stage: ExportedStage) -> str:
    return f"{stage.name}, tokens {stage.start_token} to {stage.end_token}"


def _launch(stage: ExportedStage, place: int, consumed: Mapping[str, float]) -> list[str]:
    """Return how to launch a segment: made of what came before it alone."""
    length = stage.mixture.sequence_length
    samples = "" if length is None else f", {stage.tokens // length} sequences"
    train = f"train {stage.steps} steps ({stage.tokens} tokens{samples})"
    if not place:
        return [f"segment 1: {train}, then stop and launch the next segment"]
    seen = ", ".join(f"{name} {tokens:.0f}" for name, tokens in consumed.items())
    return [
        f"segment {place + 1}: load the checkpoint of step {stage.first_step} (token "
        f"{stage.start_token}), reset the count of consumed samples, and {train}",
        f"tokens consumed before, by domain: {seen}; begin after them where your loader can, or "
        "data is repeated",
    ]
