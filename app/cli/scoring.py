"""`mixwright score`: scores of documents as columns, computed without any download."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
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
    from mixwright.scoring.models import Model
    from mixwright.scoring.shards import Scorer

commands = typer.Typer(help="Scores of documents, written beside them.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder of the scored shards, of the same names.")]
TextColumn = Annotated[str, typer.Option(help="Of a document's text.")]
Column = Annotated[str, typer.Option(help="Where the score goes.")]
ModelFile = Annotated[
    Path, typer.Option(help="Where the model is kept: fitted if examples are given, else read.")
]
Good = Annotated[list[str] | None, typer.Option(help="Glob of files of good text; repeat.")]
Bad = Annotated[list[str] | None, typer.Option(help="Glob of files of bad text; repeat.")]


@commands.command("heuristics")
def heuristics(
    shards: Shards,
    out: Out,
    text_column: TextColumn = "text",
    prefix: Annotated[str, typer.Option(help="Of the columns that are added.")] = "",
    workers: Workers = None,
    engine: OnEngine = EngineName.LOCAL,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """Count what can be counted: lengths, symbols, repetitions, ends of lines, stop words."""
    from mixwright.scoring.heuristics import HeuristicScorer

    _score(HeuristicScorer(text_column, prefix), shards, out, workers, engine, skip_broken, as_json)


@commands.command("ngram")
def ngram(
    shards: Shards,
    out: Out,
    model: ModelFile,
    good: Good = None,
    order: Annotated[int, typer.Option(help="Words of the longest n-grams.", min=2, max=6)] = 3,
    bits: Annotated[int, typer.Option(help="2^BITS places an order.", min=8, max=28)] = 22,
    text_column: TextColumn = "text",
    column: Column = "ngram_perplexity",
    workers: Workers = None,
    engine: OnEngine = EngineName.LOCAL,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """Perplexity under an n-gram model of good text; lower is better."""
    from mixwright.scoring import ngram as method

    def fit() -> tuple["Model", dict[str, Any]]:
        fitted = method.fit(_texts(good or [], text_column), order, bits)
        return fitted, {"fill": method.fill(fitted)}

    digest, facts = _model(model, method.KIND, fit if good else None)
    scorer = method.NgramScorer(model.resolve(), digest, text_column, column)
    _score(scorer, shards, out, workers, engine, skip_broken, as_json, facts)


@commands.command("classifier")
def classifier(
    shards: Shards,
    out: Out,
    model: ModelFile,
    good: Good = None,
    bad: Bad = None,
    label_column: Annotated[
        str | None, typer.Option(help="Of --good: true or 1 where a document is good; no --bad.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the folds.", min=0)] = 0,
    text_column: TextColumn = "text",
    column: Column = "classifier",
    workers: Workers = None,
    engine: OnEngine = EngineName.LOCAL,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """How much a document is like the good ones and unlike the bad ones; higher is better."""
    from mixwright.scoring.classifier import KIND, ClassifierScorer

    if good and bool(bad) == bool(label_column):
        raise typer.BadParameter("give either bad files or a column of labels", param_hint="--bad")
    if not good and (bad or label_column):
        raise typer.BadParameter("a model is fitted to good files too", param_hint="--good")
    labelled = _labelled(good or [], bad or [], label_column, text_column)
    digest, facts = _model(model, KIND, (lambda: _classify(labelled, seed)) if good else None)
    scorer = ClassifierScorer(model.resolve(), digest, text_column, column)
    _score(scorer, shards, out, workers, engine, skip_broken, as_json, facts)


@commands.command("preselect")
def preselect(
    shards: Shards,
    out: Out,
    loss: Annotated[
        list[str], typer.Option(help="COLUMN=ABILITY of a model: its bits per character; repeat.")
    ],
    sample: Annotated[
        list[str] | None,
        typer.Option(help="Glob of shards with the losses, to fit a classifier for --in; repeat."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Where that classifier is kept.")] = None,
    share: Annotated[float, typer.Option(help="Of the sample, at either end.")] = 2 / 9,
    seed: Annotated[int, typer.Option(help="Of the folds.", min=0)] = 0,
    text_column: TextColumn = "text",
    column: Column = "preselect",
    workers: Workers = None,
    engine: OnEngine = EngineName.LOCAL,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """How far losses rank models as abilities do, or a classifier of that; higher is better."""
    from mixwright.scoring.classifier import KIND, ClassifierScorer
    from mixwright.scoring.preselect import StrengthScorer, extremes

    strength = StrengthScorer(_abilities(loss), column)
    if model is not None and not sample:
        raise typer.BadParameter(
            "it is fitted to a sample; `mixwright score classifier` scores with one that is there",
            param_hint="--model",
        )
    if not sample:
        _score(strength, shards, out, workers, engine, skip_broken, as_json)
        return
    if model is None:
        raise typer.BadParameter("the classifier needs a file", param_hint="--model")
    labelled = extremes(strength, find_shards(sample), text_column, share)
    digest, facts = _model(model, KIND, lambda: _classify(labelled, seed))
    scorer = ClassifierScorer(model.resolve(), digest, text_column, column)
    _score(scorer, shards, out, workers, engine, skip_broken, as_json, facts)


def _score(
    scorer: "Scorer",
    shards: list[str],
    out: Path,
    workers: int | None,
    engine: EngineName,
    skip_broken: bool,
    as_json: bool,
    facts: dict[str, Any] | None = None,
) -> None:
    from mixwright.scoring.shards import score_shards

    answer, paths = Answer(as_json), find_shards(shards)
    with bytes_done(answer, "scoring", paths) as tell:
        scored = score_shards(
            scorer,
            paths,
            out,
            workers=workers,
            skip_broken=skip_broken,
            progress=tell,
            engine=engine.get(),
        )
    told = {"out": str(out), **(facts or {}), **asdict(scored)}
    answer.give(told, lambda: show_scored(told, facts or {}))


def _model(
    path: Path, kind: str, fit: Callable[[], tuple["Model", dict[str, Any]]] | None
) -> tuple[str, dict[str, Any]]:
    """Fit a model and keep it, or read it; return its digest and what is to be told of it."""
    from mixwright.scoring.models import Model

    if fit is None:
        found = Model.load(path, kind)
        return found.digest, {"model": found.digest}
    found, facts = fit()
    found.save(path)
    return found.digest, {"model": found.digest, **facts}


def _classify(labelled: Iterable[tuple[str, bool]], seed: int) -> tuple["Model", dict[str, Any]]:
    from mixwright.scoring.classifier import fit

    fitted = fit(labelled, seed)
    counts = {name: fitted.model.settings[name] for name in ("good", "bad")}
    return fitted.model, {"auc": fitted.auc, **counts}


def _texts(globs: Sequence[str], text_column: str) -> Iterator[str]:
    from mixwright.corpus.documents import find_files, read_documents

    for path in find_files(globs, "examples to fit to"):
        yield from read_documents(path, text_column)


def _labelled(
    good: Sequence[str], bad: Sequence[str], label_column: str | None, text_column: str
) -> Iterator[tuple[str, bool]]:
    if label_column is None:
        yield from ((text, True) for text in _texts(good, text_column))
        yield from ((text, False) for text in _texts(bad, text_column))
        return
    from mixwright.scoring.labels import read_labelled

    yield from read_labelled(find_shards(good), text_column, label_column)


def _abilities(losses: Sequence[str]) -> dict[str, float]:
    abilities = {}
    for item in losses:
        column, _, ability = item.rpartition("=")
        try:
            abilities[column] = float(ability)
        except ValueError:
            column = ""
        if not column or not math.isfinite(abilities[column]):
            raise typer.BadParameter(f"'{item}' is not COLUMN=ABILITY", param_hint="--loss")
    if len(set(abilities.values())) < 2:
        raise InvalidInputError("two models of different abilities are needed", field="loss")
    return abilities


def show_scored(told: dict[str, Any], facts: dict[str, Any]) -> None:
    """Show what became of shards, and what else is to be told."""
    table = Table("column", title=told["out"])
    for title in ("documents", "mean", "standard deviation"):
        table.add_column(title, justify="right")
    for name, column in told["columns"].items():
        count, *rest = column.values()
        table.add_row(name, f"{count:,.0f}", *(f"{value:.4g}" for value in rest))
    output.print(table)
    for name, value in facts.items():
        output.print(f"{name}: {value if isinstance(value, str) else f'{value:.4g}'}")
    output.print(f"{told['written']} shards written, {told['found']} complete before.")
    bullet_list("Left out as broken:", told["broken"], "yellow")
