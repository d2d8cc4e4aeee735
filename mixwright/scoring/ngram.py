"""Perplexity under an n-gram model of words that was fitted to good text.

Source:
    Interpolated modified Kneser-Ney smoothing, Chen and Goodman, "An Empirical Study of Smoothing
    Techniques for Language Modeling", 1998, section 3 [R]. As a filter: Wenzek et al., "CCNet",
    arXiv:1911.00359 [R].

P(w|h) = max(c(hw) - D(c(hw)), 0) / c(h·) + γ(h) P(w|h'), where c counts occurrences at the highest
order and different words to the left below, D is one of three discounts of the order, γ(h) is the
mass that they took, and h' is h without its first word. Below one word lie 1/(V + 1) for each of V
words and all unknown ones together.

Departures:
    * n-grams are hashed to 2^bits places an order and share them where they collide [I]: memory is
      bounded, and `fill` says how full the fullest order is. Without collisions it is exact.
    * A text begins with as many marks as an order needs, whose n-grams count as others do.
    * Where an order lacks counts of one to four, its discounts are 0.5, 1 and 1.5, as KenLM's [R].
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.quality.columns import texts_of
from mixwright.scoring.models import Model, ModelScorer

KIND, ORDER, BITS = "ngram/1", 3, 22
COLUMN = "ngram_perplexity"
_WORDS = re.compile(r"\w+|[^\w\s]")
_BEGIN, _END = "<begin>", "<end>"  # no words: of several
_FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])
_TEXTS = 256  # counted at once
_ODD = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class NgramScorer(ModelScorer):
    """Perplexity, lower is better, as a column."""

    kind: ClassVar[str] = KIND

    def score(self, batch: pa.RecordBatch) -> FloatArray:
        """Return perplexities, `(n, 1)`."""
        texts = texts_of(batch, self.text_column).to_pylist()
        parts = [perplexities(self.model, some) for some in _some(texts)]
        return np.concatenate([np.empty(0), *parts])[:, None]


def fit(texts: Iterable[str], order: int = ORDER, bits: int = BITS) -> Model:
    """Return a model of texts; its memory while it is fitted is about 30 · order · 2^bits bytes.

    Args:
        texts: good ones.
        order: words of the longest n-grams, 2 to 6.
        bits: of a place, 8 to 28.

    Raises:
        InvalidInputError: a number is out of range, or the texts have no words.
    """
    if not (2 <= order <= 6 and 8 <= bits <= 28):
        raise InvalidInputError("an order is 2 to 6, and bits are 8 to 28", "order")
    counter = _Counter(order, bits)
    for some in _some(texts):
        counter.add(some)
    if not counter.words:
        raise InvalidInputError("the good texts have no words", "good")
    return counter.model()


def fill(model: Model) -> float:
    """Return the share of places that the fullest order takes; above a half, raise the bits."""
    orders = range(1, model.settings["order"] + 1)
    return float(max(np.mean(model.arrays[f"counts_{k}"] > 0) for k in orders))


def perplexities(model: Model, texts: Sequence[str]) -> FloatArray:
    """Return the perplexity of each text, `(n,)`: exp of the mean of -log P, its end included."""
    places = _places(texts, model.settings["order"], model.settings["bits"])
    chances = np.full(len(places.owner), 1.0 / (model.settings["vocabulary"] + 1))
    for k, (ngrams, contexts) in enumerate(zip(places.ngrams, places.contexts, strict=True), 1):
        totals = model.arrays[f"totals_{k}"][contexts]
        counts = model.arrays[f"counts_{k}"][ngrams].astype(np.float64)
        kept = _discounted(counts, model.arrays["discounts"][k - 1]) / np.maximum(totals, 1)
        lower = model.arrays[f"masses_{k}"][contexts] * chances
        chances = np.where(totals > 0, kept + lower, chances)
    sums = np.bincount(places.owner, -np.log(chances), minlength=len(texts))
    return np.asarray(np.exp(sums / np.bincount(places.owner, minlength=len(texts))))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the n-grams that end with each predicted word lie in the tables.

    Attributes:
        ngrams: by order, shape `(words,)`.
        contexts: by order, of the n-gram without its last word; 0 for one word.
        owner: which text each predicted word is of, shape `(words,)`.
    """

    ngrams: list[IntArray]
    contexts: list[IntArray]
    owner: IntArray


def _places(texts: Sequence[str], order: int, bits: int) -> _Places:
    rows = [[*[_BEGIN] * (order - 1), *_WORDS.findall(text.lower()), _END] for text in texts]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    owner = np.repeat(np.arange(len(rows)), lengths)
    inside = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    predicted = np.flatnonzero(inside >= order - 1)
    words = _hashes_of([word for row in rows for word in row])
    ngrams, contexts, hashes = [], [np.zeros(len(predicted), dtype=np.int64)], words
    for _ in range(order):
        slots = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        ngrams.append(slots[predicted])
        contexts.append(slots[predicted - 1])
        hashes = _mix(
            np.roll(hashes, 1) * _ODD + words
        )  # all begin inside the text that they end in
    return _Places(ngrams, contexts[:order], owner[predicted])


class _Counter:
    """Counts n-grams of the highest order, and remembers what each one ends and begins with."""

    def __init__(self, order: int, bits: int) -> None:
        self.order, self.bits, self.words = order, bits, 0
        self.counts = np.zeros(1 << bits, dtype=np.int64)
        below = range(order)
        self.contexts = [np.zeros(1 << bits, dtype=np.uint32) for _ in below]
        self.suffixes = [np.zeros(1 << bits, dtype=np.uint32) for _ in below]

    def add(self, texts: Sequence[str]) -> None:
        """Count the n-grams of texts."""
        places = _places(texts, self.order, self.bits)
        self.words += len(places.owner) - len(texts)
        np.add.at(self.counts, places.ngrams[-1], 1)
        for k in range(self.order):
            self.contexts[k][places.ngrams[k]] = places.contexts[k]
            self.suffixes[k][places.ngrams[k]] = places.ngrams[k - 1] if k else 0

    def model(self) -> Model:
        """Return the smoothed model."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        discounts, counts = np.zeros((self.order, 4)), self.counts
        for k in range(self.order, 0, -1):
            seen = np.flatnonzero(counts)
            discounts[k - 1] = _discounts(counts[seen])
            owed = discounts[k - 1][np.minimum(counts[seen], 3)]
            where, size = self.contexts[k - 1][seen], len(counts) if k > 1 else 1
            totals = np.bincount(where, counts[seen], minlength=size)
            taken = np.bincount(where, owed, minlength=size)
            arrays[f"counts_{k}"] = counts.astype(np.uint32)
            arrays[f"totals_{k}"] = totals
            arrays[f"masses_{k}"] = taken / np.maximum(totals, 1)
            if k > 1:
                counts = np.bincount(self.suffixes[k - 1][seen], minlength=len(counts))
        settings = {"order": self.order, "bits": self.bits, "vocabulary": len(seen)}
        return Model(KIND, settings, {**arrays, "discounts": discounts})


def _discounts(counts: IntArray) -> FloatArray:
    """Return what is taken from counts of 0, 1, 2 and of 3 or more, `(4,)`."""
    n1, n2, n3, n4 = (float(np.sum(counts == c)) for c in range(1, 5))
    if min(n1, n2, n3, n4) == 0:
        return _FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return found if (found[1:] > 0).all() else _FALLBACK


def _discounted(counts: FloatArray, discounts: FloatArray) -> FloatArray:
    owed = discounts[np.minimum(counts, 3).astype(np.int64)]
    return np.maximum(counts - owed, 0.0)


def _hashes_of(words: Sequence[str]) -> Hashes:
    known = {word: blake2b(word.encode(), digest_size=8).digest() for word in set(words)}
    return np.frombuffer(b"".join(known[word] for word in words), dtype="<u8").astype(np.uint64)


def _mix(value: Hashes) -> Hashes:
    """Return the words of SplitMix64's finaliser, so that leading bits tell n-grams apart."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))


def _some(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while chunk := list(islice(rest, _TEXTS)):
        yield chunk
