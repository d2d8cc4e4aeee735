"""The token store: a folder with an index and, for each domain, two files of tokens.

```text
index.json               format, tokenizer, vocabulary; per domain counts and SHA-256
0000.train.bin           little-endian uint8, uint16 or uint32, whichever holds the vocabulary
0000.validation.bin
0000.scores.parquet      where training documents are rated; see `mixwright.corpus.scored`
tokenizer.json           where the tokenizer needs one
```

Files are never changed once written. Workers map them into memory, so that all workers of a
machine share one copy, and check them against the index, and the index against the digest that
was registered: what was trained on is what was built.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mixwright.arrays import IntArray
from mixwright.corpus.errors import CorpusError
from mixwright.corpus.scored import ScoredShard, read_scored

INDEX, FORMAT = "index.json", 1
PARTS, SCORES = ("train", "validation"), "scores"
Tokens = npt.NDArray[np.unsignedinteger[Any]]

_verified: set[tuple[str, int, int]] = set()  # path, size, time: hashed before by this process


@dataclass(frozen=True, slots=True)
class TokenStore:
    """An opened token store.

    Attributes:
        index: its description.
        folder: where its files lie.
    """

    index: dict[str, Any]
    folder: Path
    _opened: dict[tuple[int, str], Tokens] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(domain["name"] for domain in self.index["domains"])

    @property
    def tokenizer(self) -> str:
        """What made the tokens: `bytes`, `bpe:N` or `hf:NAME`."""
        return str(self.index["tokenizer"])

    @property
    def vocabulary(self) -> int:
        """How many different tokens there are."""
        return int(self.index["vocabulary"])

    @property
    def raters(self) -> tuple[str, ...]:
        """Names of the scores that every training document has; none in most stores."""
        return tuple(self.index.get("raters", ()))

    @property
    def digest(self) -> str:
        """The SHA-256 of the index, and through it of every file."""
        return index_digest(self.index)

    @property
    def train_tokens(self) -> IntArray:
        """Training tokens of each domain, shape (D,)."""
        return np.array([domain["train"]["tokens"] for domain in self.index["domains"]])

    def train(self, domain: int) -> Tokens:
        """Return the training tokens of a domain, mapped into memory."""
        return self._part(domain, "train")

    def validation(self, domain: int) -> Tokens:
        """Return the validation tokens of a domain, mapped into memory."""
        return self._part(domain, "validation")

    def scored(self, domain: int, raters: Sequence[str]) -> ScoredShard:
        """Return the training documents of a domain with the scores of some raters.

        Raises:
            CorpusError: the store has no such scores.
        """
        missing = [name for name in raters if name not in self.raters]
        if missing:
            raise CorpusError(
                f"the store at {self.folder} has no scores of '{missing[0]}', it has "
                f"{', '.join(self.raters) or 'none'}; build it with --score {missing[0]}"
            )
        return read_scored(self.folder / self.index["domains"][domain][SCORES]["file"], raters)

    def validation_bytes_per_token(self, domain: int) -> float:
        """Return how many bytes of text a validation token stands for, on average."""
        part = self.index["domains"][domain]["validation"]
        return float(part["bytes"] / part["tokens"])

    def require_windows(self, names: tuple[str, ...], context: int) -> None:
        """Return if every named domain is there and has two windows of `context` + 1 tokens.

        Raises:
            CorpusError: names the domain, and what to do.
        """
        for name in names:
            if name not in self.domains:
                raise CorpusError(f"the store at {self.folder} has no domain '{name}'")
            entry = self.index["domains"][self.domains.index(name)]
            for part in PARTS:
                if entry[part]["tokens"] < 2 * (context + 1):
                    raise CorpusError(
                        f"the {part} part of the domain '{name}' has {entry[part]['tokens']} "
                        f"tokens, fewer than two windows of {context + 1}; add text to it, merge "
                        "it with another domain, or train with a shorter context"
                    )

    def _part(self, domain: int, part: str) -> Tokens:
        key = (domain, part)
        if key not in self._opened:
            entry = self.index["domains"][domain][part]
            path = self.folder / entry["file"]
            try:
                self._opened[key] = np.memmap(path, dtype=token_type(self.vocabulary), mode="r")
            except (OSError, ValueError) as error:
                raise CorpusError(f"{path} cannot be read: {error}; is it still there?") from error
        return self._opened[key]


def token_type(vocabulary: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the smallest unsigned type that holds tokens below `vocabulary`."""
    bits = next(size for size in (8, 16, 32) if vocabulary <= 1 << size)
    return np.dtype(f"<u{bits // 8}")


def index_digest(index: dict[str, Any]) -> str:
    """Return the SHA-256 of an index, the same however its JSON is laid out."""
    text = json.dumps(index, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_store(uri: str, digest: str | None = None, cache: Path | None = None) -> TokenStore:
    """Open a token store and check every file of it.

    Args:
        uri: a folder, or any URI that fsspec knows; what is not local is copied first.
        digest: what the store's digest has to be, if that is known.
        cache: where copies are kept.

    Raises:
        CorpusError: it is not there, or not what it should be.
    """
    folder = _local(uri, cache or Path(tempfile.gettempdir()) / "mixwright-corpora")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CorpusError(
            f"there is no token store at {uri}: no {INDEX}; build one with `mixwright corpus "
            "build`, or let this worker reach where it lies"
        ) from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"the index of the store at {uri} cannot be read: {error}") from error
    if index.get("format") != FORMAT:
        raise CorpusError(f"the store at {uri} has the format {index.get('format')}, not {FORMAT}")
    store = TokenStore(index, folder)
    if digest is not None and store.digest != digest:
        raise CorpusError(
            f"the store at {uri} is not the one that was registered: its digest is "
            f"{store.digest[:12]}…, {digest[:12]}… was expected; register it anew"
        )
    for entry in index["domains"]:
        for part in {*PARTS, SCORES} & set(entry):
            _verify(folder / entry[part]["file"], entry[part]["sha256"])
    return store


def _verify(path: Path, expected: str) -> None:
    try:
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        found = expected if key in _verified else file_digest(path)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error
    if found != expected:
        raise CorpusError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, the index says {expected[:12]}…; "
            "copy it again, or build the store anew"
        )
    _verified.add(key)


def _local(uri: str, cache: Path) -> Path:
    if "://" not in uri:
        return Path(uri)
    import fsspec  # of the extras `corpus` and `train`

    files, root = fsspec.url_to_fs(uri)
    if "file" in files.protocol:
        return Path(root)
    try:
        index = files.cat_file(f"{root}/{INDEX}")
        target = cache / hashlib.sha256(uri.encode() + index).hexdigest()[:24]
        if not target.exists():
            _copy(files, root, target)
    except OSError as error:
        raise CorpusError(f"the store at {uri} cannot be copied: {error}") from error
    return target


def _copy(files: Any, root: str, target: Path) -> None:  # noqa: ANN401  - any file system
    """Copy beside and rename, so that nobody opens half a store."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        files.get(f"{root.rstrip('/')}/", f"{beside}/", recursive=True)
        os.replace(beside, target)
    except OSError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
