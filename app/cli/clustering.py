"""`mixwright cluster`: domains found by clustering embeddings, as a column of documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.cli.rewriting import (
    EngineName,
    OnEngine,
    Shards,
    SkipBroken,
    Workers,
    bytes_done,
    find_shards,
)
from app.cli.terminal import Answer, AsJson, bullet_list, output
from mixwright.errors import InvalidInputError

if TYPE_CHECKING:  # PyArrow is of the extra `corpus`
    from mixwright.scoring.clustering import Clustering
    from mixwright.scoring.models import Model

_SHOWN = 30  # clusters


def cluster(
    shards: Shards,
    out: Annotated[Path, typer.Option(help="Folder of the shards with clusters.")],
    model: Annotated[Path, typer.Option(help="Where the centres are kept: fitted unless there.")],
    embedding_column: Annotated[str, typer.Option(help="Of lists of numbers.")] = "embedding",
    quality_column: Annotated[
        str | None, typer.Option(help="Of quality; without it no cluster is dropped.")
    ] = None,
    clusters: Annotated[int, typer.Option(help="Of k-means, to begin with.", min=1)] = 1000,
    lowest_quality: Annotated[float, typer.Option(help="Average of a cluster that is kept.")] = 3.0,
    nearest: Annotated[float, typer.Option(help="Distance below which two become one.")] = 1.5,
    sample: Annotated[int, typer.Option(help="Documents to fit to.", min=1)] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the sample and of k-means.", min=0)] = 0,
    column: Annotated[str, typer.Option(help="Where a document's cluster goes.")] = "cluster",
    workers: Workers = None,
    engine: OnEngine = EngineName.LOCAL,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """Cluster documents by embeddings: .parquet, .jsonl, or .npy with ids in .ids.txt beside."""
    from mixwright.scoring.clustering import Assigning, Clustering, assign_shards

    answer, paths = Answer(as_json), find_shards(shards)
    how = Clustering(
        embedding_column, quality_column, clusters, lowest_quality, nearest, sample, seed
    )
    found = _model(answer, how, paths, model, skip_broken)
    count = len(found.arrays["centres"])
    work = Assigning(model.resolve(), found.digest, count, embedding_column, column)
    with bytes_done(answer, "assigning", paths) as tell:
        sizes, done = assign_shards(
            work,
            paths,
            out,
            workers=workers,
            skip_broken=skip_broken,
            progress=tell,
            engine=engine.get(),
        )
    told = {
        "out": str(out),
        "clusters": found.digest,
        "sizes": sizes[1:],
        "dropped": sizes[0],
        "written": done.written,
        "found": done.found,
        "broken": done.broken,
    }
    answer.give(told, lambda: _show(told))


def _model(
    answer: Answer, how: "Clustering", paths: list[Path], path: Path, skip_broken: bool
) -> "Model":
    """Return the model of a file, made if it is not there."""
    from mixwright.scoring.clustering import KIND, fit, settings_of
    from mixwright.scoring.models import Model

    if not path.exists():
        with answer.progress("clustering") as tell:
            fitted = fit(how, paths, skip_broken)
            tell(1.0)
        fitted.save(path)
        return fitted
    found = Model.load(path, KIND)
    if dict(found.settings) != settings_of(how):
        raise InvalidInputError(
            f"{path} was fitted with {dict(found.settings)}; ask for these, or name another file",
            "model",
        )
    return found


def _show(told: dict[str, Any]) -> None:
    table = Table("cluster", title=f"{told['out']}: clusters {told['clusters'][:12]}")
    table.add_column("documents", justify="right")
    for number, size in enumerate(told["sizes"][:_SHOWN]):
        table.add_row(str(number), f"{size:,}")
    if len(told["sizes"]) > _SHOWN:
        rest = told["sizes"][_SHOWN:]
        table.add_row(f"{len(rest)} more", f"{sum(rest):,}")
    table.add_row("dropped (-1)", f"{told['dropped']:,}")
    output.print(table)
    output.print(f"{told['written']} shards written, {told['found']} complete before.")
    bullet_list("Left out as broken:", told["broken"], "yellow")
