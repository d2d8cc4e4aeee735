"""What several methods do with the scores of documents: put them on one scale, and keep the best.

Higher scores are better. A rater whose lower scores are better is negated before.
"""

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError


def standardise(scores: FloatArray) -> FloatArray:
    """Return scores with mean 0 and variance 1 over the documents.

    The variance divides by the number of documents. A rater that gives every document the same
    score tells nothing: its scores become 0.

    Args:
        scores: shape `(n,)` or, a column per rater, `(n, r)`.

    Returns:
        The same shape.

    Raises:
        InvalidInputError: there are no documents, or a score is not a finite number.
    """
    scores = finite(scores, "scores")
    constant = np.ptp(scores, axis=0) == 0  # the computed deviation need not be 0
    deviation = np.where(constant, 1.0, scores.std(axis=0))
    return np.asarray(np.where(constant, 0.0, scores - scores.mean(axis=0)) / deviation)


def finite(values: FloatArray, field: str) -> FloatArray:
    """Return `values` as doubles, a row per document, if there are any and all are finite.

    Raises:
        InvalidInputError: otherwise; it names the first bad row.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        raise InvalidInputError(f"{field} has no documents", field=field)
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise InvalidInputError(
            f"{field} of {int(bad.sum())} of the {len(values)} documents are not finite numbers, "
            f"first of document number {int(bad.argmax())}; score these again or leave them out",
            field=field,
        )
    return values


def keep_best(values: FloatArray, tokens: FloatArray, budget: float) -> BoolArray:
    """Keep documents, the highest value first, until they have as many tokens as the budget.

    The document that reaches the budget is kept, so that up to one document more is kept than the
    budget allows. Equal values are served in the order of the documents.

    Args:
        values: shape `(n,)`.
        tokens: shape `(n,)`, of each document.
        budget: in tokens; more than there are keeps all, 0 keeps none.

    Returns:
        Shape `(n,)`, whether each document is kept.

    Raises:
        InvalidInputError: the budget is negative or not finite.
    """
    if not (np.isfinite(budget) and budget >= 0):
        raise InvalidInputError(f"the budget is {budget} tokens; it must be 0 or more", "budget")
    order = np.argsort(-values, kind="stable")
    before = np.cumsum(tokens[order]) - tokens[order]
    kept = np.zeros(len(values), dtype=np.bool_)
    kept[order[before < budget]] = True
    return kept
