"""`mixwright sample`: writing the documents that a sampling function chooses."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.terminal import Answer, AsJson, bullet_list, output, people
from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction

if TYPE_CHECKING:  # PyArrow is of the extra `corpus`
    from mixwright.quality.applying import Applied

commands = typer.Typer(help="Documents, chosen by a sampling function.", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    """Keep `apply` a command of its own while there is one."""


@commands.command("apply")
def apply(
    function: Annotated[Path, typer.Option(help="JSON of a sampling function.")],
    shards: Annotated[list[str], typer.Option("--in", help="Glob of shards; repeat for several.")],
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
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out shards that are truncated or damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the chosen documents of Parquet or JSON lines (.gz, .zst), a shard for a shard.

    Interrupted, it goes on where it was: shards that are complete are not written again.
    """
    from mixwright.quality.applying import apply_to_shards
    from mixwright.quality.choosing import Sampler
    from mixwright.quality.shards import Columns, find_shards

    answer, chooser = Answer(as_json), _read_function(function)
    columns = Columns(
        _columns_of(chooser, score or []), id_column, domain_column, tokens_column, copies_column
    )
    paths = find_shards(shards)
    with _applying(answer, sum(path.stat().st_size for path in paths)) as tell:
        sampler = Sampler(chooser, columns, seed)
        applied = apply_to_shards(sampler, paths, out, workers, skip_broken, tell)
    answer.give({"out": str(out), **asdict(applied)}, lambda: _show(applied, out))


def _read_function(path: Path) -> SamplingFunction:
    try:
        return SamplingFunction.from_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}", field="function") from error


def _columns_of(function: SamplingFunction, given: Sequence[str]) -> dict[str, str]:
    """Return the column of every rater: its own name, or what is given for it."""
    columns = {name: name for name in function.rater_names}
    for item in given:
        rater, separator, column = item.partition("=")
        if not (rater in columns and separator and column):
            raise typer.BadParameter(
                f"'{item}' is not RATER=COLUMN of a rater of the function: {', '.join(columns)}",
                param_hint="--score",
            )
        columns[rater] = column
    return columns


@contextmanager
def _applying(answer: Answer, total: int) -> Iterator[Callable[[int], None]]:
    """Yield what is told of bytes that are done; silent for programs."""
    columns = (TextColumn("applying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=people, disable=answer.as_json) as bar:
        task = bar.add_task("applying", total=total)
        yield lambda size: bar.advance(task, size)


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
    bullet_list("Left out as broken:", applied.broken, "yellow")
