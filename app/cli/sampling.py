"""`mixwright sample`: writing the documents that a sampling function chooses."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.rewriting import (
    EngineName,
    OnEngine,
    Shards,
    SkipBroken,
    Workers,
    bytes_done,
    columns_of,
    find_shards,
)
from app.cli.terminal import Answer, AsJson, bullet_list, output
from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction

if TYPE_CHECKING:  # PyArrow is of the extra `corpus`
    from mixwright.quality.applying import Applied

commands = typer.Typer(help="Documents, chosen by a sampling function.", no_args_is_help=True)


@commands.command("apply")
def apply(
    function: Annotated[Path, typer.Option(help="JSON of a sampling function.")],
    shards: Shards,
    out: Annotated[Path, typer.Option(help="Folder of the chosen documents.")],
    id_column: Annotated[str, typer.Option(help="Of a document's id.")] = "id",
    domain_column: Annotated[str, typer.Option(help="Of its domain.")] = "domain",
    tokens_column: Annotated[str, typer.Option(help="Of its count of tokens.")] = "tokens",
    score: Annotated[
        list[str] | None,
        typer.Option(help="RATER=COLUMN, where a rater's column is not named like it; repeat."),
    ] = None,
    copies_column: Annotated[
        str | None, typer.Option(help="To write numbers of copies to, instead of repeated rows.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice.", min=0)] = 0,
    workers: Workers = None,
    engine: OnEngine = EngineName.LOCAL,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """Write the chosen documents of Parquet or JSON lines (.gz, .zst), a shard for a shard.

    Interrupted, it goes on where it was: shards that are complete are not written again.
    """
    from mixwright.quality.applying import apply_to_shards
    from mixwright.quality.choosing import Sampler
    from mixwright.quality.shards import Columns

    answer, chooser = Answer(as_json), _read_function(function)
    names = columns_of(chooser.rater_names, score or [])
    columns = Columns(names, id_column, domain_column, tokens_column, copies_column)
    paths = find_shards(shards)
    with bytes_done(answer, "applying", paths) as tell:
        sampler = Sampler(chooser, columns, seed)
        applied = apply_to_shards(sampler, paths, out, workers, skip_broken, tell, engine.get())
    answer.give({"out": str(out), **asdict(applied)}, lambda: _show(applied, out))


def _read_function(path: Path) -> SamplingFunction:
    try:
        return SamplingFunction.from_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}", field="function") from error


def _show(applied: "Applied", out: Path) -> None:
    table = Table("domain", title=f"{out}: tokens realised against expected")
    for title in ("documents", "copies", "tokens", "expected", "realised", "off by"):
        table.add_column(title, justify="right")
    for name, sums in applied.domains.items():
        off, spread = sums["realised_tokens"] - sums["expected_tokens"], sums["variance"] ** 0.5
        counts = ("documents", "copies", "tokens", "expected_tokens", "realised_tokens")
        cells = [f"{sums[count]:,.0f}" for count in counts]
        table.add_row(name, *cells, f"{off / spread:+.1f} s.d." if spread else "–")
    output.print(table)
    output.print(f"{applied.written} shards written, {applied.found} complete before.")
    bullet_list("Beware:", applied.warnings, "yellow")
    bullet_list("Left out as broken:", applied.broken, "yellow")
