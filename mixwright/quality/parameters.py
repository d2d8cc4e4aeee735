"""What a sampling function of QuaDMix is tuned by: θ.

Source:
    Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining",
    arXiv:2504.16511 [X].

In docstrings of this package n counts documents, k domains and r raters.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError

PER_DOMAIN = ("lambda", "omega", "eta", "epsilon")
_LARGEST = {"lambda": np.inf, "omega": 1.0, "eta": 1.0, "epsilon": 1.0}
SUM_TOLERANCE = 5e-3  # of rater weights; they are divided by their sum


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters θ of QuaDMix, which it calls α, λ, ω, η and ε.

    Attributes:
        rater_weights: shape `(k, r)`, every row on the simplex: α, how much a domain trusts whom.
        steepness: shape `(k,)`, λ >= 0: how fast copies fall with the rank.
        threshold: shape `(k,)`, ω in [0, 1]: the rank up to which documents are kept.
        exponent: shape `(k,)`, η in [0, 1]: the best documents get nearly 2^η copies.
        floor: shape `(k,)`, ε in [0, 1]: the expected copies of all others.
    """

    rater_weights: FloatArray
    steepness: FloatArray
    threshold: FloatArray
    exponent: FloatArray
    floor: FloatArray

    @property
    def scalars(self) -> dict[str, FloatArray]:
        """The four numbers of every domain, by the paper's names, each `(k,)`."""
        values = (self.steepness, self.threshold, self.exponent, self.floor)
        return dict(zip(PER_DOMAIN, values, strict=True))


def check_parameters(parameters: Parameters, domains: tuple[str, ...], num_raters: int) -> None:
    """Check that parameters are those of these domains and as many raters.

    η and ε are at most 1, so that no document gets more than three copies. ε = η = 0 is valid:
    it keeps one copy of what is above the threshold and nothing else.

    Raises:
        InvalidInputError: a shape, a range, or a row of rater weights that is not on the simplex.
    """
    weights = parameters.rater_weights
    if weights.shape != (len(domains), num_raters):
        raise InvalidInputError(
            f"rater weights have shape {weights.shape}; {len(domains)} domains and {num_raters} "
            f"raters need {(len(domains), num_raters)}",
            field="rater_weights",
        )
    for domain, row in zip(domains, weights, strict=True):
        if not (np.isfinite(row).all() and (row >= 0).all()) or abs(row.sum() - 1) > SUM_TOLERANCE:
            raise InvalidInputError(
                f"the rater weights of domain '{domain}' are {row.tolist()}; they must be at "
                "least 0 and sum to 1",
                field="rater_weights",
            )
    for name, values in parameters.scalars.items():
        _check_range(name, values, domains)


def _check_range(name: str, values: FloatArray, domains: tuple[str, ...]) -> None:
    if values.shape != (len(domains),):
        raise InvalidInputError(
            f"{name} has shape {values.shape}; {len(domains)} domains need one each", field=name
        )
    wrong = ~(np.isfinite(values) & (values >= 0) & (values <= _LARGEST[name]))
    if wrong.any():
        place = int(wrong.argmax())
        raise InvalidInputError(
            f"{name} of domain '{domains[place]}' is {values[place]}; it must be finite, at least "
            f"0 and at most {_LARGEST[name]:g}",
            field=name,
        )
