"""Reads documents, one at a time, from the files that people have."""

import glob
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from mixwright.corpus.errors import CorpusError

TEXT_FIELD = "text"


def find_files(patterns: Sequence[str], domain: str) -> list[Path]:
    """Return the files that the globs match, sorted.

    Raises:
        CorpusError: they match none.
    """
    found = {Path(name) for pattern in patterns for name in glob.glob(pattern, recursive=True)}
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise CorpusError(f"no file for the domain '{domain}' matches {', '.join(patterns)}")
    return files


def read_documents(path: Path, text_field: str = TEXT_FIELD) -> Iterator[str]:
    """Yield the documents of a file, by its name's ending.

    `.jsonl`, also `.gz` and `.zst`: one object a line, of which `text_field` is the text.
    `.parquet`: the column `text_field`. Everything else is one document of UTF-8 text.

    Raises:
        CorpusError: a row without text, or a file that is not what its name says; names the line.
    """
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz", ".jsonl.zst")):
        yield from _json_lines(path, text_field)
    elif name.endswith(".parquet"):
        yield from _parquet(path, text_field)
    else:
        yield path.read_text(encoding="utf-8", errors="replace")


def _json_lines(path: Path, text_field: str) -> Iterator[str]:
    unreadable: tuple[type[Exception], ...] = (OSError, EOFError, UnicodeDecodeError)
    unreadable += _unpacking_errors(path)
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text_of(line, f"{path}, line {number}", text_field)
    except unreadable as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error


def _unpacking_errors(path: Path) -> tuple[type[Exception], ...]:
    if not path.name.endswith(".zst"):
        return ()
    import zstandard  # of the extra `corpus`

    return (zstandard.ZstdError,)


def _open(path: Path) -> IO[str]:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    if path.name.endswith(".zst"):
        import zstandard  # of the extra `corpus`

        reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True)
        return io.TextIOWrapper(reader, encoding="utf-8")
    return path.open(encoding="utf-8")


def _text_of(line: str, where: str, text_field: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{where} is not JSON: {error}") from error
    text = row.get(text_field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise CorpusError(
            f"{where} has no text in the field '{text_field}'; name the field with --text-field"
        )
    return text


def _parquet(path: Path, text_field: str) -> Iterator[str]:
    from pyarrow import ArrowInvalid, parquet  # of the extra `corpus`

    try:
        file = parquet.ParquetFile(path)
    except ArrowInvalid as error:
        raise CorpusError(f"{path} is not Parquet: {error}") from error
    with file:
        if text_field not in file.schema_arrow.names:
            raise CorpusError(
                f"{path} has no column '{text_field}', it has {', '.join(file.schema_arrow.names)}"
            )
        for batch in file.iter_batches(columns=[text_field]):
            for row, text in enumerate(batch.column(0).to_pylist()):
                if not isinstance(text, str):
                    raise CorpusError(f"{path} has no text in row {row} of a batch")
                yield text
