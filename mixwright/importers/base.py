"""What an import yields: a study draft, its runs, and everything noticed while reading.

Importers read files and talk to nobody: whoever calls them shows the table (the dry run), and
sends `study` to `POST /v1/studies` and `runs` to `POST /v1/studies/{study}/runs:batch`.

A file that cannot be understood at all (absent, not UTF-8, no id column) raises
`InvalidInputError`. Everything wrong *inside* a file becomes an `Issue`, so that one dry run names
every bad cell and not only the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How much an issue matters."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing noticed while reading.

    Attributes:
        level: an error forbids the commit; a warning means something was left out or looks wrong;
            an info says what was decided.
        message: what was found, with the value.
        remedy: what would do, "" where nothing needs doing.
        file: name of the file, "" for the import as a whole.
        row: line in the file as an editor counts them (the header is line 1), or None.
        column: name of the column, or "".
    """

    level: Level
    message: str
    remedy: str = ""
    file: str = ""
    row: int | None = None
    column: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the issue as JSON-ready values."""
        return {
            "level": self.level.value,
            "file": self.file,
            "row": self.row,
            "column": self.column,
            "message": self.message,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class ImportTable:
    """The result of an import, before anything is sent anywhere.

    Attributes:
        study: body for `POST /v1/studies`.
        runs: bodies for `POST /v1/studies/{study}/runs:batch`, in the order of the weights files.
        issues: errors first, then warnings, then infos; each group in reading order.
        rows_read: data rows per file, blank lines not counted.
        dropped_columns: columns per file that went into neither weights, metrics nor metadata.
        largest_sum_error: largest |sum of weights - 1| over all rows whose weights were readable.
    """

    study: dict[str, Any]
    runs: tuple[dict[str, Any], ...]
    issues: tuple[Issue, ...]
    rows_read: Mapping[str, int]
    dropped_columns: Mapping[str, tuple[str, ...]]
    largest_sum_error: float

    @property
    def errors(self) -> tuple[Issue, ...]:
        """The issues that forbid a commit."""
        return tuple(issue for issue in self.issues if issue.level is Level.ERROR)

    @property
    def can_be_committed(self) -> bool:
        """Whether the table may be sent to the server."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Return the whole table as JSON-ready values."""
        return {
            "study": self.study,
            "runs": list(self.runs),
            "issues": [issue.to_json() for issue in self.issues],
            "rows_read": dict(self.rows_read),
            "rows_kept": len(self.runs),
            "dropped_columns": {file: list(names) for file, names in self.dropped_columns.items()},
            "largest_sum_error": self.largest_sum_error,
            "can_be_committed": self.can_be_committed,
        }


@dataclass(slots=True)
class Notes:
    """Collects what an importer notices while it reads; one collection per import."""

    issues: list[Issue] = field(default_factory=list)
    rows_read: dict[str, int] = field(default_factory=dict)
    dropped_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    largest_sum_error: float = 0.0

    def error(
        self, message: str, remedy: str, file: str = "", row: int | None = None, column: str = ""
    ) -> None:
        """Note something that forbids the commit."""
        self.issues.append(Issue(Level.ERROR, message, remedy, file, row, column))

    def warning(
        self, message: str, remedy: str, file: str = "", row: int | None = None, column: str = ""
    ) -> None:
        """Note something left out or suspicious."""
        self.issues.append(Issue(Level.WARNING, message, remedy, file, row, column))

    def info(self, message: str, file: str = "", column: str = "") -> None:
        """Note a decision."""
        self.issues.append(Issue(Level.INFO, message, file=file, column=column))

    def drop_columns(self, file: str, columns: Sequence[str], reason: str) -> None:
        """Note columns that are not imported; several reasons may name one file."""
        if not columns:
            return
        self.dropped_columns[file] = (*self.dropped_columns.get(file, ()), *columns)
        shown = ", ".join(repr(column) for column in columns)
        self.info(f"columns not imported ({reason}): {shown}", file=file)

    def table(self, study: dict[str, Any], runs: Sequence[dict[str, Any]]) -> ImportTable:
        """Close the notes into a table, issues sorted by level."""
        if not runs:
            self.error("no run could be read", "see the other issues")
        order = list(Level)
        return ImportTable(
            study=study,
            runs=tuple(runs),
            issues=tuple(sorted(self.issues, key=lambda issue: order.index(issue.level))),
            rows_read=dict(self.rows_read),
            dropped_columns=dict(self.dropped_columns),
            largest_sum_error=self.largest_sum_error,
        )
