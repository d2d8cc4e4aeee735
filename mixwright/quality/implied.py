"""What a sampling function will do, before anything is sampled or trained.

Source:
    QuaDMix, arXiv:2504.16511, section 3 [X]: the mixture of domains is what comes out of sampling,
    a domain's share being the sum of its documents' tokens times their expected copies.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
from scipy.special import expit

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction, check_index, merge_scores
from mixwright.quality.parameters import Parameters, check_parameters
from mixwright.quality.ranks import POINTS, RankSketch, sketch_domains
from mixwright.quality.raters import Rater, check_scores

_BLOCK = 1_000_000  # documents looked at together: 100 MB at three raters
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(48)


class Sample(Protocol):
    """Documents that come a block at a time, the same ones whenever they are asked for."""

    def blocks(self) -> Iterator["ScoredDocuments"]:
        """Yield them."""


@dataclass(frozen=True, slots=True)
class ScoredDocuments:
    """A sample of documents; ten million with three raters in single precision take 280 MB.

    Attributes:
        domain_index: shape `(n,)`.
        scores: shape `(n, r)`, raw.
        tokens: shape `(n,)`, whole numbers.
    """

    domain_index: IntArray
    scores: FloatArray
    tokens: IntArray

    def blocks(self) -> Iterator["ScoredDocuments"]:
        """Yield the documents a million at a time."""
        for start in range(0, len(self.tokens), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield ScoredDocuments(self.domain_index[part], self.scores[part], self.tokens[part])


@dataclass(frozen=True, slots=True)
class Implied:
    """What a sampling function is expected to select.

    Attributes:
        tokens: shape `(k,)`, selected, copies counted.
        distinct_tokens: shape `(k,)`, selected, copies not counted.
        available_tokens: shape `(k,)`, of the whole domains.
        mixture: shape `(k,)`, shares of the selected tokens.
        warnings: sentences about domains that all but vanish.
    """

    tokens: FloatArray
    distinct_tokens: FloatArray
    available_tokens: FloatArray
    mixture: FloatArray
    warnings: tuple[str, ...]

    @property
    def repetitions(self) -> FloatArray:
        """How often a selected token is seen on average, `(k,)`; 0 where nothing is selected."""
        nothing = np.zeros_like(self.tokens)
        return np.divide(
            self.tokens, self.distinct_tokens, out=nothing, where=self.distinct_tokens > 0
        )


def fit_function(
    raters: Sequence[Rater],
    domains: Sequence[str],
    parameters: Parameters,
    documents: Sample,
    points: int = POINTS,
) -> SamplingFunction:
    """Return the sampling function of θ with ranks estimated from a sample.

    Args:
        raters: r of them.
        domains: names, k of them.
        parameters: θ.
        documents: the sample.
        points: of a domain's table of ranks, at most.

    Raises:
        InvalidInputError: parameters or documents are not of these domains and raters, a score is
            not finite, or a domain has no document with tokens.
    """
    check_parameters(parameters, tuple(domains), len(raters))
    sketches = sketch_sample(raters, domains, parameters.rater_weights, documents)
    tables = tuple(sketch.to_table(points) for sketch in sketches)
    return SamplingFunction(tuple(raters), tuple(domains), parameters, tables)


def sketch_sample(
    raters: Sequence[Rater],
    domains: Sequence[str],
    rater_weights: FloatArray,
    documents: Sample,
) -> tuple[RankSketch, ...]:
    """Return a sketch of the merged scores of every domain.

    Raises:
        InvalidInputError: the documents are not of these domains and raters, a score is not
            finite, or a domain has no document with tokens.
    """
    sketches = _merge_all(
        _sketch_block(raters, rater_weights, block, len(domains)) for block in documents.blocks()
    )
    missing = [
        name
        for place, name in enumerate(domains)
        if not sketches or not len(sketches[place].tokens)
    ]
    if missing:
        raise InvalidInputError(
            f"the sample has no document with tokens of domain {', '.join(map(repr, missing))}; "
            "sample every domain, or leave the domain out",
            field="domain",
        )
    return sketches


def implied(
    function: SamplingFunction,
    documents: Sample,
    available_tokens: FloatArray | None = None,
) -> Implied:
    """Return what a function is expected to select from domains that a sample stands for.

    A document is selected at least once with probability min(S, 1).

    Args:
        function: of k domains.
        documents: of the sample, which need not be the one that ranks come from.
        available_tokens: shape `(k,)`, of the whole domains; the sample's own where left out.

    Raises:
        InvalidInputError: the documents are not of the function's domains and raters.
    """
    count = len(function.domains)
    sums = np.zeros((4, count))  # tokens, selected, distinct, documents kept for sure
    for block in documents.blocks():
        copies = function.expected_copies(block.domain_index, block.scores)
        columns = (
            block.tokens,
            block.tokens * copies,
            block.tokens * np.minimum(copies, 1),
            copies >= 1,
        )
        sums += [np.bincount(block.domain_index, one, minlength=count) for one in columns]
    sampled, selected, distinct, kept = sums
    available = sampled if available_tokens is None else available_tokens
    scale = np.divide(available, sampled, out=np.zeros(count), where=sampled > 0)
    return Implied(
        tokens=selected * scale,
        distinct_tokens=distinct * scale,
        available_tokens=available,
        mixture=shares_of(selected * scale),
        warnings=tuple(_warn(function, kept)),
    )


def implied_of(parameters: Parameters, available_tokens: FloatArray) -> Implied:
    """Return what θ is expected to select of k domains, without a sample; see `expected_shares`.

    Up to the threshold every document is selected at least once, beyond it with the floor's
    probability.

    Args:
        parameters: θ.
        available_tokens: shape `(k,)`, of the whole domains.
    """
    tokens = expected_shares(*parameters.scalars.values()) * available_tokens
    kept, floor = parameters.threshold, parameters.floor
    distinct = (kept + floor * (1 - kept)) * available_tokens
    return Implied(tokens, distinct, available_tokens, shares_of(tokens), ())


def expected_shares(
    steepness: FloatArray, threshold: FloatArray, exponent: FloatArray, floor: FloatArray
) -> FloatArray:
    """Return selected over available tokens, for domains without large ties, without a sample.

    Ranks are token-weighted, so they are uniform over a domain's tokens whatever the scores, and
    the share is the integral of S over [0, 1]: rater weights do not matter to it. It is computed
    by Gauss-Legendre quadrature, to 1e-9 of itself in the paper's range, to 1e-4 beyond it.

    Args:
        steepness: λ, of any shape.
        threshold: ω, of the same shape.
        exponent: η, of the same shape.
        floor: ε, of the same shape.

    Returns:
        The same shape.
    """
    distance = threshold[..., None] * (1 + _NODES) / 2
    copies = (2 * expit(steepness[..., None] * distance)) ** exponent[..., None]
    shares: FloatArray = copies @ _NODE_WEIGHTS / 2 * threshold + floor
    return shares


def shares_of(tokens: FloatArray) -> FloatArray:
    """Return a mixture in proportion to tokens `(..., k)`; zeros where there are none at all."""
    totals = tokens.sum(axis=-1, keepdims=True)
    shares: FloatArray = np.divide(tokens, totals, out=np.zeros_like(tokens), where=totals > 0)
    return shares


def _sketch_block(
    raters: Sequence[Rater], rater_weights: FloatArray, block: ScoredDocuments, num_domains: int
) -> tuple[RankSketch, ...]:
    check_scores(block.scores, [rater.name for rater in raters])
    check_index(block.domain_index, len(block.tokens), num_domains)
    merged = merge_scores(raters, rater_weights, block.domain_index, block.scores)
    return sketch_domains(merged, block.tokens, block.domain_index, num_domains)


def _merge_all(blocks: Iterable[tuple[RankSketch, ...]]) -> tuple[RankSketch, ...]:
    return reduce(_merge_pairs, blocks, ())


def _merge_pairs(
    some: tuple[RankSketch, ...], more: tuple[RankSketch, ...]
) -> tuple[RankSketch, ...]:
    return tuple(a.merge(b) for a, b in zip(some, more, strict=True)) if some else more


def _warn(function: SamplingFunction, kept: FloatArray) -> Iterator[str]:
    parameters = function.parameters
    for place in np.flatnonzero(kept == 0):
        floor = parameters.floor[place]
        left = f"all that is left of it is the floor, {floor:g} of its tokens"
        yield (
            f"no sampled document of domain '{function.domains[place]}' ranks within its threshold "
            f"{parameters.threshold[place]:g}: {left if floor else 'nothing is left of it'}"
        )
