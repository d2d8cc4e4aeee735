"""PreSelect: documents on which losses rank models as their abilities do.

Source:
    Shum et al., "Predictive Data Selection: The Data That Predicts Is the Data That Teaches",
    arXiv:2503.00808 [S]: the share of pairs of models of which the abler one compresses the
    document better, 1 where every abler model does.

Departures:
    * Models of equal ability have no order; their pairs are left out, also of the divisor.
    * Equal losses count as 0, as the strict inequality says.
"""

from itertools import combinations

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.scores import finite


def predictive_strength(losses: FloatArray, abilities: FloatArray) -> FloatArray:
    """Return how far the losses on each document rank the models by their abilities.

    With p pairs of models there are p + 1 different scores: few models tie many documents.

    Args:
        losses: shape `(n, models)`, loss of each model on each document, lower is better,
            normalised by what does not depend on the tokenizer: bits per character.
        abilities: shape `(models,)`, of each model on downstream tasks, higher is better.

    Returns:
        Shape `(n,)`, 0 to 1. Abilities turned round turn the scores round, but for equal losses.

    Raises:
        InvalidInputError: a number is not finite, the shapes differ, or no two models differ in
            ability.
    """
    losses, abilities = finite(losses, "losses"), finite(abilities, "abilities")
    if losses.ndim != 2 or losses.shape[1] != len(abilities):
        raise InvalidInputError(
            f"{len(abilities)} abilities for losses of shape {losses.shape}; losses need a column "
            "per model",
            field="losses",
        )
    order = np.argsort(abilities, kind="stable")
    pairs = [(i, j) for i, j in combinations(order, 2) if abilities[i] < abilities[j]]
    if not pairs:
        raise InvalidInputError(
            "all models are equally able; give models that differ", field="abilities"
        )
    agreeing = np.zeros(len(losses))
    for weaker, abler in pairs:
        agreeing += losses[:, weaker] > losses[:, abler]
    return agreeing / len(pairs)
