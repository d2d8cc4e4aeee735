"""Joins weights and metrics by run id, never by position, and checks every number."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixwright.errors import InvalidInputError
from mixwright.importers.base import Notes
from mixwright.importers.reading import Row, Sheet
from mixwright.simplex import SUM_TOLERANCE

"""Largest |sum of weights - 1| that the server accepts, and normalises."""


@dataclass(frozen=True, slots=True)
class RunColumns:
    """Which columns say what.

    Attributes:
        id: the column, in both sheets, that names the run.
        weights: domain name by column of the weights sheet.
        metrics: metric name by column of the metrics sheet.
    """

    id: str
    weights: Mapping[str, str]
    metrics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class JoinedRun:
    """A run whose weights and metrics were found and read.

    Attributes:
        id: as the files name it.
        weights: by domain, as written (not normalised).
        metrics: by metric name; a missing one is absent.
        rows: the rows it was read from, weights first.
    """

    id: str
    weights: dict[str, float]
    metrics: dict[str, float]
    rows: tuple[Row, Row]

    def row_with(self, column: str) -> Row | None:
        """Return the first of the rows that has the column, or None."""
        return next((row for row in self.rows if column in row.cells), None)

    def cell(self, column: str) -> str:
        """Return the text in that column, "" where there is none."""
        row = self.row_with(column)
        return row.cells[column] if row else ""


def join_runs(weights: Sheet, metrics: Sheet, columns: RunColumns, notes: Notes) -> list[JoinedRun]:
    """Return the runs found in both sheets (which may be one), in the order of the weights.

    Everything amiss goes to the notes: missing and repeated ids, rows without a partner, cells
    that are no numbers, weights that are negative or do not sum to 1, missing metrics.
    """
    weight_rows = _rows_by_id(weights, columns.id, notes)
    metric_rows = weight_rows if metrics is weights else _rows_by_id(metrics, columns.id, notes)
    _note_rows_without_partner(weights, weight_rows, metrics, metric_rows, notes)
    joined = []
    for run_id, row in weight_rows.items():
        if run_id not in metric_rows:
            continue
        partner = metric_rows[run_id]
        mixture = _read_weights(row, columns.weights, notes)
        values = _read_metrics(partner, columns.metrics, notes)
        if mixture and values:
            joined.append(JoinedRun(run_id, mixture, values, (row, partner)))
    _note_missing_metrics(joined, metrics.file, tuple(columns.metrics.values()), notes)
    return joined


def observed_metrics(runs: Sequence[JoinedRun], names: Iterable[str]) -> list[str]:
    """Return the metrics, in the order of `names`, that at least one run has."""
    seen = set().union(*(run.metrics for run in runs))
    return [name for name in dict.fromkeys(names) if name in seen]


def note_replicates(runs: Sequence[Mapping[str, Any]], notes: Notes) -> None:
    """Say how many runs share fidelity and mixture with another: replicates show the noise."""
    keys = Counter((run["fidelity"], frozenset(run["weights"].items())) for run in runs)
    repeated = [count for count in keys.values() if count > 1]
    if repeated:
        notes.info(
            f"{sum(repeated)} runs share their mixture and fidelity with another run "
            f"({len(repeated)} mixtures): kept as replicates"
        )


def note_sums(notes: Notes) -> None:
    """Say how far the sums of the accepted weights are from 1."""
    if 1e-9 < notes.largest_sum_error <= SUM_TOLERANCE:
        notes.info(
            f"weights sum to 1 within {notes.largest_sum_error:.4g}; the server normalises them "
            "and keeps the raw values"
        )


def _rows_by_id(sheet: Sheet, id_column: str, notes: Notes) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for row in sheet.rows:
        run_id = row.cells[id_column]
        if not run_id:
            notes.error(
                "the run has no id", "give every row an id", sheet.file, row.line, column=id_column
            )
        elif run_id in rows:
            notes.error(
                f"id {run_id!r} was already used in line {rows[run_id].line}",
                "give every run its own id, or remove one of the rows",
                sheet.file,
                row.line,
                column=id_column,
            )
        else:
            rows[run_id] = row
    return rows


def _note_rows_without_partner(
    weights: Sheet,
    weight_rows: Mapping[str, Row],
    metrics: Sheet,
    metric_rows: Mapping[str, Row],
    notes: Notes,
) -> None:
    if weight_rows and metric_rows and not weight_rows.keys() & metric_rows.keys():
        notes.error(
            f"no id occurs in both files: {next(iter(weight_rows))!r} in {weights.file}, "
            f"{next(iter(metric_rows))!r} in {metrics.file}",
            "use the same ids in both",
        )
        return
    for sheet, rows, other, partners in (
        (weights, weight_rows, metrics, metric_rows),
        (metrics, metric_rows, weights, weight_rows),
    ):
        for run_id, row in rows.items():
            if run_id not in partners:
                notes.warning(
                    f"id {run_id!r} does not occur in {other.file}; the row is left out",
                    f"add the run to {other.file}",
                    sheet.file,
                    row.line,
                )


def _read_weights(row: Row, columns: Mapping[str, str], notes: Notes) -> dict[str, float]:
    """Return the weights by domain, or nothing if one is wrong."""
    weights = {}
    for column, domain in columns.items():
        value = _number(row, column, notes, "write its share, 0 if it has none")
        if value is not None and value < 0:
            notes.error(
                f"weight {value:g} is negative", "use 0 or more", row.file, row.line, column
            )
            value = None
        if value is not None:
            weights[domain] = value
    if len(weights) < len(columns):
        return {}
    return weights if _sums_to_one(weights, row, notes) else {}


def _sums_to_one(weights: Mapping[str, float], row: Row, notes: Notes) -> bool:
    total = math.fsum(weights.values())
    notes.largest_sum_error = max(notes.largest_sum_error, abs(total - 1))
    if abs(total - 1) <= SUM_TOLERANCE:
        return True
    notes.error(
        f"the weights sum to {total:.6g}",
        f"shares must sum to 1 within {SUM_TOLERANCE:g}; divide percentages by 100, and check "
        "that every domain column and no other is among the weights",
        row.file,
        row.line,
    )
    return False


def _read_metrics(row: Row, columns: Mapping[str, str], notes: Notes) -> dict[str, float]:
    """Return the metrics by name; an empty cell is a missing metric."""
    values = {}
    for column, metric in columns.items():
        if not row.cells[column]:
            continue
        value = _number(row, column, notes, "leave the cell empty if the metric is missing")
        if value is not None:
            values[metric] = value
    if not any(row.cells[column] for column in columns):
        notes.warning(
            "the row has no metric; it is left out", "add its metrics", row.file, row.line
        )
    return values


def _number(row: Row, column: str, notes: Notes, remedy: str) -> float | None:
    """Return the cell as a number, or None after noting what is wrong with it."""
    try:
        return row.number(column)
    except InvalidInputError as error:
        notes.error(str(error), remedy, row.file, row.line, column)
        return None


def _note_missing_metrics(
    runs: Sequence[JoinedRun], file: str, metrics: Sequence[str], notes: Notes
) -> None:
    for metric in metrics:
        missing = sum(metric not in run.metrics for run in runs)
        if missing == len(runs):
            notes.warning(f"metric {metric!r} has no value; it is left out", "fill it in", file)
        elif missing:
            notes.info(f"metric {metric!r} is missing in {missing} of {len(runs)} runs", file)
