"""Wire format of exports."""

from typing import Annotated, Literal

from pydantic import Field

from app.wire import AnswerModel, Name, StrictModel


class ExportQuery(StrictModel):
    """What to write, and what a format may need besides the mixture.

    `token_budget` is by default the study's target tokens. Paths and mean lengths of documents
    are those of the study's domains.
    """

    format: Name
    unit: Name | None = None
    token_budget: Annotated[float, Field(gt=0, lt=1e30)] | None = None
    sequence_length: Annotated[int, Field(ge=1, le=10**9)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None


class UnitRead(AnswerModel):
    """A meaning of "weight" that a format takes, and what it is computed from."""

    name: str
    meaning: str
    formula: str
    needs: list[str]


class FormatRead(AnswerModel):
    """A format to export to; `stages` says what a schedule of several becomes there."""

    name: str
    title: str
    description: str
    media_type: str
    filename: str
    default_unit: str
    units: list[UnitRead]
    stages: Literal["one file", "one file a segment"]


class ExportRead(AnswerModel):
    """An export: the text, and what to check before training with it."""

    format: str
    unit: str
    text: str
    warnings: list[str]
    filename: str
    media_type: str


class ScheduleExportQuery(StrictModel):
    """What to write a schedule as; `seed` is by default the schedule's."""

    format: Name
    unit: Name | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None


class FileRead(AnswerModel):
    """A file of an export."""

    filename: str
    text: str


class ScheduleExportRead(AnswerModel):
    """A schedule as files: one, or one for each segment that is launched by itself."""

    format: str
    unit: str
    files: list[FileRead]
    warnings: list[str]
    media_type: str
