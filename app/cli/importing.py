"""`mixwright import`: runs that others have recorded, shown first and stored on request."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output, people
from mixwright.importers import (
    ImportTable,
    Level,
    TableOptions,
    import_olmix,
    import_regmix,
    import_table,
)
from mixwright_client.client import Client, ProblemError

ROWS_PER_REQUEST = 5_000
_SHOWN_ISSUES = 20
_STYLES = {Level.ERROR: "red", Level.WARNING: "yellow", Level.INFO: "dim"}

commands = typer.Typer(
    help="Import runs. Shows what would be stored; stores it with --commit.",
    no_args_is_help=True,
)
Study = Annotated[str, typer.Option(help="Name of the study; created if it does not exist.")]
Commit = Annotated[bool, typer.Option("--commit", help="Store the runs, not only show them.")]


@commands.command("regmix")
def regmix(
    folder: Annotated[Path, typer.Argument(help="The folder `data/` of sail-sg/regmix.")],
    study: Study,
    commit: Commit = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Import RegMix's tables: mixtures and losses at every scale found."""
    show_and_store(import_regmix(folder, study), commit, connect(url, token), Answer(as_json))


@commands.command("olmix")
def olmix(
    ratios: Annotated[Path, typer.Argument(help="The swarm's ratios.csv.")],
    metrics: Annotated[Path, typer.Argument(help="The swarm's metrics.csv.")],
    study: Study,
    fidelity: Annotated[str, typer.Option(help="Name for the scale of all runs.")] = "proxy",
    commit: Commit = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Import an olmix swarm."""
    table = import_olmix(ratios, metrics, study, fidelity=fidelity)
    show_and_store(table, commit, connect(url, token), Answer(as_json))


@commands.command("csv")
def csv(
    paths: Annotated[list[Path], typer.Argument(help="One table, or weights then metrics.")],
    study: Study,
    id_column: Annotated[str, typer.Option("--id", help="Column that names the run.")] = "",
    weights: Annotated[str, typer.Option(help="Prefix of the weight columns.")] = "",
    metrics: Annotated[str, typer.Option(help="Prefix of the metric columns.")] = "",
    fidelity: Annotated[str, typer.Option(help="A column, or the fidelity of all runs.")] = "",
    target: Annotated[str, typer.Option(help="Target fidelity, if there are several.")] = "",
    maximize: Annotated[list[str] | None, typer.Option(help="Higher is better for it.")] = None,
    commit: Commit = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Import any table of runs: a row per run, a column per weight and per metric."""
    options = TableOptions(id_column, weights, metrics, fidelity, target, tuple(maximize or ()))
    table = import_table(paths, study, options)
    show_and_store(table, commit, connect(url, token), Answer(as_json))


def show_and_store(table: ImportTable, commit: bool, client: Client, answer: Answer) -> None:
    """Show an import; store it if asked to and if it has no errors. Exit code 1 on errors."""
    result: dict[str, Any] = {**table.to_json(), "committed": False}
    if not answer.as_json:
        _show(table)
    if table.can_be_committed and commit:
        result |= {"committed": True, **store(table, client, answer)}
    answer.give(result, lambda: _conclude(table, result))
    if not table.can_be_committed:
        raise typer.Exit(1)


def store(table: ImportTable, client: Client, answer: Answer) -> dict[str, Any]:
    """Create the study, unless it is there, and store the runs; doing so again is harmless."""
    try:
        client.post("/v1/studies", table.study)
    except ProblemError as error:
        if error.problem.get("status") != 409:
            raise
        people.print(f"The study '{table.study['name']}' is there already; adding runs to it.")
    counts: Counter[str] = Counter(created=0, already_stored=0)
    path = f"/v1/studies/{table.study['name']}/runs:batch"
    with answer.progress("storing runs") as progress:
        for start in range(0, len(table.runs), ROWS_PER_REQUEST):
            runs = table.runs[start : start + ROWS_PER_REQUEST]
            batch = client.post(path, {"runs": runs})
            counts.update(created=batch["created"], already_stored=batch["already_stored"])
            progress((start + len(runs)) / len(table.runs))
    return dict(counts)


def _show(table: ImportTable) -> None:
    runs = Counter(run["fidelity"] for run in table.runs)
    summary = Table("", "found", title=f"Import into the study '{table.study['name']}'")
    for file, rows in table.rows_read.items():
        summary.add_row(file, f"{rows} rows")
    for fidelity, count in runs.items():
        summary.add_row(f"fidelity {fidelity}", f"{count} runs")
    summary.add_row("domains", str(len(table.study["domains"])))
    summary.add_row("metrics", str(len(table.study["metrics"])))
    summary.add_row("largest error of a sum", f"{table.largest_sum_error:.4g}")
    output.print(summary)
    for issue in table.issues[:_SHOWN_ISSUES]:
        place = ":".join(str(part) for part in (issue.file, issue.row, issue.column) if part)
        line = " ".join(part for part in (f"{issue.level}:", place, issue.message) if part)
        output.print(line, style=_STYLES[issue.level], markup=False)
        if issue.remedy:
            output.print(f"    {issue.remedy}", style=_STYLES[issue.level], markup=False)
    if len(table.issues) > _SHOWN_ISSUES:
        output.print(f"… and {len(table.issues) - _SHOWN_ISSUES} more; see all with --json")


def _conclude(table: ImportTable, result: dict[str, Any]) -> None:
    if result["committed"]:
        output.print(
            f"Stored {result['created']} runs ({result['already_stored']} were there already). "
            f"Next: mixwright recommend {table.study['name']}"
        )
    elif table.can_be_committed:
        output.print("Nothing was stored. To store these runs, add --commit.")
    else:
        output.print(f"Nothing can be stored before the {len(table.errors)} errors are mended.")
