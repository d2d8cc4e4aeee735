"""How often a mixture repeats each domain, and what the repetitions are worth.

Sources:
    Effective data: Muennighoff et al., "Scaling Data-Constrained Language Models",
    arXiv:2305.16264, equation 5 and the fitted R*_D = 15.387756 [X]. It was fitted to whole
    corpora; applied domain by domain it is an extrapolation.
    UniMax: Chung et al., "UniMax: Fairer and more Effective Language Sampling for Large-Scale
    Multilingual Pretraining", arXiv:2304.09151, algorithm 1 [R].
"""

import numpy as np

from mixwright.arrays import FloatArray

HALF_LIFE_EPOCHS = 15.387756  # R*_D


def count_epochs(
    mixtures: FloatArray, unique_tokens: FloatArray, target_tokens: float
) -> FloatArray:
    """Return how often each domain is seen.

    Args:
        mixtures: shape `(..., k)`.
        unique_tokens: shape `(k,)`, tokens of each domain; NaN where unknown.
        target_tokens: tokens to train on.

    Returns:
        Shape `(..., k)`, epochs; NaN where the tokens are unknown.
    """
    epochs: FloatArray = mixtures * target_tokens / unique_tokens
    return epochs


def effective_tokens(unique_tokens: FloatArray, trained_tokens: FloatArray) -> FloatArray:
    """Return how many fresh tokens would be worth as much as the repeated ones.

    `U + U R* (1 - exp(-R / R*))` with `R = trained / U - 1` repetitions: four epochs keep 93 % of
    their value, and no number of epochs is worth more than `1 + R*` = 16.4 of them.

    Args:
        unique_tokens: above 0; any shape.
        trained_tokens: at least 0; a shape that broadcasts with it.

    Returns:
        Tokens, in the common shape; `trained_tokens` itself up to one epoch.
    """
    repetitions = np.maximum(trained_tokens / unique_tokens - 1.0, 0.0)
    worth = -np.expm1(-repetitions / HALF_LIFE_EPOCHS) * HALF_LIFE_EPOCHS
    effective: FloatArray = np.minimum(trained_tokens, unique_tokens) + unique_tokens * worth
    return effective


def unimax(unique_tokens: FloatArray, target_tokens: float, max_epochs: float) -> FloatArray:
    """Return the token allocation that is as even as the repetition cap allows.

    Every domain below its cap gets the same amount.

    Args:
        unique_tokens: shape `(k,)`.
        target_tokens: tokens to share out.
        max_epochs: largest number of times a domain is seen.

    Returns:
        Shape `(k,)`, tokens; they sum to less than `target_tokens` if every domain is at its cap.
    """
    caps = max_epochs * np.asarray(unique_tokens, dtype=np.float64)
    allocation, left = np.empty_like(caps), float(target_tokens)
    order = np.argsort(caps, kind="stable")
    for served, i in enumerate(order):
        allocation[i] = min(left / (len(order) - served), caps[i])
        left -= allocation[i]
    return allocation
