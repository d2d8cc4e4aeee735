"""`mixwright sample upload` and `function`: from scored documents to a sampling function."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.cli.rewriting import bytes_done, columns_of, find_shards
from app.cli.terminal import (
    DEFAULT_URL,
    Answer,
    AsJson,
    Token,
    Url,
    bullet_list,
    connect,
    output,
)
from mixwright.errors import InvalidInputError
from mixwright_client.client import Client, ProblemError

if TYPE_CHECKING:  # of the extra `corpus`
    import pyarrow as pa

    from mixwright.quality.shards import Columns

_PARQUET = "application/vnd.apache.parquet"
_PART = 200_000  # documents
_LARGEST_BODY = 12 * 2**20  # bytes; servers take 16 MiB

Study = Annotated[str, typer.Argument(help="Name or id of the study.")]


def upload(
    study: Study,
    shards: Annotated[list[str], typer.Argument(help="Globs of scored shards.")],
    domain_column: Annotated[str, typer.Option(help="Of a document's domain.")] = "domain",
    tokens_column: Annotated[str, typer.Option(help="Of its count of tokens.")] = "tokens",
    score: Annotated[
        list[str] | None,
        typer.Option(help="RATER=COLUMN, where a rater's column is not named like it; repeat."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Add scored documents (.parquet, .jsonl, .gz, .zst) to a study's sample: no text, no ids.

    Sent again, documents count once: a command that was interrupted may simply be repeated.
    """
    from mixwright.quality.shards import Columns

    client, answer = connect(url, token), Answer(as_json)
    raters = _raters_of(client.get(f"/v1/studies/{study}"))
    names = columns_of(raters, score or [])
    columns = Columns(names, domain_column, domain_column, tokens_column)
    paths = find_shards(shards)
    sent = 0
    with bytes_done(answer, "uploading", paths) as tell:
        for path in paths:
            for body in _parts(path, columns):
                part = _send(client, study, body, path)
                sent += part["documents"]
            tell(path.stat().st_size)
    sample = client.get(f"/v1/studies/{study}/samples")
    answer.give({"sent": sent, **sample}, lambda: _show_sample(study, sent, sample))


def function(
    study: Study,
    out: Annotated[Path, typer.Option(help="To write the function to.")],
    parameters: Annotated[
        Path | None, typer.Option(help="JSON of parameters; - is standard input.", allow_dash=True)
    ] = None,
    recommendation: Annotated[str | None, typer.Option(help="Id of a recommendation.")] = None,
    budget_tokens: Annotated[
        float | None, typer.Option(help="Tokens to keep; Meta-rater needs it.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Make a sampling function of a study's sample; write what `mixwright sample apply` reads."""
    if (parameters is None) == (recommendation is None):
        raise typer.BadParameter("give one of --parameters and --recommendation")
    client, answer = connect(url, token), Answer(as_json)
    body = {
        "parameters": None if parameters is None else _read_json(parameters),
        "recommendation": recommendation,
        "budget_tokens": budget_tokens,
    }
    asked = {name: value for name, value in body.items() if value is not None}
    with answer.progress("estimating ranks") as tell:
        made = client.post(f"/v1/studies/{study}/sampling-functions", asked)
        tell(1.0)
    path = f"/v1/sampling-functions/{made['id']}/function.json"
    out.write_bytes(client.get_text(path, "application/json").encode())
    told = {name: value for name, value in made.items() if name != "function"}
    answer.give({"out": str(out), **told}, lambda: _show_function(made, out))


def _raters_of(study: dict[str, Any]) -> list[str]:
    space = study.get("space") or {}
    if not space.get("raters"):
        raise InvalidInputError(
            f"the study '{study['name']}' searches shares of domains, so it has no raters; create "
            "one whose space is of the kind 'quadmix' or 'meta_rater'"
        )
    return list(space["raters"])


def _send(client: Client, study: str, body: bytes, path: Path) -> dict[str, Any]:
    """Send a part of a shard.

    Raises:
        ProblemError: the server refused it; says of which shard it is.
    """
    try:
        part: dict[str, Any] = client.upload(f"/v1/studies/{study}/samples", body, _PARQUET)
    except ProblemError as error:
        detail = f"{path}, in a part of up to {_PART:,} rows: {error.problem['detail']}"
        raise ProblemError({**error.problem, "detail": detail}) from error
    return part


def _parts(path: Path, columns: "Columns") -> Iterator[bytes]:
    """Yield a shard's documents as bodies: always divided alike, so that they are known again."""
    import pyarrow as pa

    from mixwright.quality.columns import rows_after
    from mixwright.quality.shards import format_of

    row = 0
    waiting: list[pa.RecordBatch] = []
    for batch in format_of(path).read(path, columns.fields):
        with rows_after(row, path):
            waiting.append(_scores_of(batch, columns))
        row += len(batch)
        if sum(len(one) for one in waiting) >= _PART:
            yield from _bodies(pa.Table.from_batches(waiting))
            waiting = []
    if any(len(one) for one in waiting):
        yield from _bodies(pa.Table.from_batches(waiting))


def _scores_of(batch: "pa.RecordBatch", columns: "Columns") -> "pa.RecordBatch":
    import pyarrow as pa

    from mixwright.quality.columns import texts_of

    names = {"tokens": columns.tokens, **columns.raters}
    numbers = {name: batch.column(one) for name, one in names.items()}
    return pa.RecordBatch.from_pydict({"domain": texts_of(batch, columns.domain), **numbers})


def _bodies(table: "pa.Table") -> Iterator[bytes]:
    """Yield a table as Parquet, in halves where it is too large for a body."""
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    if file.tell() <= _LARGEST_BODY or len(table) < 2:
        yield file.getvalue()
        return
    half = len(table) // 2
    yield from _bodies(table.slice(0, half))
    yield from _bodies(table.slice(half))


def _read_json(path: Path) -> Any:  # noqa: ANN401  - JSON
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} is no JSON to read: {error}", "parameters") from error


def _show_sample(study: str, sent: int, sample: dict[str, Any]) -> None:
    table = Table("domain", title=f"Sample of {study}: {sample['documents']:,} documents")
    for title in ("documents", "tokens"):
        table.add_column(title, justify="right")
    for name, count in sample["domains"].items():
        table.add_row(name, f"{count['documents']:,}", f"{count['tokens']:,}")
    output.print(table)
    output.print(f"{sent:,} documents sent; {sample['stored_bytes']:,} bytes are stored.")
    bullet_list("Beware:", sample["warnings"], "yellow")
    output.print(f"Next: mixwright sample function {study} --recommendation REC --out FILE")


def _show_function(made: dict[str, Any], out: Path) -> None:
    implied = made["implied"]
    table = Table("domain", title=f"{implied['expected_tokens']:,.0f} tokens expected")
    for title in ("share", "tokens", f"available ({implied['available_of']})", "repetitions"):
        table.add_column(title, justify="right")
    for name, share in implied["mixture"].items():
        tokens, available = implied["tokens"][name], implied["available_tokens"][name]
        cells = (f"{share:.4f}", f"{tokens:,.0f}", f"{available:,.0f}")
        table.add_row(name, *cells, f"{implied['repetitions'][name]:.2f}")
    output.print(table)
    bullet_list("Beware:", implied["warnings"], "yellow")
    output.print(f"Wrote {out} ({made['id']}, digest {made['digest'][:12]}).")
    output.print(f"Next: mixwright sample apply --function {out} --in 'SHARDS' --out FOLDER")
