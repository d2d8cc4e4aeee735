"""Turns rows as they were sent into a part of a sample, or says which of them are wrong and why."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from app.errors import FieldError, InvalidRequestError, pointer
from app.samples.packing import Array
from app.samples.space import RatedSpace
from app.studies.definition import listed
from mixwright.arrays import LARGEST_NUMBER, BoolArray, FloatArray, IntArray

DOMAIN, TOKENS, ID = "domain", "tokens", "id"
LARGEST_PART = 1_000_000  # documents
_MOST_ERRORS = 100
_MOST_TOKENS = 2**32 - 1  # of a document


@dataclass(frozen=True, slots=True)
class Rows:
    """Some of the rows that were sent, b of them.

    Attributes:
        numbers: shape `(b,)`, which rows, from 1.
        domain: names, b of them.
        tokens: shape `(b,)`, NaN where there is no number.
        scores: r arrays `(b,)`, NaN where there is no number.
        ids: b of them, None where a row has none.
    """

    numbers: IntArray
    domain: Sequence[object]
    tokens: FloatArray
    scores: Sequence[FloatArray]
    ids: Sequence[object]


@dataclass(frozen=True, slots=True)
class Part:
    """Scored documents, n of them.

    Attributes:
        domain_index: shape `(n,)`, 16 bits.
        tokens: shape `(n,)`, 32 bits.
        scores: r arrays `(n,)`, raw; of single precision where that loses nothing.
        names: shape `(n,)`, 64 bits of a hash of a document with its id; 0 where it has none.
        sha256: of the content, however it was sent.
    """

    domain_index: Array
    tokens: Array
    scores: tuple[Array, ...]
    names: Array
    sha256: str

    def only(self, kept: BoolArray) -> Self:
        """Return those documents that `kept` `(n,)` says, as a part of its own."""
        if kept.all():
            return self
        digest = hashlib.sha256(self.sha256.encode() + np.packbits(kept).tobytes())
        return type(self)(
            self.domain_index[kept],
            self.tokens[kept],
            tuple(one[kept] for one in self.scores),
            self.names[kept],
            digest.hexdigest(),
        )


@dataclass(slots=True)
class Wrong:
    """What is wrong with rows: the first hundred things, and how many there are."""

    errors: list[FieldError] = field(default_factory=list)
    count: int = 0

    def add(self, row: int, column: str | None, detail: str) -> None:
        """Note something about a row, counted from 1."""
        self.count += 1
        if len(self.errors) < _MOST_ERRORS:
            where = pointer(row - 1) if column is None else pointer(row - 1, column)
            self.errors.append(FieldError(pointer=where, detail=f"row {row}: {detail}"))

    def refuse(self) -> None:
        """Raise if anything was noted.

        Raises:
            InvalidRequestError: names the rows.
        """
        if self.errors:
            first = "; ".join(f"{one.detail} ({one.pointer})" for one in self.errors[:3])
            more = f" (and {self.count - 3} more)" if self.count > 3 else ""
            raise InvalidRequestError(
                f"the documents are not valid, so none was stored: {first}{more}", self.errors
            )


def to_part(space: RatedSpace, batches: Iterable[Rows], wrong: Wrong) -> Part:
    """Return checked rows as a part of a sample.

    Args:
        space: whose domains and raters they have to be of.
        batches: of rows, in their order.
        wrong: what the reader of the rows notes things in as well.

    Raises:
        InvalidRequestError: names the rows that are wrong; or there are none, or too many.
    """
    places = {name: place for place, name in enumerate(space.domains)}
    names, checked, count = hashlib.sha256(repr(space.raters).encode()), [], 0
    for rows in batches:
        count += len(rows.numbers)
        if count > LARGEST_PART:
            raise InvalidRequestError(_TOO_MANY)
        columns = _check(space, places, rows, wrong)
        checked.append((_names(rows.ids, columns), *columns))
        names.update("".join(f"{len(str(one))}:{one}" for one in rows.ids).encode())
        if wrong.count >= _MOST_ERRORS:
            break
    wrong.refuse()
    if not count:
        raise InvalidRequestError("there is no document in the body")
    known_by, domain_index, tokens, *scores = (
        np.concatenate(one) for one in zip(*checked, strict=True)
    )
    digest = hashlib.sha256(names.digest())
    for array in (domain_index, tokens, *scores):
        digest.update(array.tobytes())
    narrow = tuple(_narrowed(one) for one in scores)
    return Part(domain_index, tokens, narrow, known_by, digest.hexdigest())


_TOO_MANY = f"more than {LARGEST_PART:,} documents in one body; send a sample in several parts"


def _check(
    space: RatedSpace, places: dict[Any, int], rows: Rows, wrong: Wrong
) -> tuple[Array, ...]:
    """Return domain index, tokens and scores of rows; note what is wrong with them."""
    index = np.array([_place(places, name) for name in rows.domain], dtype=np.int64)
    for at in _first(index < 0):
        detail = f"'{rows.domain[at]}' is not a domain of the study; it has {listed(space.domains)}"
        wrong.add(int(rows.numbers[at]), DOMAIN, detail)
    with np.errstate(invalid="ignore"):
        whole = (rows.tokens == np.floor(rows.tokens)) & (rows.tokens >= 0)
        is_count = whole & (rows.tokens <= _MOST_TOKENS)
    for at in _first(~is_count):
        detail = f"{_told(rows.tokens[at])}; a whole number from 0 to {_MOST_TOKENS} is needed"
        wrong.add(int(rows.numbers[at]), TOKENS, detail)
    for rater, scores in zip(space.raters, rows.scores, strict=True):
        for at in _first(~(np.abs(scores) < LARGEST_NUMBER)):
            detail = f"{_told(scores[at])}; a finite number below {LARGEST_NUMBER:g} is needed"
            wrong.add(int(rows.numbers[at]), rater, detail)
    for at, name in enumerate(rows.ids):
        if not (name is None or type(name) in (str, int)):
            wrong.add(int(rows.numbers[at]), ID, "text or a whole number is needed")
    tokens = np.where(is_count, rows.tokens, 0).astype(np.uint32)
    return index.astype(np.uint16), tokens, *(one.astype(np.float64) for one in rows.scores)


def _names(ids: Sequence[object], columns: Sequence[Array]) -> Array:
    """Return 64 bits of BLAKE2b of every row and its id, `(b,)`; 0 where it has none.

    An id is not enough: files may each count their documents from 0.
    """
    facts = np.column_stack(columns).astype("<f8") + 0.0  # -0.0 is 0.0
    rows, width = facts.tobytes(), 8 * facts.shape[1]
    digests = (
        bytes(8)
        if one is None
        else hashlib.blake2b(
            rows[at * width : (at + 1) * width] + _text(one), digest_size=8
        ).digest()
        for at, one in enumerate(ids)
    )
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _text(name: object) -> bytes:
    return str(name).encode("utf-8", "surrogatepass")


def _place(places: dict[Any, int], name: object) -> int:
    return places.get(name, -1) if isinstance(name, str) else -1


def _first(is_wrong: BoolArray) -> Iterator[int]:
    return iter(np.flatnonzero(is_wrong).tolist())


def _told(value: float) -> str:
    return "no number" if np.isnan(value) else f"{value:g}"


def _narrowed(scores: Array) -> Array:
    narrow = scores.astype(np.float32)
    return narrow if np.array_equal(narrow, scores) else scores
