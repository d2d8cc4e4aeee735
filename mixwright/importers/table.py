"""Imports a table of runs from CSV: one file with weights and metrics, or one file for each.

Columns are named by prefix (`w:arxiv`, `m:loss/pile_cc`). Without prefixes the weights are found
as the longest block of neighbouring columns whose rows sum to 1, the metrics are the remaining
columns of numbers, and the issues say what was taken for what.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.importers.base import ImportTable, Notes
from mixwright.importers.joining import (
    JoinedRun,
    RunColumns,
    join_runs,
    note_replicates,
    note_sums,
    observed_metrics,
)
from mixwright.importers.reading import Row, Sheet, read_sheet
from mixwright.simplex import SUM_TOLERANCE

ID_COLUMNS = ("external_id", "run_id", "run", "id", "name", "index")
WEIGHT_PREFIXES = ("w:", "w/", "weight:", "weight/", "weights:", "weights/")
METRIC_PREFIXES = ("m:", "m/", "metric:", "metric/", "metrics:", "metrics/")
FIDELITY_COLUMN = "fidelity"
COST_COLUMN = "cost"
METADATA_COLUMNS = ("name", "seed", "step", "tokens", "params", "parameters", "split", "index")
DEFAULT_FIDELITY = "proxy"

_HIGHER_IS_BETTER = ("acc", "accuracy", "f1", "exact_match", "bleu", "rouge", "pass@")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the user says about the columns; "" means: find out.

    Attributes:
        id: column that names the run, in every file.
        weights: prefix of the domain columns.
        metrics: prefix of the metric columns.
        fidelity: a column, or the one fidelity of all runs.
        target: target fidelity; needed when there are several.
        maximize: metrics for which higher is better; all others are minimised.
    """

    id: str = ""
    weights: str = ""
    metrics: str = ""
    fidelity: str = ""
    target: str = ""
    maximize: tuple[str, ...] = ()


def import_table(
    paths: Sequence[Path], study: str, options: TableOptions | None = None
) -> ImportTable:
    """Read runs from one file, or from a file of weights and a file of metrics.

    Args:
        paths: one path, or two: weights first, metrics second.
        study: name of the study to draft.
        options: names of columns; None finds all of them out.

    Raises:
        InvalidInputError: a file cannot be read, or the id, weight or metric columns are neither
            named nor recognisable.
    """
    if len(paths) not in (1, 2):
        raise InvalidInputError(
            f"{len(paths)} files were given; give one, or the weights and then the metrics", "paths"
        )
    options = options or TableOptions()
    notes = Notes()
    sheets = [read_sheet(path, notes) for path in paths]
    weights, metrics = sheets[0], sheets[-1]
    id_column = _id_column(sheets, options.id, notes)
    domain_columns = _weight_columns(weights, id_column, options.weights, notes)
    taken = {id_column, *_special_columns(options), *(domain_columns if len(sheets) == 1 else ())}
    columns = RunColumns(
        id=id_column,
        weights=domain_columns,
        metrics=_metric_columns(metrics, taken, options.metrics, notes),
    )
    _note_dropped(sheets, columns, options, notes)
    joined = join_runs(weights, metrics, columns, notes)
    runs = [_run_body(run, options, notes) for run in joined]
    note_replicates(runs, notes)
    note_sums(notes)
    return notes.table(_study_body(study, columns, joined, runs, options, notes), runs)


def _id_column(sheets: Sequence[Sheet], wanted: str, notes: Notes) -> str:
    common = [name for name in sheets[0].columns if all(name in s.columns for s in sheets)]
    if wanted in common:
        return wanted
    files = " and ".join(sheet.file for sheet in sheets)
    if wanted:
        raise InvalidInputError(f"{files}: no column {wanted!r}; there is {_listed(common)}", "id")
    for name in ID_COLUMNS:
        if name in common:
            notes.info(f"runs are named by column {name!r}")
            return name
    raise InvalidInputError(
        f"{files}: no id column, such as {', '.join(ID_COLUMNS)}; name one of {_listed(common)}",
        "id",
    )


def _special_columns(options: TableOptions) -> set[str]:
    return {options.fidelity or FIDELITY_COLUMN, COST_COLUMN, *METADATA_COLUMNS}


def _weight_columns(sheet: Sheet, id_column: str, prefix: str, notes: Notes) -> dict[str, str]:
    named = _prefixed(sheet, (prefix,) if prefix else WEIGHT_PREFIXES)
    if named:
        return named
    if prefix:
        raise InvalidInputError(
            f"{sheet.file}: no column starts with {prefix!r}; there is {_listed(sheet.columns)}",
            "weights",
        )
    block = _block_that_sums_to_one(sheet, id_column)
    if not block:
        raise InvalidInputError(
            f"{sheet.file}: no neighbouring columns whose rows sum to 1; give the domain columns a "
            f"common prefix such as {WEIGHT_PREFIXES[0]!r} and name it",
            "weights",
        )
    notes.info(f"weights: the rows of {_listed(block)} sum to 1", sheet.file)
    return {column: column for column in block}


def _prefixed(sheet: Sheet, prefixes: Iterable[str]) -> dict[str, str]:
    """Return column -> rest of its name, for the first prefix that any column has."""
    for prefix in prefixes:
        named = {
            column: column.removeprefix(prefix)
            for column in sheet.columns
            if column.startswith(prefix) and column != prefix
        }
        if named:
            return named
    return {}


def _block_that_sums_to_one(sheet: Sheet, id_column: str) -> tuple[str, ...]:
    """Return the longest run of neighbouring columns whose rows sum to 1, mostly.

    Nine rows in ten must do, so that a bad row becomes an issue instead of hiding the weights.
    """
    special = {id_column, FIDELITY_COLUMN, COST_COLUMN, *METADATA_COLUMNS}
    block: tuple[str, ...] = ()
    for are_shares, columns in groupby(
        sheet.columns, lambda name: name not in special and _are_shares(_numbers(sheet, name))
    ):
        if are_shares:
            block = max(block, _longest_sum_to_one(sheet, tuple(columns)), key=len)
    return block


def _longest_sum_to_one(sheet: Sheet, columns: tuple[str, ...]) -> tuple[str, ...]:
    shares = np.array([_numbers(sheet, column) for column in columns])  # (columns, rows)
    sums = np.vstack([np.zeros_like(shares[:1]), np.cumsum(shares, axis=0)])
    for length in range(len(columns), 1, -1):
        for start in range(len(columns) - length + 1):
            error = np.abs(sums[start + length] - sums[start] - 1)
            if np.mean(error <= SUM_TOLERANCE) >= 0.9:
                return columns[start : start + length]
    return ()


def _numbers(sheet: Sheet, column: str) -> FloatArray:
    """Return the cells as numbers, those that are none as NaN."""
    cells = [row.number(column) if row.has_number(column) else np.nan for row in sheet.rows]
    return np.array(cells, dtype=np.float64)


def _are_shares(numbers: FloatArray) -> bool:
    return bool(numbers.size and np.mean((numbers >= 0) & (numbers <= 1)) >= 0.9)


def _metric_columns(
    sheet: Sheet, taken: Iterable[str], prefix: str, notes: Notes
) -> dict[str, str]:
    named = _prefixed(sheet, (prefix,) if prefix else METRIC_PREFIXES)
    if named:
        return named
    if prefix:
        raise InvalidInputError(
            f"{sheet.file}: no column starts with {prefix!r}; there is {_listed(sheet.columns)}",
            "metrics",
        )
    found = [
        name for name in sheet.columns if name not in taken and _is_mostly_numbers(sheet, name)
    ]
    if not found:
        raise InvalidInputError(
            f"{sheet.file}: no column of numbers is left for the metrics; give the metric columns "
            f"a common prefix such as {METRIC_PREFIXES[0]!r} and name it",
            "metrics",
        )
    notes.info(f"metrics: columns of numbers, {_listed(found)}", sheet.file)
    return {column: column for column in found}


def _is_mostly_numbers(sheet: Sheet, column: str) -> bool:
    """Return whether half of the non-empty cells are numbers: the others are then errors."""
    filled = [row for row in sheet.rows if row.cells[column]]
    numbers = sum(row.has_number(column) for row in filled)
    return bool(filled) and 2 * numbers >= len(filled)


def _note_dropped(
    sheets: Sequence[Sheet], columns: RunColumns, options: TableOptions, notes: Notes
) -> None:
    used = {columns.id, *_special_columns(options), *columns.weights, *columns.metrics}
    for sheet in sheets:
        dropped = [column for column in sheet.columns if column not in used]
        notes.drop_columns(sheet.file, dropped, "neither weight, metric nor metadata")


def _run_body(run: JoinedRun, options: TableOptions, notes: Notes) -> dict[str, Any]:
    body: dict[str, Any] = {
        "external_id": run.id,
        "fidelity": _fidelity(run, options, notes),
        "weights": run.weights,
        "metrics": run.metrics,
        "metadata": {name: run.cell(name) for name in METADATA_COLUMNS if run.cell(name)},
    }
    cost_row = run.row_with(COST_COLUMN)
    if cost_row and cost_row.cells[COST_COLUMN]:
        body["cost"] = _cost(cost_row, notes)
    return body


def _fidelity(run: JoinedRun, options: TableOptions, notes: Notes) -> str:
    """Return the cell of the fidelity column where there is one, else the constant."""
    column = options.fidelity or FIDELITY_COLUMN
    row = run.row_with(column)
    if not row:
        return options.fidelity or DEFAULT_FIDELITY
    if not row.cells[column]:
        notes.error("the run has no fidelity", "fill the cell", row.file, row.line, column)
    return row.cells[column]


def _cost(row: Row, notes: Notes) -> float | None:
    if row.has_number(COST_COLUMN) and row.number(COST_COLUMN) >= 0:
        return row.number(COST_COLUMN)
    notes.error(
        f"cost {row.cells[COST_COLUMN]!r} is not a number of 0 or more",
        "leave the cell empty if the cost is not known",
        row.file,
        row.line,
        COST_COLUMN,
    )
    return None


def _study_body(
    name: str,
    columns: RunColumns,
    joined: Sequence[JoinedRun],
    runs: Sequence[Mapping[str, Any]],
    options: TableOptions,
    notes: Notes,
) -> dict[str, Any]:
    metrics = observed_metrics(joined, columns.metrics.values())
    _check_maximized(metrics, options.maximize, notes)
    fidelities = list(dict.fromkeys(run["fidelity"] for run in runs))
    notes.info(f"fidelities of the runs: {_listed(fidelities)}")
    return {
        "name": name,
        "domains": [{"name": domain} for domain in columns.weights.values()],
        "metrics": [
            {"name": metric, "direction": _direction(metric, options, notes)} for metric in metrics
        ],
        "fidelities": [{"name": fidelity} for fidelity in fidelities],
        "target_fidelity": _target(fidelities, options.target, notes),
    }


def _check_maximized(metrics: Sequence[str], maximize: Sequence[str], notes: Notes) -> None:
    for name in maximize:
        if name not in metrics:
            notes.error(
                f"metric {name!r}, which is to be maximised, is not among {_listed(metrics)}",
                "name one of them",
            )


def _direction(metric: str, options: TableOptions, notes: Notes) -> str:
    if metric in options.maximize:
        return "maximize"
    if any(word in metric.lower() for word in _HIGHER_IS_BETTER):
        notes.warning(
            f"metric {metric!r} is taken as lower-is-better, though its name looks otherwise",
            "name it among the metrics to maximise",
        )
    return "minimize"


def _target(fidelities: Sequence[str], wanted: str, notes: Notes) -> str:
    if wanted in fidelities or (len(fidelities) == 1 and not wanted):
        return wanted or fidelities[0]
    if fidelities:
        found = f"{wanted!r} is not one of them" if wanted else "none was named as the target"
        notes.error(
            f"the runs have the fidelities {', '.join(fidelities)}; {found}",
            "name the target fidelity",
        )
    return wanted


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
