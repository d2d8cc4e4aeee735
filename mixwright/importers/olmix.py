"""Imports a swarm of olmix (github.com/allenai/olmix): `ratios.csv` and `metrics.csv`.

Both files name the run in a column `run` (or `run_id`) and may carry pandas' unnamed index, `name`
and `index`; every other column is a domain (ratios) or a metric (metrics) [X: its loader and its
published tables]. olmix pairs the rows by position after filtering both on common ids; here they
are joined by id. Its metrics are bits per byte, so lower is better.
"""

from pathlib import Path

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
from mixwright.importers.reading import Sheet, read_sheet

ID_COLUMNS = ("run", "run_id")
BOOKKEEPING = ("name", "index")


def import_olmix(
    ratios: Path, metrics: Path, study: str, *, fidelity: str = "proxy"
) -> ImportTable:
    """Read a swarm.

    Args:
        ratios: weights by domain, one row per run.
        metrics: measurements, one row per run.
        study: name of the study to draft.
        fidelity: name of the one scale that all runs have.

    Raises:
        InvalidInputError: a file cannot be read, the two share no id column, or one has nothing
            but bookkeeping columns.
    """
    notes = Notes()
    ratio_sheet, metric_sheet = read_sheet(ratios, notes), read_sheet(metrics, notes)
    id_column = _shared_id_column(ratio_sheet, metric_sheet)
    columns = RunColumns(
        id=id_column,
        weights=_data_columns(ratio_sheet, id_column, notes),
        metrics=_data_columns(metric_sheet, id_column, notes),
    )
    joined = join_runs(ratio_sheet, metric_sheet, columns, notes)
    runs = [_run_body(run, fidelity) for run in joined]
    note_replicates(runs, notes)
    note_sums(notes)
    names = observed_metrics(joined, columns.metrics.values())
    notes.info("every metric is minimised, as olmix's bits per byte are")
    notes.info("olmix's tables hold neither prior nor tokens: the study's prior is uniform")
    draft = {
        "name": study,
        "domains": [{"name": domain} for domain in columns.weights.values()],
        "metrics": [{"name": name, "direction": "minimize"} for name in names],
        "fidelities": [{"name": fidelity}],
        "target_fidelity": fidelity,
    }
    return notes.table(draft, runs)


def _shared_id_column(ratios: Sheet, metrics: Sheet) -> str:
    for name in ID_COLUMNS:
        if name in ratios.columns and name in metrics.columns:
            return name
    raise InvalidInputError(
        f"{ratios.file} and {metrics.file} need the same id column, one of "
        f"{', '.join(ID_COLUMNS)}; {ratios.file} has {_first(ratios)}, "
        f"{metrics.file} has {_first(metrics)}",
        "run",
    )


def _first(sheet: Sheet) -> str:
    return ", ".join(repr(column) for column in sheet.columns[:6])


def _data_columns(sheet: Sheet, id_column: str, notes: Notes) -> dict[str, str]:
    """Return the columns that are neither ids nor bookkeeping, named as they are."""
    skipped = [
        column
        for column in sheet.columns
        if column in (*BOOKKEEPING, *ID_COLUMNS) or column.startswith("Unnamed")
    ]
    dropped = [column for column in skipped if column not in (id_column, "name")]
    notes.drop_columns(sheet.file, dropped, "bookkeeping of olmix")
    named = {column: column for column in sheet.columns if column not in skipped}
    if not named:
        raise InvalidInputError(
            f"{sheet.file} has no column besides {', '.join(skipped)}", "columns"
        )
    return named


def _run_body(run: JoinedRun, fidelity: str) -> dict[str, object]:
    name = run.cell("name")
    return {
        "external_id": run.id,
        "fidelity": fidelity,
        "weights": run.weights,
        "metrics": run.metrics,
        "metadata": {"name": name} if name else {},
    }
