"""Builds a token store from text, one document at a time.

Memory does not grow with the text: only 8 bytes of each document's hash are kept. A store appears
whole or not at all: it is written beside and renamed, so an interrupted build can simply be run
again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

import numpy as np

from mixwright.arrays import IntArray
from mixwright.corpus.errors import CorpusError
from mixwright.corpus.store import FORMAT, INDEX, TokenStore, file_digest, open_store, token_type
from mixwright.corpus.tokenizers import Tokenizer, make_tokenizer

VALIDATION_SHARE = 0.05
_SPLIT_LAST = 10  # a domain whose documents all fell on one side validates on its last tenth
_LEAST_VALIDATION = 4096
_RECENT = 1 << 20

Documents = Callable[[], Iterable[str]]
"""Begins to read a domain's documents; called a second time where a tokenizer is trained."""


@dataclass(slots=True)
class _Part:
    tokens: int = 0
    bytes: int = 0


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
    progress: Callable[[str, int], None] = lambda _domain, _size: None,
) -> TokenStore:
    """Write a token store to `out`, which must not be there, and return it opened.

    Documents that differ in white space alone are the same; a second one, of whatever domain, is
    dropped. A document validates if its hash says so, whatever its place, so that adding others
    moves none from one part to the other. Where that leaves a part with less than 4,096 tokens,
    the domain's last tenth validates instead.

    Args:
        domains: by name, what reads their documents.
        out: the folder to make.
        tokenizer: see `make_tokenizer`.
        validation_share: of the documents.
        progress: is told of each document: its domain, its bytes.

    Raises:
        CorpusError: `out` is there, or a domain is empty.
    """
    if out.exists():
        raise CorpusError(f"{out} is there already; remove it, or build somewhere else")
    made = make_tokenizer(tokenizer, _in_turn(domains))
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        seen = _Seen()
        entries = [
            _write_domain(beside, number, name, documents, made, validation_share, seen, progress)
            for number, (name, documents) in enumerate(domains.items())
        ]
        made.save(beside)
        index = {"format": FORMAT, "tokenizer": made.name, "vocabulary": made.vocabulary}
        _write(beside / INDEX, json.dumps({**index, "domains": entries}, indent=2).encode())
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return open_store(str(out))


def _write_domain(
    folder: Path,
    number: int,
    name: str,
    documents: Documents,
    tokenizer: Tokenizer,
    validation_share: float,
    seen: _Seen,
    progress: Callable[[str, int], None],
) -> dict[str, Any]:
    paths = {part: folder / f"{number:04d}.{part}.bin" for part in ("train", "validation")}
    counts = {part: _Part() for part in paths}
    read = dropped = 0
    with paths["train"].open("wb") as train, paths["validation"].open("wb") as validation:
        files: dict[str, IO[bytes]] = {"train": train, "validation": validation}
        for document in documents():
            size = len(document.encode(errors="replace"))
            progress(name, size)
            read += 1
            value = _hash(document)
            if not document.strip() or not seen.add(value):
                dropped += 1
                continue
            part = "validation" if value < validation_share * 2**64 else "train"
            tokens = tokenizer.encode(document)
            files[part].write(tokens.astype(token_type(tokenizer.vocabulary)).tobytes())
            counts[part].tokens += len(tokens)
            counts[part].bytes += size
    if not any(count.tokens for count in counts.values()):
        raise CorpusError(
            f"the domain '{name}' is empty: of {read} documents, {dropped} were blank or had come "
            "before"
        )
    if min(count.tokens for count in counts.values()) < _LEAST_VALIDATION:
        _split_by_place(paths, counts, token_type(tokenizer.vocabulary).itemsize)
    return {
        "name": name,
        "documents": read - dropped,
        "dropped": dropped,
        **{
            part: {
                "file": path.name,
                "tokens": counts[part].tokens,
                "bytes": counts[part].bytes,
                "sha256": _close(path),
            }
            for part, path in paths.items()
        },
    }


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
        yield from (document for document in row if document is not None)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _close(path)


def _close(path: Path) -> str:
    """Bring a written file to the disk and close it for good; return its SHA-256."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.chmod(0o444)
    return file_digest(path)
