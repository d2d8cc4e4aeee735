"""Turns documents into tokens: bytes, a byte-level BPE trained here, or one that is given.

Every document ends with a token that no text contains, so that a model sees where one ends.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mixwright.corpus.errors import CorpusError
from mixwright.corpus.store import Tokens, token_type

END = "<|endoftext|>"
_SAMPLE_CHARACTERS = 50_000_000


class Tokenizer(Protocol):
    """Encodes documents.

    Attributes:
        name: as it is kept in the index.
        vocabulary: number of different tokens.
    """

    name: str
    vocabulary: int

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a document, with its end."""

    def save(self, folder: Path) -> None:
        """Keep what decoding needs in the store's folder."""


class Bytes:
    """The bytes of UTF-8. A document ends with the byte 0, which is taken out of texts."""

    name, vocabulary = "bytes", 256

    def encode(self, text: str) -> Tokens:
        """Return the bytes of a document, with its end."""
        return np.frombuffer(text.replace("\0", "").encode() + b"\0", dtype=np.uint8)

    def save(self, folder: Path) -> None:
        """Bytes need nothing."""


class Subwords:
    """A tokenizer of the library `tokenizers`."""

    def __init__(self, name: str, tokenizer: Any) -> None:  # noqa: ANN401  - no types
        self.name, self._tokenizer = name, tokenizer
        tokenizer.add_special_tokens([END])
        self._end = tokenizer.token_to_id(END)
        self.vocabulary = tokenizer.get_vocab_size()

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a document, with its end."""
        ids = self._tokenizer.encode(text.replace(END, ""), add_special_tokens=False).ids
        return np.array([*ids, self._end], dtype=token_type(self.vocabulary))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`."""
        self._tokenizer.save(str(folder / "tokenizer.json"))


def make_tokenizer(spec: str, sample: Iterable[str]) -> Tokenizer:
    """Return the tokenizer that `spec` names.

    Args:
        spec: `bytes`; `bpe:N`, trained on `sample` to N tokens; `hf:PATH` of a tokenizer.json.
        sample: documents, read only by `bpe`, and of those no more than 50M characters.

    Raises:
        CorpusError: an unknown name, a size that cannot be, or a file that is no tokenizer.
    """
    kind, _, argument = spec.partition(":")
    if spec == "bytes":
        return Bytes()
    if kind == "bpe" and argument.isdigit() and int(argument) > 256:
        return Subwords(spec, _train_bpe(int(argument), sample))
    if kind == "hf" and argument:
        return Subwords(f"hf:{Path(argument).name}", _load(Path(argument)))
    raise CorpusError(
        f"'{spec}' is no tokenizer; say bytes, bpe:N with N above 256, or hf:PATH of a "
        "tokenizer.json"
    )


def _train_bpe(size: int, sample: Iterable[str]) -> Any:  # noqa: ANN401  - no types
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = Library(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_at_most(sample, _SAMPLE_CHARACTERS), trainer)
    return tokenizer


def _at_most(documents: Iterable[str], characters: int) -> Iterable[str]:
    for document in documents:
        yield document[:characters]
        characters -= len(document)
        if characters <= 0:
            return


def _load(path: Path) -> Any:  # noqa: ANN401  - no types
    from tokenizers import Tokenizer as Library

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        return Library.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise CorpusError(f"{file} is no tokenizer: {error}") from error
