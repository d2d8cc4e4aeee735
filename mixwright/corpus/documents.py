"""Reads documents, one at a time, from the files that people have."""

import glob
import gzip
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mixwright.corpus.errors import CorpusError

TEXT_FIELD, ID_FIELD = "text", "id"
_Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was rated.

    Attributes:
        text: what it says.
        id: its name, by which is decided how often it is sampled.
        scores: of raters, in the order that the reader was given.
    """

    text: str
    id: str
    scores: tuple[float, ...]


def find_files(patterns: Sequence[str], of: str) -> list[Path]:
    """Return the files that the globs match, sorted; `of` says what they are of.

    Raises:
        CorpusError: they match none.
    """
    found = {Path(name) for pattern in patterns for name in glob.glob(pattern, recursive=True)}
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise CorpusError(f"no file of {of} matches {', '.join(patterns)}")
    return files


def read_documents(path: Path, text_field: str = TEXT_FIELD) -> Iterator[str]:
    """Yield the documents of a file, by its name's ending.

    `.jsonl`, also `.gz` and `.zst`: one object a line, of which `text_field` is the text.
    `.parquet`: the column `text_field`. Everything else is one document of UTF-8 text.

    Raises:
        CorpusError: a row without text, or a file that is not what its name says; names the line.
    """
    if _has_rows(path):
        yield from (_text_of(row, where, text_field) for where, row in _rows(path, [text_field]))
    else:
        yield path.read_text(encoding="utf-8", errors="replace")


def read_scored_documents(
    path: Path, raters: Sequence[str], text_field: str = TEXT_FIELD, id_field: str = ID_FIELD
) -> Iterator[Document]:
    """Yield the documents of a file with their ids and scores.

    Args:
        path: of JSON lines or Parquet; see `read_documents`.
        raters: the fields of scores.
        text_field: of the text.
        id_field: of the id, text or a whole number.

    Raises:
        CorpusError: a file that cannot carry scores, a row without text or id, or a score that is
            missing or not finite; names the file and the row.
    """
    if not _has_rows(path):
        raise CorpusError(f"{path} has no scores; scored documents come from .jsonl or .parquet")
    for where, row in _rows(path, [text_field, id_field, *raters]):
        yield Document(
            _text_of(row, where, text_field),
            _id_of(row, where, id_field),
            tuple(_score_of(row, where, rater) for rater in raters),
        )


def _has_rows(path: Path) -> bool:
    return path.name.lower().endswith((".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"))


def _rows(path: Path, fields: Sequence[str]) -> Iterator[_Row]:
    """Yield where each row stands, and the row."""
    is_parquet = path.name.lower().endswith(".parquet")
    return _parquet(path, fields) if is_parquet else _json_lines(path)


def _text_of(row: dict[str, Any], where: str, field: str) -> str:
    if not isinstance(text := row.get(field), str):
        raise CorpusError(
            f"{where} has no text in the field '{field}'; name the field with --text-field"
        )
    return text


def _id_of(row: dict[str, Any], where: str, field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise CorpusError(
            f"{where} has no id in the field '{field}', text or a whole number; name the field "
            "with --id-field"
        )
    return str(value)


def _score_of(row: dict[str, Any], where: str, rater: str) -> float:
    value = row.get(rater)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    found = "no score" if value is None else f"the score {value!r}"
    raise CorpusError(f"{where} has {found} of '{rater}'; rate the document again, or drop it")


def _json_lines(path: Path) -> Iterator[_Row]:
    unreadable: tuple[type[Exception], ...] = (OSError, EOFError, UnicodeDecodeError)
    unreadable += _unpacking_errors(path)
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}, line {number}"
                    yield where, _parsed(line, where)
    except unreadable as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half a character is no text
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where} is not JSON: {error}") from error
    return row if isinstance(row, dict) else {}


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


def _parquet(path: Path, fields: Sequence[str]) -> Iterator[_Row]:
    from pyarrow import ArrowInvalid, parquet  # of the extra `corpus`

    try:
        file = parquet.ParquetFile(path)
    except ArrowInvalid as error:
        raise CorpusError(f"{path} is not Parquet: {error}") from error
    with file:
        there = file.schema_arrow.names
        if missing := [name for name in fields if name not in there]:
            raise CorpusError(f"{path} has no column '{missing[0]}', it has {', '.join(there)}")
        number = 0
        for batch in file.iter_batches(columns=list(fields)):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
