"""Meta-rater's choice of documents as a sampling function, to act on documents that are not here.

Source:
    Zhuang et al., "Meta-rater: A Multi-dimensional Data Selection Method for Pre-training Language
    Models", arXiv:2504.14194 [X]: documents are kept by the weighted sum of their standardised
    scores, the best first, until there are as many tokens as the budget.

That is one bar for all domains, of the merged score. It is a sampling function of QuaDMix: with
λ = η = ε = 0 a document has one copy up to ω and none beyond, and ω of a domain is the share of its
tokens at or above the bar. So it is exact, but for two things:
    * Documents of one merged score are all kept or all dropped; `meta_rater.select` serves them in
      their order.
    * The bar is that of a sample, to the accuracy of its sketch (`mixwright.quality.ranks`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import Sample, sketch_sample
from mixwright.quality.parameters import Parameters
from mixwright.quality.ranks import RankSketch, RankTable
from mixwright.quality.raters import Rater


def best_tokens_function(
    raters: Sequence[Rater],
    domains: Sequence[str],
    weights: FloatArray,
    documents: Sample,
    budget: float,
    available_tokens: FloatArray | None = None,
) -> SamplingFunction:
    """Return the function that keeps the best documents until there are `budget` tokens.

    Args:
        raters: r of them; Meta-rater standardises over documents, whatever their lengths.
        domains: names, k of them.
        weights: shape `(r,)`, on the simplex.
        documents: a sample.
        budget: tokens to keep of the whole domains, up to the score that reaches it.
        available_tokens: shape `(k,)`, of the whole domains; the sample's own where left out.

    Raises:
        InvalidInputError: the budget is not positive; or as `sketch_sample` does.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise InvalidInputError(
            f"the budget is {budget} tokens; it must be above 0", field="budget_tokens"
        )
    rater_weights = np.tile(weights, (len(domains), 1))
    sketches = sketch_sample(raters, domains, rater_weights, documents)
    sampled = np.array([sketch.tokens.sum() for sketch in sketches], dtype=np.float64)
    bar = _bar(
        sketches, (sampled if available_tokens is None else available_tokens) / sampled, budget
    )
    below_one = np.nextafter(1.0, 0.0)  # a document that is worse than any of the sample ranks 1
    kept = np.array([min(sketch.share_up_to(bar), below_one) for sketch in sketches])
    zeros = np.zeros(len(domains))
    return SamplingFunction(
        raters=tuple(raters),
        domains=tuple(domains),
        parameters=Parameters(rater_weights, zeros, kept, zeros, zeros),
        ranks=tuple(
            _parted(sketch.to_table(), bar, share)
            for sketch, share in zip(sketches, kept, strict=True)
        ),
    )


def _bar(sketches: Sequence[RankSketch], scale: FloatArray, budget: float) -> float:
    """Return the worst merged score that is kept: all of it, if the budget is all there is.

    Args:
        sketches: of k domains.
        scale: shape `(k,)`, tokens of the whole domain for one that was sampled.
        budget: in tokens of the whole domains.
    """
    merged = np.concatenate([sketch.worst for sketch in sketches])
    tokens = np.concatenate(
        [sketch.tokens * one for sketch, one in zip(sketches, scale, strict=True)]
    )
    order = np.argsort(merged, kind="stable")
    place = int(np.searchsorted(np.cumsum(tokens[order]), budget))
    return float(merged[order[min(place, len(order) - 1)]])


def _parted(table: RankTable, bar: float, share: float) -> RankTable:
    """Return a table in which exactly the scores up to `bar` have ranks up to `share`."""
    above, beyond = np.nextafter(bar, np.inf), np.nextafter(share, 1.0)
    is_kept = table.values <= bar
    ranks = np.where(is_kept, np.minimum(table.ranks, share), np.maximum(table.ranks, beyond))
    if above in table.values:
        return replace(table, ranks=ranks)
    place = int(is_kept.sum())
    last = 1.0 if place == len(ranks) else beyond
    return RankTable(np.insert(table.values, place, above), np.insert(ranks, place, last))
