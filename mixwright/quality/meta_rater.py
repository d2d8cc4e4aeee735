"""Meta-rater: one score per document, a mean of many raters with weights tuned through proxies.

Source:
    Zhuang et al., "Meta-rater: A Multi-dimensional Data Selection Method for Pre-training Language
    Models", arXiv:2504.14194, and its authors' pipeline [X]: 256 weight vectors from
    Dirichlet(1, ..., 1), documents kept by the weighted sum of their scores, a proxy trained on
    each selection, a regression from weights to losses, a million candidate weights and the mean of
    the 128 with the lowest predictions.

Departures:
    * Scores are standardised per rater before they are weighted, so that a weight means the same
      for every rater; a rater that is constant then counts for nothing.
    * Any surrogate may predict the losses, one model per metric.

Weights are at least 0: a rater whose lower scores are better must be negated before.
"""

from collections.abc import Callable, Iterable

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.scores import keep_best, standardise
from mixwright.simplex import normalise

CANDIDATES, TOP_K = 1_000_000, 128
_BLOCK = 100_000  # candidates held at once: 20 MB at 25 raters


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


def mean_of_best(
    predict: Callable[[FloatArray], FloatArray], candidates: Iterable[FloatArray], top_k: int
) -> FloatArray:
    """Return the mean of the `top_k` candidates with the lowest predictions.

    Args:
        predict: from vectors `(q, r)` to predictions `(q,)`, lower is better.
        candidates: blocks of vectors, each `(q, r)`, `top_k` or more in all.
        top_k: how many are averaged.

    Returns:
        Shape `(r,)`.
    """
    best: list[FloatArray] = []
    lowest = np.empty(0)
    for block in candidates:
        found = np.vstack([*best, block])
        lowest = np.append(lowest, predict(block))
        order = np.argsort(lowest, kind="stable")[:top_k]
        best, lowest = [found[order]], lowest[order]
    return np.asarray(np.vstack(best).mean(axis=0))


def propose(
    predict: Callable[[FloatArray], FloatArray],
    num_raters: int,
    seed: int,
    candidates: int = CANDIDATES,
    top_k: int = TOP_K,
) -> FloatArray:
    """Return the weights to select the final documents with.

    Args:
        predict: from weights `(q, r)` to predicted losses `(q,)`.
        num_raters: r.
        seed: equal seeds give equal weights.
        candidates: how many weights are simulated.
        top_k: how many of them are averaged.

    Returns:
        Shape `(r,)`, on the simplex.

    Raises:
        InvalidInputError: fewer candidates than `top_k`.
    """
    if not 1 <= top_k <= candidates:
        raise InvalidInputError(
            f"top_k is {top_k}; it must be 1 to candidates, {candidates}", field="top_k"
        )
    rng = np.random.default_rng(seed)
    sizes = (min(_BLOCK, candidates - start) for start in range(0, candidates, _BLOCK))
    blocks = (rng.dirichlet(np.ones(num_raters), size) for size in sizes)
    return mean_of_best(predict, blocks, top_k)
