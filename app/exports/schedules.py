"""Writes a schedule for a trainer."""

import io
import zipfile
from typing import Any, Final

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.exports.schemas import FileRead, ScheduleExportQuery, ScheduleExportRead
from app.exports.service import known
from app.schedules import service as schedules
from app.schedules.schemas import ScheduleRead
from app.studies import service as studies
from mixwright.errors import InvalidInputError
from mixwright.exports import ExportedMixture
from mixwright.exports.staged import export_stages
from mixwright.exports.stages import ExportedSchedule, ExportedStage
from mixwright.schedules import Schedule, Stage
from mixwright.schedules.steps import StageSteps, spans_of, stage_steps

_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)  # equal texts make equal archives


def write(
    session: Session, principal: Principal, identity: str, asked: ScheduleExportQuery
) -> ScheduleExportRead:
    """Return the schedule in the format asked for.

    Raises:
        NotFoundError: no such schedule.
        ConflictError: it is not planned.
        InvalidInputError: an unknown format or unit, or one that needs what the study does not say.
    """
    found, schedule = schedules.load(session, principal, identity)
    definition = studies.load(session, found.study_id).definition
    result = export_stages(_exported(found, schedule, definition, asked), asked.format, asked.unit)
    return ScheduleExportRead(
        format=asked.format,
        unit=result.unit,
        files=[FileRead(filename=one.filename, text=one.text) for one in result.files],
        warnings=list(result.warnings),
        media_type=result.media_type,
    )


def packed(written: ScheduleExportRead) -> tuple[bytes | str, str, str]:
    """Return body, media type and file name: the text, or an archive of several."""
    if len(written.files) == 1:
        (one,) = written.files
        return one.text, written.media_type, one.filename
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for one in written.files:
            writer.writestr(zipfile.ZipInfo(one.filename, _NO_TIME), one.text)
    return archive.getvalue(), "application/zip", f"{written.format}.zip"


def _exported(
    found: ScheduleRead,
    schedule: Schedule,
    definition: dict[str, Any],
    asked: ScheduleExportQuery,
) -> ExportedSchedule:
    spans = spans_of(schedule)
    seed = found.seed if asked.seed is None else asked.seed
    stages = [
        _stage(stage, steps, schedule, definition, seed)
        for stage, steps in zip(schedule.stages, stage_steps(schedule, spans), strict=True)
        if steps.steps
    ]
    return ExportedSchedule(
        schedule_id=found.id,
        stages=tuple(stages),
        token_budget=schedule.budget.tokens,
        sequence_length=schedule.budget.sequence_length,
        batches=tuple((one.first_step, one.start_token, one.batch_tokens) for one in spans),
        epochs={name: one for name, one in (found.epochs or {}).items() if one is not None},
        seed=seed,
    )


def _stage(
    stage: Stage, steps: StageSteps, schedule: Schedule, definition: dict[str, Any], seed: int
) -> ExportedStage:
    domains = definition["domains"]
    names = tuple(domain["name"] for domain in domains)
    mixture = ExportedMixture(
        mixture_id=stage.name,
        version=1,
        domains=names,
        weights=shares_of(stage, names),
        tokens=known(domains, "tokens"),
        mean_document_tokens=known(domains, "mean_document_tokens"),
        paths=known(domains, "path"),
        token_budget=steps.end_token - steps.start_token,
        sequence_length=schedule.budget.sequence_length,
        seed=seed,
    )
    return ExportedStage(
        name=stage.name,
        mixture=mixture,
        first_step=steps.first_step,
        steps=steps.steps,
        start_token=steps.start_token,
        end_token=steps.end_token,
        plan=stage.cut().to_json(),
    )


def shares_of(stage: Stage, names: tuple[str, ...]) -> dict[str, float]:
    """Return a stage's shares of these domains: its weights, or what its selection gives.

    Raises:
        InvalidInputError: the selection does not say how many tokens it has of each domain.
    """
    tokens = stage.domain_tokens()
    total = sum(tokens.values())
    if not total:
        raise InvalidInputError(
            f"stage '{stage.name}' selects documents and does not say of which domains", "schedule"
        )
    return {name: tokens.get(name, 0.0) / total for name in names}
