"""What a weight means to a loader, and how each meaning follows from token shares.

The service speaks token shares: `p_i`, the part of all trained tokens that comes from domain i.
Loaders draw documents, sequences, epochs or rows instead, and a token share pasted into a field
of document probabilities trains on another mixture without any error.

Symbols: `p` token shares `(k,)`, `L` mean tokens per document `(k,)`, `N` available tokens `(k,)`,
`T` token budget, `s` tokens per sequence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mixwright.arrays import FloatArray, IntArray


class Unit(StrEnum):
    """A meaning of "weight"."""

    TOKEN_SHARE = "token_share"  # noqa: S105 - a unit, not a secret
    SEQUENCE_SHARE = "sequence_share"
    DOCUMENT_PROBABILITY = "document_probability"
    EPOCHS = "epochs"
    KEPT_FRACTION = "kept_fraction"
    ROW_SHARE = "row_share"
    SAMPLES = "samples"


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """What a unit is and takes.

    Attributes:
        meaning: one line for a reader.
        formula: how it follows from token shares.
        needs: fields of `ExportedMixture` the formula uses besides the weights.
        sums_to_one: whether its values are shares of a whole.
    """

    meaning: str
    formula: str
    needs: tuple[str, ...] = ()
    sums_to_one: bool = True


UNITS: Mapping[Unit, UnitFacts] = {
    Unit.TOKEN_SHARE: UnitFacts("part of the trained tokens", "p"),
    Unit.SEQUENCE_SHARE: UnitFacts("part of the sequences, all of one length", "p"),
    Unit.DOCUMENT_PROBABILITY: UnitFacts(
        "probability that the next document comes from the domain",
        "(p / L) / sum(p / L)",
        ("mean_document_tokens",),
    ),
    Unit.EPOCHS: UnitFacts(
        "passes over the domain during the training",
        "p T / N",
        ("tokens", "token_budget"),
        sums_to_one=False,
    ),
    Unit.KEPT_FRACTION: UnitFacts(
        "part of the domain that is kept, then trained on as often as the most repeated one",
        "(p / N) / max(p / N)",
        ("tokens",),
        sums_to_one=False,
    ),
    Unit.ROW_SHARE: UnitFacts(
        "part of the rows of a mixed corpus that repeats nothing",
        "(p / L) / sum(p / L)",
        ("mean_document_tokens",),
    ),
    Unit.SAMPLES: UnitFacts(
        "number of sequences",
        "p T / s, rounded so that the sum is T / s",
        ("token_budget", "sequence_length"),
        sums_to_one=False,
    ),
}


def document_shares(shares: FloatArray, mean_document_tokens: FloatArray) -> FloatArray:
    """Return the shares of documents, shape `(k,)`, sum 1, that give these token shares."""
    documents_per_token = shares / mean_document_tokens
    return np.asarray(documents_per_token / documents_per_token.sum())


def epochs(shares: FloatArray, tokens: FloatArray, token_budget: float) -> FloatArray:
    """Return how often each domain is passed over, shape `(k,)`."""
    return np.asarray(shares * token_budget / tokens)


def kept_fractions(shares: FloatArray, tokens: FloatArray) -> FloatArray:
    """Return which part of each domain to keep, shape `(k,)`, largest 1.

    Training for as many epochs as the most repeated domain needs then gives the token shares;
    the budget cancels.
    """
    repetition = shares / tokens
    return np.asarray(repetition / repetition.max())


def samples(shares: FloatArray, token_budget: float, sequence_length: float) -> IntArray:
    """Return the sequences of each domain, shape `(k,)`, that together fill the budget."""
    return apportion(shares, round(token_budget / sequence_length))


def apportion(shares: FloatArray, total: int) -> IntArray:
    """Return whole numbers proportional to `shares` that sum to `total` exactly.

    Hamilton's method: everyone gets the floor, the largest remainders get one more; ties go to
    the earlier domain. Each number is less than 1 away from its exact value.
    """
    exact = shares / shares.sum() * total
    counts = np.floor(exact)
    shortfall = total - int(counts.sum())
    neediest = np.argsort(counts - exact, kind="stable")[:shortfall]
    counts[neediest] += 1
    return np.asarray(counts, dtype=np.int64)
