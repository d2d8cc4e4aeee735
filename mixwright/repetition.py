"""How often a mixture repeats each domain, and what the repetitions are worth.

Sources:
    Effective data: Muennighoff et al., "Scaling Data-Constrained Language Models",
    arXiv:2305.16264, equation 5 and the fitted R*_D = 15.387756 [X]. It was fitted to whole
    corpora; applied domain by domain it is an extrapolation.
    UniMax: Chung et al., "UniMax: Fairer and more Effective Language Sampling for Large-Scale
    Multilingual Pretraining", arXiv:2304.09151, algorithm 1 [R].
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray

HALF_LIFE_EPOCHS = 15.387756  # R*_D


@dataclass(frozen=True, slots=True)
class DataConstrainedLaw:
    """The loss of a model by its parameters, its unique tokens and the tokens it trains on.

    L = A / N'^α + B / D'^α + E, of effective parameters N' and tokens D' [X]. The exponent was
    fitted as .353 and is printed as .35, which moves losses by .04: the default is the fitted one.
    The law was fitted to C4, whose loss it gives; of other data, take differences alone. That it
    sums the effective tokens of several domains is an extrapolation [I].

    Attributes:
        parameters_term: A.
        tokens_term: B.
        exponent: α, which β equals.
        floor: E.
        parameters_life: R*_N.
        tokens_life: R*_D.
        parameters_per_token: U_N over U_D, parameters that unique tokens can fill.
    """

    parameters_term: float = 521.0
    tokens_term: float = 1488.0
    exponent: float = 0.353
    floor: float = 1.87
    parameters_life: float = 5.309743
    tokens_life: float = HALF_LIFE_EPOCHS
    parameters_per_token: float = 0.051

    def loss(
        self, parameters: FloatArray, unique_tokens: FloatArray, trained_tokens: FloatArray
    ) -> FloatArray:
        """Return losses `(...)` in nats a token.

        Args:
            parameters: shape `(...)`, N, above 0.
            unique_tokens: shape `(..., k)`, of each domain, above 0.
            trained_tokens: shape `(..., k)`, of each domain; more than 0 in all.
        """
        seen = np.minimum(unique_tokens, trained_tokens).sum(-1)
        filled = np.minimum(self.parameters_per_token * seen, parameters)
        effective = _worth(filled, parameters, self.parameters_life)
        tokens = _worth(unique_tokens, trained_tokens, self.tokens_life).sum(-1)
        by_size = self.parameters_term / effective**self.exponent
        loss: FloatArray = by_size + self.tokens_term / tokens**self.exponent + self.floor
        return loss


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
    return _worth(unique_tokens, trained_tokens, HALF_LIFE_EPOCHS)


def _worth(unique: FloatArray, used: FloatArray, life: float) -> FloatArray:
    repetitions = np.maximum(used / unique - 1.0, 0.0)
    worth = -np.expm1(-repetitions / life) * life
    effective: FloatArray = np.minimum(used, unique) + unique * worth
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
