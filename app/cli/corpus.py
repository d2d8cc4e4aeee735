"""`mixwright corpus`: building token stores, and telling the server of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.terminal import DEFAULT_URL, Answer, AsJson, Token, Url, connect, output, people
from mixwright.corpus.build import VALIDATION_SHARE, Documents, build_store
from mixwright.corpus.documents import (
    ID_FIELD,
    TEXT_FIELD,
    Document,
    find_files,
    read_documents,
    read_scored_documents,
)
from mixwright.corpus.python_text import BYTES_PER_DOMAIN, python_corpus
from mixwright.corpus.store import PARTS, SCORES, TokenStore, open_store
from mixwright_client.client import Client

commands = typer.Typer(help="Token stores that proxies are trained on.", no_args_is_help=True)

Register = Annotated[bool, typer.Option(help="Tell the server of it as well.")]
Name = Annotated[str | None, typer.Option(help="To register it under; by default the folder's.")]


@commands.command("build")
def build(
    domain: Annotated[
        list[str], typer.Option(help="NAME=GLOB; repeat, also for several globs of a domain.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    tokenizer: Annotated[
        str, typer.Option(help="bytes, bpe:N, or hf:PATH of a tokenizer.json.")
    ] = "bytes",
    text_field: Annotated[
        str, typer.Option(help="Field of JSON lines, or column of Parquet.")
    ] = TEXT_FIELD,
    validation_share: Annotated[
        float, typer.Option(help="Of the documents.", min=0.001, max=0.5)
    ] = VALIDATION_SHARE,
    validation: Annotated[
        list[str] | None,
        typer.Option(help="NAME=GLOB of what a domain validates on instead; repeat."),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(help="Field with a rater's scores, to be kept for sampling; repeat."),
    ] = None,
    id_field: Annotated[str, typer.Option(help="Field of the id of scored documents.")] = ID_FIELD,
    register: Register = False,
    name: Name = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Build a token store from text, JSON lines (.gz, .zst) or Parquet."""
    answer = Answer(as_json)
    files = _files(domain, "--domain")
    clean = _files(validation or [], "--validation")
    total = sum(path.stat().st_size for some in files.values() for path in some)
    passes = 2 if tokenizer.startswith("bpe") else 1

    def scored(path: Path) -> Iterator[str | Document]:
        return read_scored_documents(path, score or [], text_field, id_field)

    def plain(path: Path) -> Iterator[str | Document]:
        return read_documents(path, text_field)

    with _reading(answer, total * passes) as tell:
        store = build_store(
            {name: _reader(some, scored if score else plain, tell) for name, some in files.items()},
            out,
            tokenizer,
            validation_share,
            raters=score or [],
            validation={n: _reader(some, plain, lambda _: None) for n, some in clean.items()},
        )
    _finish(answer, store, connect(url, token) if register else None, name)


@commands.command("python")
def python(
    out: Annotated[Path, typer.Option(help="Where to keep it.")] = Path("var/corpora"),
    register: Register = False,
    name: Name = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Build a corpus from the text of this Python installation: six domains, no download."""
    answer = Answer(as_json)
    with _reading(answer, 6 * BYTES_PER_DOMAIN) as tell:
        store = python_corpus(out, lambda _domain, size: tell(size))
    _finish(answer, store, connect(url, token) if register else None, name)


@commands.command("register")
def register_store(
    folder: Annotated[str, typer.Argument(help="A token store: a folder, or an fsspec URI.")],
    name: Name = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Tell the server of a token store that its workers can reach."""
    registered = register_corpus(connect(url, token), folder, open_store(folder), name)
    Answer(as_json).give(registered, lambda: output.print(f"Registered as {registered['id']}."))


def register_corpus(client: Client, uri: str, store: TokenStore, name: str | None) -> Any:  # noqa: ANN401
    """Register an opened store under its folder's name or another; return the corpus."""
    domains = [
        {
            "name": entry["name"],
            "documents": entry["documents"],
            **{f"{part}_tokens": entry[part]["tokens"] for part in PARTS},
            **{f"{part}_bytes": entry[part]["bytes"] for part in PARTS},
            "sha256": {part: entry[part]["sha256"] for part in (*PARTS, SCORES) if part in entry},
        }
        for entry in store.index["domains"]
    ]
    is_remote = "://" in uri
    body = {
        "name": name or uri.rstrip("/").rsplit("/", 1)[-1],
        "uri": uri if is_remote else str(Path(uri).resolve()),
        "tokenizer": store.tokenizer,
        "vocabulary": store.vocabulary,
        "digest": store.digest,
        "domains": domains,
        **({"raters": list(store.raters)} if store.raters else {}),
    }
    return client.post("/v1/corpora", body)


def _files(named: list[str], option: str) -> dict[str, list[Path]]:
    """Return the files of every domain that NAME=GLOB names."""
    globs: dict[str, list[str]] = {}
    for item in named:
        name, separator, pattern = item.partition("=")
        if not (name and separator and pattern):
            raise typer.BadParameter(f"'{item}' is not NAME=GLOB", param_hint=option)
        globs.setdefault(name, []).append(pattern)
    return {name: find_files(some, f"the domain '{name}'") for name, some in globs.items()}


def _reader(
    files: list[Path],
    read: Callable[[Path], Iterator[str | Document]],
    tell: Callable[[int], None],
) -> Documents:
    def documents() -> Iterator[str | Document]:
        for path in files:
            yield from read(path)
            tell(path.stat().st_size)

    return documents


@contextmanager
def _reading(answer: Answer, total: int) -> Iterator[Callable[[int], None]]:
    """Yield what is told of bytes read; silent for programs."""
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=people, disable=answer.as_json) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda size: bar.advance(task, size)


def _finish(answer: Answer, store: TokenStore, client: Client | None, name: str | None) -> None:
    registered = register_corpus(client, str(store.folder), store, name) if client else None
    found = {"folder": str(store.folder), "digest": store.digest, "corpus": registered}
    answer.give({**found, **store.index}, lambda: _show(store, registered))


def _show(store: TokenStore, registered: Any) -> None:  # noqa: ANN401  - JSON
    table = Table("domain", title=f"{store.folder} ({store.tokenizer})")
    for title in ("train tokens", "validation", "bytes/token", "documents", "dropped"):
        table.add_column(title, justify="right")
    for entry in store.index["domains"]:
        train, validation = entry["train"], entry["validation"]
        table.add_row(
            entry["name"],
            f"{train['tokens']:,}",
            f"{validation['tokens']:,}",
            f"{train['bytes'] / train['tokens']:.2f}",
            f"{entry['documents']:,}",
            f"{entry['dropped']:,}",
        )
    output.print(table)
    if store.raters:
        output.print(f"Every training document has scores of {', '.join(store.raters)}.")
    if registered:
        output.print(f"Registered as {registered['name']} ({registered['id']}).")
    else:
        output.print(f"Next: mixwright corpus register {store.folder}")
