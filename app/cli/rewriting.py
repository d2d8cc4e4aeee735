"""What commands share that rewrite shards: where it is done, and how far it is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.terminal import Answer, people
from mixwright.quality.engines import Engine, in_processes, on_ray


class EngineName(StrEnum):
    """Where shards are worked on."""

    LOCAL = "local"
    RAY = "ray"

    def get(self) -> Engine:
        """Return the engine.

        Raises:
            typer.BadParameter: it is not installed.
        """
        if self is EngineName.LOCAL:
            return in_processes
        if find_spec("ray") is None:
            raise typer.BadParameter(
                "Ray is not installed; pip install 'mixwright[cluster]'", param_hint="--engine"
            )
        return on_ray


Shards = Annotated[list[str], typer.Option("--in", help="Glob of shards; repeat for several.")]
Workers = Annotated[
    int | None,
    typer.Option(help="Shards at once: 1 by default, with Ray all processors.", min=1),
]
OnEngine = Annotated[
    EngineName, typer.Option(help="Processes here, or Ray's cluster at RAY_ADDRESS.")
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out shards that are truncated or damaged.")
]


@contextmanager
def bytes_done(
    answer: Answer, title: str, paths: Sequence[Path]
) -> Iterator[Callable[[int], None]]:
    """Yield what is told of bytes of shards that are done; silent for programs."""
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=people, disable=answer.as_json) as bar:
        task = bar.add_task(title, total=sum(path.stat().st_size for path in paths))
        yield lambda size: bar.advance(task, size)


def columns_of(raters: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Return the column of every rater: its own name, or what `--score RATER=COLUMN` says.

    Raises:
        typer.BadParameter: it says something else.
    """
    columns = {name: name for name in raters}
    for item in given:
        rater, separator, column = item.partition("=")
        if not (rater in columns and separator and column):
            raise typer.BadParameter(
                f"'{item}' is not RATER=COLUMN of one of the raters {', '.join(columns)}",
                param_hint="--score",
            )
        columns[rater] = column
    return columns


def find_shards(patterns: Sequence[str]) -> list[Path]:
    """Return the shards that globs match; PyArrow is loaded now, so that `--help` is quick.

    Raises:
        ShardError: they match none, or some that cannot be told apart.
    """
    from mixwright.quality import shards

    return shards.find_shards(patterns)
