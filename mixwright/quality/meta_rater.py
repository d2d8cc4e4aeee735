"""Meta-rater: one score per document, a mean of many raters with weights tuned through proxies.

Source:
    Zhuang et al., "Meta-rater: A Multi-dimensional Data Selection Method for Pre-training Language
    Models", arXiv:2504.14194, and its authors' pipeline [X]: 256 weight vectors from
    Dirichlet(1, ..., 1), documents kept by the weighted sum of their scores, a proxy trained on
    each selection, a regression from weights to losses, a million candidate weights and the mean of
    the 128 with the lowest predictions. That search is `mixwright.recommend.regmix` in the space of
    raters, `mixwright.spaces.meta_rater`.

Departures:
    * Scores are standardised per rater before they are weighted, so that a weight means the same
      for every rater; a rater that is constant then counts for nothing.
    * Any surrogate may predict the losses, one model per metric.

Weights are at least 0: a rater whose lower scores are better must be negated before.
"""

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.scores import keep_best, standardise
from mixwright.simplex import normalise

TOP_K = 128


def draw_weights(num_raters: int, count: int, seed: int) -> FloatArray:
    """Return weights of raters, uniform on the simplex.

    Args:
        num_raters: at least 1.
        count: number of draws.
        seed: equal seeds give equal draws.

    Returns:
        Shape `(count, num_raters)`.
    """
    return np.random.default_rng(seed).dirichlet(np.ones(num_raters), count)


def aggregate(scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted mean of each document's standardised scores.

    Args:
        scores: shape `(n, r)`, higher is better.
        weights: shape `(r,)`, on the simplex.

    Returns:
        Shape `(n,)`, higher is better.

    Raises:
        InvalidInputError: a score is not finite, or the weights are of other raters.
        NotOnSimplexError: a weight is negative, or they do not sum to 1.
    """
    if np.ndim(scores) != 2 or np.shape(scores)[1] != len(weights):
        raise InvalidInputError(
            f"{len(weights)} weights for scores of shape {np.shape(scores)}; scores need a column "
            "per weight",
            field="weights",
        )
    return np.asarray(standardise(scores) @ normalise(weights))


def select(scores: FloatArray, tokens: FloatArray, weights: FloatArray, budget: float) -> BoolArray:
    """Keep the documents with the highest aggregated scores.

    Args:
        scores: shape `(n, r)`, higher is better.
        tokens: shape `(n,)`, of each document.
        weights: shape `(r,)`, on the simplex.
        budget: tokens to keep, up to the document that reaches it.

    Returns:
        Shape `(n,)`, whether each document is kept.

    Raises:
        InvalidInputError: as `aggregate` and `keep_best` do.
    """
    return keep_best(aggregate(scores, weights), tokens, budget)
