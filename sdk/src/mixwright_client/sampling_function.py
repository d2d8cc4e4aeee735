"""A sampling function's arithmetic: how many copies of a document to take, from its JSON alone.

The server's core computes with these functions, so both choose the same documents, to the last bit.
They take arrays, look at every document by itself, and need NumPy only.

Source:
    Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining",
    arXiv:2504.16511, equations 1 to 3. n counts documents, k domains, r raters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Union

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Ids = Union[Sequence[str], Sequence[bytes], Sequence[int], npt.NDArray[np.generic]]

FORMAT = "mixwright-sampling-function/1"
NUMBERS = ("lambda", "omega", "eta", "epsilon")
_BITS = 53


class SamplingError(ValueError):
    """A function or a document that cannot be used."""


@dataclass(frozen=True, eq=False)
class SamplingFunction:
    """What the core's `to_json` wrote, ready to be evaluated.

    Attributes:
        raters: r of them, as JSON has them, in the order of the columns of scores.
        domains: names of k domains.
        rater_weights: shape `(k, r)`, α.
        numbers: λ, ω, η and ε, each of shape `(k,)`.
        ranks: k tables of merged scores and the ranks that they have.
    """

    raters: tuple[Mapping[str, Any], ...]
    domains: tuple[str, ...]
    rater_weights: Floats
    numbers: tuple[Floats, ...]
    ranks: tuple[tuple[Floats, Floats], ...]

    @classmethod
    def from_json(cls, text: str | bytes) -> SamplingFunction:
        """Return the function that a server or the core wrote.

        Raises:
            SamplingError: it is another text.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise SamplingError(f"the format is {document['format']!r}; expected {FORMAT!r}")
            raters, domains = tuple(document["raters"]), document["domains"]
            rows = [[one["rater_weights"][rater["name"]] for rater in raters] for one in domains]
            return cls(
                raters,
                tuple(one["name"] for one in domains),
                _array(rows),
                tuple(_array([one[name] for one in domains]) for name in NUMBERS),
                tuple(_table(one["ranks"], "values", "ranks") for one in domains),
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise SamplingError(f"this is no sampling function: {error!r}") from error

    def expected_copies(self, domain_index: Places, scores: Floats) -> Floats:
        """Return the expected copies of documents, shape `(n,)`.

        Args:
            domain_index: places in `domains`, shape `(n,)`.
            scores: raw and finite, shape `(n, r)`.
        """
        penalties = [_penalty(rater, scores[:, i]) for i, rater in enumerate(self.raters)]
        merged = merge(self.rater_weights[domain_index], penalties)
        ranks = np.empty(len(merged))
        for place in np.unique(domain_index):
            rows = domain_index == place
            ranks[rows] = ranks_of(merged[rows], *self.ranks[place])
        return expected_copies_at(ranks, *(one[domain_index] for one in self.numbers))


def z_scores(scores: Floats, center: float, scale: float) -> Floats:
    """Return scores less the center, over the scale."""
    return np.asarray((scores - center) / scale)


def interpolate(scores: Floats, values: Floats, normals: Floats) -> Floats:
    """Return what lies at scores between rising points, and at the ends beyond them.

    It never falls, to the last bit.

    Args:
        scores: shape `(n,)`.
        values: rising scores, shape `(p,)`, two or more.
        normals: what they become, rising, shape `(p,)`.
    """
    place = np.clip(np.searchsorted(values, scores, side="right") - 1, 0, len(values) - 2)
    low, high = values[place], values[place + 1]
    share = (np.clip(scores, low, high) - low) / (high - low)
    found = normals[place] + share * (normals[place + 1] - normals[place])
    return np.asarray(np.minimum(found, normals[place + 1]))


def merge(rater_weights: Floats, penalties: Sequence[Floats]) -> Floats:
    """Return merged scores, smaller is better, shape `(n,)` (equation 1).

    The sum runs over raters in their order, document by document, so that it does not depend on
    what else is in the batch.

    Args:
        rater_weights: of each document's domain, shape `(n, r)`.
        penalties: normalised scores, smaller is better: r of shape `(n,)`.
    """
    total = np.zeros(len(rater_weights))
    for column, penalty in enumerate(penalties):
        total += rater_weights[:, column] * penalty
    return total


def ranks_of(merged: Floats, values: Floats, ranks: Floats) -> Floats:
    """Return ranks of merged scores: of the largest value not above it, 0 below all (equation 2).

    Args:
        merged: shape `(n,)`.
        values: rising merged scores, shape `(p,)`.
        ranks: rising shares of the domain's tokens up to each value, shape `(p,)`.
    """
    place = np.searchsorted(values, merged, side="right")
    return np.asarray(np.concatenate([[0.0], ranks])[place])


def expected_copies_at(
    ranks: Floats, steepness: Floats, threshold: Floats, exponent: Floats, floor: Floats
) -> Floats:
    """Return S(r) = [2 / (1 + exp(-λ(ω - r)))]^η + ε where r <= ω, and ε elsewhere (equation 3).

    Args:
        ranks: r in [0, 1], 0 is best; all arguments have shape `(n,)`.
        steepness: λ, at least 0: no λ overflows.
        threshold: ω.
        exponent: η.
        floor: ε.
    """
    within = np.maximum(threshold - ranks, 0.0)
    kept = (2.0 / (1.0 + np.exp(-(steepness * within)))) ** exponent
    return np.asarray(np.where(ranks <= threshold, kept, 0.0) + floor)


def round_copies(expected: Floats, uniforms: Floats) -> Places:
    """Return floor(S) + 1 where the uniform number is below S - floor(S), floor(S) elsewhere."""
    whole = np.floor(expected)
    return np.asarray((whole + (uniforms < expected - whole)).astype(np.int64))


def uniforms_of(ids: Ids, seed: int) -> Floats:
    """Return a number in [0, 1) for every document, a function of its name and the seed only.

    It is the leading 53 bits of BLAKE2b (RFC 7693) of the name's UTF-8, salted with the seed. An
    integer counts as its decimal digits, so 7 and "7" are the same document, as are "a" and b"a".

    Args:
        ids: names of n documents: text, bytes or integers.
        seed: 0 to 2^64 - 1.

    Returns:
        Shape `(n,)`.

    Raises:
        SamplingError: a name is something else (or missing), or the seed out of range.
    """
    if not 0 <= seed < 2**64:
        raise SamplingError(f"seed is {seed}; it must be 0 to 2^64 - 1")
    names = ids.tolist() if isinstance(ids, np.ndarray) else ids
    salt = seed.to_bytes(8, "little")
    digests = b"".join(blake2b(_encode(name), digest_size=8, salt=salt).digest() for name in names)
    words = np.frombuffer(digests, dtype=">u8").astype(np.uint64)
    return np.asarray((words >> np.uint64(64 - _BITS)).astype(np.float64) * 2.0**-_BITS)


def _penalty(rater: Mapping[str, Any], scores: Floats) -> Floats:
    if "table" in rater:
        normal = interpolate(scores, *_table(rater["table"], "values", "normals"))
    else:
        normal = z_scores(scores, rater["center"], rater["scale"])
    return -normal if rater["higher_is_better"] else normal


def _table(table: Mapping[str, Any], *names: str) -> tuple[Floats, Floats]:
    first, second = (_array(table[name]) for name in names)
    return first, second


def _array(numbers: Sequence[Any]) -> Floats:
    return np.array(numbers, dtype=np.float64)


def _encode(name: object) -> bytes:
    if isinstance(name, str):
        return name.encode("utf-8", "surrogatepass")
    if isinstance(name, bytes):
        return name
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
        return str(name).encode()
    raise SamplingError(f"a document is named {name!r}; names must be text, bytes or whole numbers")
