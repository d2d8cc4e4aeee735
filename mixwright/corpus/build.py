"""Builds a token store from text, one document at a time.

Memory does not grow with the text: only 8 bytes of each document's hash are kept. A store appears
whole or not at all: it is written beside and renamed, so an interrupted build can simply be run
again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from mixwright.arrays import IntArray
from mixwright.corpus.documents import Document
from mixwright.corpus.errors import CorpusError
from mixwright.corpus.scored import COLUMNS, ScoreWriter
from mixwright.corpus.store import (
    FORMAT,
    INDEX,
    PARTS,
    SCORES,
    TokenStore,
    file_digest,
    open_store,
    token_type,
)
from mixwright.corpus.tokenizers import Tokenizer, make_tokenizer

VALIDATION_SHARE = 0.05
_SPLIT_LAST = 10  # a domain whose documents all fell on one side validates on its last tenth
_LEAST_VALIDATION = 4096
_RECENT = 1 << 20

Documents = Callable[[], Iterable[str | Document]]
"""Begins to read a domain's documents; called a second time where a tokenizer is trained."""
Progress = Callable[[str, int], None]


@dataclass(slots=True)
class _Part:
    tokens: int = 0
    bytes: int = 0

    def add(self, text: str, tokens: int) -> None:
        self.tokens += tokens
        self.bytes += len(text.encode(errors="replace"))


@dataclass(slots=True)
class _Seen:
    """Hashes of the documents so far: 8 bytes each, and the latest million in a set."""

    sorted: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    recent: set[int] = field(default_factory=set)

    def add(self, value: int) -> bool:
        """Note a hash; return whether it is new."""
        place = int(np.searchsorted(self.sorted, np.uint64(value)))
        is_old = place < len(self.sorted) and int(self.sorted[place]) == value
        if is_old or value in self.recent:
            return False
        self.recent.add(value)
        if len(self.recent) >= _RECENT:
            new = np.fromiter(self.recent, dtype=np.uint64, count=len(self.recent))
            self.sorted, self.recent = np.sort(np.concatenate([self.sorted, new])), set()
        return True


def build_store(
    domains: Mapping[str, Documents],
    out: Path,
    tokenizer: str = "bytes",
    validation_share: float = VALIDATION_SHARE,
    progress: Progress = lambda _domain, _size: None,
    *,
    raters: Sequence[str] = (),
    validation: Mapping[str, Documents] | None = None,
) -> TokenStore:
    """Write a token store to `out`, which must not be there, and return it opened.

    Documents that differ in white space alone are the same; a second one, of whatever domain, is
    dropped. A document validates if its hash says so, whatever its place, so that adding others
    moves none from one part to the other. Where that leaves a part with less than 4,096 tokens,
    the domain's last tenth validates instead.

    Args:
        domains: by name, what reads their documents; `Document`s where there are raters.
        out: the folder to make.
        tokenizer: see `make_tokenizer`.
        validation_share: of the documents.
        progress: is told of each document: its domain, its bytes.
        raters: names of the scores; they are kept for every training document.
        validation: by name, what reads the text that a domain validates on; all its other
            documents train. It is read first, so that no document of it is trained on.

    Raises:
        CorpusError: `out` is there, a domain is empty, or a scored one validates on too little.
    """
    if out.exists():
        raise CorpusError(f"{out} is there already; remove it, or build somewhere else")
    given = validation or {}
    _check_names(domains, raters, given)
    made = make_tokenizer(tokenizer, _in_turn(domains))
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        seen = _Seen()
        writers = [
            _Writer(beside, number, name, made, tuple(raters), seen, progress)
            for number, name in enumerate(domains)
        ]
        for writer in writers:
            writer.write(given.get(writer.name, list), 1.0)
        for writer in writers:
            share = 0.0 if writer.name in given else validation_share
            writer.write(domains[writer.name], share)
        entries = [writer.finish(writer.name in given) for writer in writers]
        made.save(beside)
        index = {"format": FORMAT, "tokenizer": made.name, "vocabulary": made.vocabulary}
        index |= {"raters": list(raters)} if raters else {}
        _write(beside / INDEX, json.dumps({**index, "domains": entries}, indent=2).encode())
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return open_store(str(out))


def _check_names(
    domains: Mapping[str, Documents], raters: Sequence[str], given: Mapping[str, Documents]
) -> None:
    unknown = [name for name in given if name not in domains]
    if unknown:
        raise CorpusError(f"validation text of '{unknown[0]}', which is no domain of the store")
    names = [*COLUMNS, *raters]
    twice = [name for name in raters if names.count(name) > 1]
    if twice:
        raise CorpusError(f"a rater cannot be called '{twice[0]}': name raters once, not {COLUMNS}")


@dataclass(slots=True)
class _Writer:
    """The files of a domain."""

    folder: Path
    number: int
    name: str
    tokenizer: Tokenizer
    raters: tuple[str, ...]
    seen: _Seen
    progress: Progress
    counts: dict[str, _Part] = field(default_factory=lambda: {part: _Part() for part in PARTS})
    scored: int = 0
    read: int = 0
    dropped: int = 0

    def path(self, part: str) -> Path:
        ending = "parquet" if part == SCORES else "bin"
        return self.folder / f"{self.number:04d}.{part}.{ending}"

    def write(self, documents: Documents, validation_share: float) -> None:
        """Add documents, so many of which validate."""
        with ExitStack() as stack:
            files = {part: stack.enter_context(self.path(part).open("ab")) for part in PARTS}
            table = None
            if self.raters and validation_share < 1:
                table = ScoreWriter(self.path(SCORES), self.name, self.raters)
                stack.callback(table.close)
            for document in documents():
                text = document.text if isinstance(document, Document) else document
                value = self._new(text)
                if value is None:
                    continue
                part = "validation" if value < validation_share * 2**64 else "train"
                tokens = self.tokenizer.encode(text)
                files[part].write(tokens.astype(self._type).tobytes())
                self.counts[part].add(text, len(tokens))
                if table is not None and part == "train":
                    assert isinstance(document, Document)  # noqa: S101  - there are raters
                    table.add(document, len(tokens))
                    self.scored += 1

    def finish(self, is_validation_given: bool) -> dict[str, Any]:
        """Return the domain's entry in the index."""
        if not any(count.tokens for count in self.counts.values()):
            raise CorpusError(
                f"the domain '{self.name}' is empty: of {self.read} documents, {self.dropped} were "
                "blank or had come before"
            )
        self._divide(is_validation_given)
        entry: dict[str, Any] = {
            "name": self.name,
            "documents": self.read - self.dropped,
            "dropped": self.dropped,
        }
        for part in PARTS:
            path, count = self.path(part), self.counts[part]
            named = {"file": path.name, "tokens": count.tokens, "bytes": count.bytes}
            entry[part] = {**named, "sha256": _close(path)}
        if self.raters:
            path = self.path(SCORES)
            named = {"file": path.name, "documents": self.scored}
            entry[SCORES] = {**named, "sha256": _close(path)}
        return entry

    @property
    def _type(self) -> np.dtype[Any]:
        return token_type(self.tokenizer.vocabulary)

    def _new(self, text: str) -> int | None:
        """Return the hash of a document that has not come before."""
        self.progress(self.name, len(text.encode(errors="replace")))
        self.read += 1
        value = _hash(text)
        if text.strip() and self.seen.add(value):
            return value
        self.dropped += 1
        return None

    def _divide(self, is_validation_given: bool) -> None:
        """See that there is something to validate on."""
        fewest = min(self.counts.values(), key=lambda count: count.tokens).tokens
        if fewest >= _LEAST_VALIDATION:
            return
        if not self.raters and not is_validation_given:
            _split_by_place({p: self.path(p) for p in PARTS}, self.counts, self._type.itemsize)
        elif not fewest or not is_validation_given:
            raise CorpusError(
                f"the domain '{self.name}' trains or validates on {fewest} tokens only; give it "
                "text to validate on (--validation), or a larger --validation-share"
            )


def _split_by_place(paths: dict[str, Path], counts: dict[str, _Part], size: int) -> None:
    """Let the last tenth validate; bytes are divided in proportion."""
    with paths["train"].open("ab") as train, paths["validation"].open("rb") as validation:
        shutil.copyfileobj(validation, train)
    tokens = sum(count.tokens for count in counts.values())
    text = sum(count.bytes for count in counts.values())
    kept = tokens - max(1, tokens // _SPLIT_LAST)
    with paths["train"].open("r+b") as train, paths["validation"].open("wb") as validation:
        train.seek(kept * size)
        shutil.copyfileobj(train, validation)
        train.truncate(kept * size)
    counts["train"] = _Part(kept, round(text * kept / tokens))
    counts["validation"] = _Part(tokens - kept, text - counts["train"].bytes)


def _hash(document: str) -> int:
    normal = " ".join(document.split()).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(normal, digest_size=8).digest())


def _in_turn(domains: Mapping[str, Documents]) -> Iterator[str]:
    """Yield a document of each domain in turn, so that a sample has a share of all."""
    for row in zip_longest(*(documents() for documents in domains.values())):
        for one in row:
            if one is not None:
                yield one.text if isinstance(one, Document) else one


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _close(path)


def _close(path: Path) -> str:
    """Bring a written file to the disk and close it for good; return its SHA-256."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.chmod(0o444)
    return file_digest(path)
