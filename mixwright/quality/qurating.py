"""QuRating's sampling: documents drawn by quality and temperature, none twice.

Source:
    Wettig et al., "QuRating: Selecting High-Quality Data for Training Language Models",
    arXiv:2402.09739, and its script `data_tools/select_subset.py` [X]: scores with mean 0 and
    variance 1, divided by the temperature, plus Gumbel noise; documents in descending order until
    the token budget is reached. Several raters are summed before. That a temperature of 2 does best
    in the paper is [R].

Departures:
    * The noise is made of given uniforms, so that it can belong to the document and not to its
      place: the same decision on any machine.
    * A temperature of 0 keeps the best without noise, and an infinite one draws evenly.
    * A budget above all tokens keeps all documents.
"""

import numpy as np
from scipy.special import softmax

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.scores import finite, keep_best, standardise

TEMPERATURE = 2.0
_SMALLEST_UNIFORM = 2.0**-54  # half of the least that 53 bits make: 0 would be minus infinity


def sample(
    scores: FloatArray,
    tokens: FloatArray,
    uniforms: FloatArray,
    budget: float,
    temperature: float = TEMPERATURE,
    domains: np.ndarray | None = None,
) -> BoolArray:
    """Draw documents without replacement, with odds of `exp(score / temperature)` at every draw.

    Args:
        scores: shape `(n,)`, higher is better.
        tokens: shape `(n,)`, of each document.
        uniforms: shape `(n,)`, in [0, 1), a random number of each document's own.
        budget: tokens to keep, up to the document that reaches it.
        temperature: at least 0; how little quality matters.
        domains: shape `(n,)`, each document's domain. If given, every domain has the share of the
            budget that it has of all tokens, rounded down, so that the mixture stays as it is.

    Returns:
        Shape `(n,)`, whether each document is kept. How often a document is kept is not
        proportional to its odds, since none is drawn twice.

    Raises:
        InvalidInputError: a score is not finite, the temperature is negative, or a uniform is
            outside [0, 1).
    """
    keys = sampling_keys(scores, uniforms, temperature)
    if domains is None:
        return keep_best(keys, tokens, budget)
    kept = np.zeros(len(keys), dtype=np.bool_)
    for domain in np.unique(domains):
        rows = np.flatnonzero(domains == domain)
        share = np.floor(budget * (tokens[rows].sum() / tokens.sum()))
        kept[rows] = keep_best(keys[rows], tokens[rows], share)
    return kept


def sampling_keys(scores: FloatArray, uniforms: FloatArray, temperature: float) -> FloatArray:
    """Return what documents are sorted by, highest first: `score / temperature` plus Gumbel noise.

    Args:
        scores: shape `(n,)`, higher is better.
        uniforms: shape `(n,)`, in [0, 1).
        temperature: at least 0; at 0 the standardised scores themselves.

    Returns:
        Shape `(n,)`.

    Raises:
        InvalidInputError: as `sample` does.
    """
    standard = standardise(scores)
    if not temperature >= 0:
        raise InvalidInputError(
            f"the temperature is {temperature}; it must be 0 or more", field="temperature"
        )
    return standard if temperature == 0 else standard / temperature + gumbel(uniforms)


def gumbel(uniforms: FloatArray) -> FloatArray:
    """Return standard Gumbel noise, `-log(-log(u))`, of uniforms in [0, 1).

    Raises:
        InvalidInputError: a uniform is outside [0, 1).
    """
    uniforms = finite(uniforms, "uniforms")
    if ((uniforms < 0) | (uniforms >= 1)).any():
        raise InvalidInputError("uniforms must be at least 0 and below 1", field="uniforms")
    return np.asarray(-np.log(-np.log(np.maximum(uniforms, _SMALLEST_UNIFORM))))


def first_draw(scores: FloatArray, temperature: float) -> FloatArray:
    """Return each document's probability of being drawn first, `(n,)`: a softmax.

    Args:
        scores: shape `(n,)`, higher is better.
        temperature: above 0.

    Raises:
        InvalidInputError: a score is not finite, or the temperature is not above 0.
    """
    if not temperature > 0:
        raise InvalidInputError(
            f"the temperature is {temperature}; it must be above 0", field="temperature"
        )
    return np.asarray(softmax(standardise(scores) / temperature))
