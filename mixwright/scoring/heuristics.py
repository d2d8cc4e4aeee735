"""What can be counted about a text: no model at all.

Sources, by signal in `SIGNALS`:
    Gopher: Rae et al., arXiv:2112.11446, tables A1 and section A.1 [R];
    C4: Raffel et al., arXiv:1910.10683 [R];
    RedPajama: Weber et al., "RedPajama: an Open Dataset", arXiv:2411.12372, the signals of V2 [R].

Words are what is between white space. A share of nothing is 0, so that an empty text has numbers
too. None of these points one way: Gopher bounds the length of words from both sides.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mixwright.arrays import FloatArray
from mixwright.quality.columns import texts_of
from mixwright.quality.shards import Fields

KIND = "heuristics/1"
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_ENDS = (".", "!", "?", '"', "”", "。", "！", "？")
_ELLIPSES = ("...", "…")
_BULLETS = ("-", "*", "•", "‣", "◦", "▪", "–")
_PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class Text:
    """A text, taken apart once for all signals.

    Attributes:
        words: as they are.
        plain: words in lower case without punctuation, none empty.
        lines: stripped, none empty.
        symbols: hashes and ellipses.
    """

    words: list[str]
    plain: list[str]
    lines: list[str]
    symbols: int

    @classmethod
    def of(cls, text: str) -> "Text":
        """Take a text apart."""
        plain = _PUNCTUATION.sub("", text.lower()).split()
        lines = [line for line in map(str.strip, text.splitlines()) if line]
        return cls(text.split(), plain, lines, sum(map(text.count, ("#", *_ELLIPSES))))


@dataclass(frozen=True, slots=True)
class Signal:
    """One number about a text.

    Attributes:
        name: of the column.
        source: whose it is.
        of: computes it.
    """

    name: str
    source: str
    of: Callable[[Text], float]


def share(part: float, whole: float) -> float:
    """Return part of the whole, 0 of nothing."""
    return part / whole if whole else 0.0


def of_lines(has: Callable[[str], bool]) -> Callable[[Text], float]:
    """Return the share of lines that have something."""
    return lambda text: share(sum(map(has, text.lines)), len(text.lines))


def of_words(has: Callable[[str], bool]) -> Callable[[Text], float]:
    """Return the share of words that have something."""
    return lambda text: share(sum(map(has, text.words)), len(text.words))


def entropy(text: Text) -> float:
    """Return the entropy of the words, in nats."""
    counts = np.array(list(Counter(text.plain).values()), dtype=np.float64)
    shares = counts / max(counts.sum(), 1.0)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def in_duplicate_lines(text: Text) -> float:
    """Return the share of characters in lines that came before."""
    repeated = sum(len(line) * (count - 1) for line, count in Counter(text.lines).items())
    return share(repeated, sum(map(len, text.lines)))


def in_top(n: int) -> Callable[[Text], float]:
    """Return the share of characters in the n-gram of words that is there most often, if twice."""

    def found(text: Text) -> float:
        counts = Counter(_grams(text.plain, n))
        gram, count = max(counts.items(), key=lambda one: one[1], default=((), 0))
        length = sum(map(len, gram)) * count
        return min(1.0, share(length, sum(map(len, text.plain)))) if count > 1 else 0.0

    return found


def in_duplicates(n: int) -> Callable[[Text], float]:
    """Return the share of characters in n-grams of words that came before, each counted once."""

    def found(text: Text) -> float:
        seen, covered = set[tuple[str, ...]](), np.zeros(len(text.plain), dtype=bool)
        for place, gram in enumerate(_grams(text.plain, n)):
            if gram in seen:
                covered[place : place + n] = True
            seen.add(gram)
        lengths = np.array([len(word) for word in text.plain])
        return share(float(lengths[covered].sum()), float(lengths.sum()))

    return found


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))


SIGNALS = (
    Signal("word_count", "Gopher", lambda text: len(text.words)),
    Signal(
        "mean_word_length",
        "Gopher",
        lambda text: share(sum(map(len, text.words)), len(text.words)),
    ),
    Signal("symbol_to_word_ratio", "Gopher", lambda text: share(text.symbols, len(text.words))),
    Signal(
        "words_without_letters",
        "Gopher",
        of_words(lambda word: not any(map(str.isalpha, word))),
    ),
    Signal("different_stop_words", "Gopher", lambda text: len(STOP_WORDS.intersection(text.plain))),
    Signal(
        "stop_words",
        "RedPajama",
        lambda text: share(sum(word in STOP_WORDS for word in text.plain), len(text.plain)),
    ),
    Signal("words_in_capitals", "RedPajama", of_words(str.isupper)),
    Signal(
        "different_words",
        "RedPajama",
        lambda text: share(len(set(text.plain)), len(text.plain)),
    ),
    Signal("entropy_of_words", "RedPajama", entropy),
    Signal("lines_with_bullet", "Gopher", of_lines(lambda line: line.startswith(_BULLETS))),
    Signal("lines_with_ellipsis", "Gopher", of_lines(lambda line: line.endswith(_ELLIPSES))),
    Signal(
        "lines_with_end",
        "C4",
        of_lines(lambda line: line.endswith(_ENDS) and not line.endswith(_ELLIPSES)),
    ),
    Signal(
        "duplicate_lines",
        "Gopher",
        lambda text: share(len(text.lines) - len(set(text.lines)), len(text.lines)),
    ),
    Signal("characters_in_duplicate_lines", "Gopher", in_duplicate_lines),
    *(Signal(f"characters_in_top_{n}gram", "Gopher", in_top(n)) for n in (2, 3, 4)),
    *(Signal(f"characters_in_duplicate_{n}grams", "Gopher", in_duplicates(n)) for n in (5, 10)),
)


@dataclass(frozen=True, slots=True)
class HeuristicScorer:
    """All signals, each as a column.

    Attributes:
        text_column: where a document's text is.
        prefix: of the columns' names.
    """

    text_column: str = "text"
    prefix: str = ""

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        added = tuple(f"{self.prefix}{signal.name}" for signal in SIGNALS)
        return Fields(texts=(self.text_column,), added=added)

    @property
    def made_of(self) -> dict[str, Any]:
        """Which signals, in which version."""
        return {"kind": KIND, "signals": [signal.name for signal in SIGNALS]}

    def score(self, batch: pa.RecordBatch) -> FloatArray:
        """Return the signals of n documents, `(n, signals)`."""
        texts = map(Text.of, texts_of(batch, self.text_column).to_pylist())
        rows = [[float(signal.of(text)) for signal in SIGNALS] for text in texts]
        return np.array(rows, dtype=np.float64).reshape(-1, len(SIGNALS))
