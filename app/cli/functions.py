"""`mixwright sample upload` and `function`: from scored documents to a sampling function."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.rewriting import bytes_done, columns_of, find_shards
from app.cli.sample_parts import PART, parts_of
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

_PARQUET = "application/vnd.apache.parquet"

Study = Annotated[str, typer.Argument(help="Name or id of the study.")]


def upload(
    study: Study,
    shards: Annotated[list[str], typer.Argument(help="Globs of scored shards.")],
    id_column: Annotated[
        str | None,
        typer.Option(help="Of a document's id; by default `id`, else it is known by its place."),
    ] = None,
    domain_column: Annotated[str, typer.Option(help="Of its domain.")] = "domain",
    tokens_column: Annotated[str, typer.Option(help="Of its count of tokens.")] = "tokens",
    score: Annotated[
        list[str] | None,
        typer.Option(help="RATER=COLUMN, where a rater's column is not named like it; repeat."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Add scored documents (.parquet, .jsonl, .gz, .zst) to a study's sample: no text.

    Sent again, documents count once: a command that was interrupted may simply be repeated, also
    with the documents in other files, if they have ids.
    """
    client, answer = connect(url, token), Answer(as_json)
    raters = _raters_of(client.get(f"/v1/studies/{study}"))
    names = columns_of(raters, score or [])
    paths = find_shards(shards)
    sent = repeated = 0
    with bytes_done(answer, "uploading", paths) as tell:
        for path in paths:
            for body in parts_of(path, names, id_column, domain_column, tokens_column):
                part = _send(client, study, body, path)
                sent, repeated = sent + part["documents"], repeated + part["repeated"]
            tell(path.stat().st_size)
    told = {"sent": sent, "repeated": repeated, **client.get(f"/v1/studies/{study}/samples")}
    answer.give(told, lambda: _show_sample(study, told))


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
        detail = f"{path}, in a part of up to {PART:,} rows: {error.problem['detail']}"
        raise ProblemError({**error.problem, "detail": detail}) from error
    return part


def _read_json(path: Path) -> Any:  # noqa: ANN401  - JSON
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} is no JSON to read: {error}", "parameters") from error


def _show_sample(study: str, sample: dict[str, Any]) -> None:
    table = Table("domain", title=f"Sample of {study}: {sample['documents']:,} documents")
    for title in ("documents", "tokens"):
        table.add_column(title, justify="right")
    for name, count in sample["domains"].items():
        table.add_row(name, f"{count['documents']:,}", f"{count['tokens']:,}")
    output.print(table)
    output.print(
        f"{sample['sent']:,} documents sent, {sample['repeated']:,} of them were there before; "
        f"{sample['stored_bytes']:,} bytes are stored."
    )
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
