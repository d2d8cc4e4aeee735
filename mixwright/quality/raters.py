"""Raters of documents: which way their scores point, and how they are brought to one scale.

Source:
    QuaDMix, arXiv:2504.16511, section 3.1 [X]: criteria are normalised, so that smaller is better,
    before they are averaged. The paper does not say how; ours is the z-score [I], recorded with
    every sampling function.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, spearmanr

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError

_ROUNDING = 1e-12  # of a score's level: what is left of a constant
_SUSPICIOUS = 0.05  # rank correlation
_FEWEST_TO_COMPARE, _MOST_TO_COMPARE = 30, 100_000  # documents


@dataclass(frozen=True, slots=True)
class Rater:
    """One criterion of quality.

    Attributes:
        name: of the rater, and of the column that has its scores.
        higher_is_better: the direction of its raw scores.
        center: what is subtracted from a raw score, in its unit.
        scale: what the rest is divided by, in its unit, positive.
        normalisation: how both were found: "z_score", or "none" (0 and 1).
    """

    name: str
    higher_is_better: bool
    center: float = 0.0
    scale: float = 1.0
    normalisation: str = "none"

    @property
    def direction(self) -> str:
        """Say which raw scores are better: "higher" or "lower"."""
        return "higher" if self.higher_is_better else "lower"

    def check(self) -> None:
        """Check that the normalisation is one.

        Raises:
            InvalidInputError: `center` or `scale` is not finite, or `scale` not positive.
        """
        if not np.isfinite([self.center, self.scale]).all() or self.scale <= 0:
            raise InvalidInputError(
                f"rater '{self.name}' has center {self.center} and scale {self.scale}; both must "
                "be finite, and scale positive",
                field=self.name,
            )

    def penalty(self, scores: FloatArray) -> FloatArray:
        """Return raw scores `(n,)` normalised, and turned so that smaller is better, as doubles."""
        normal: FloatArray = (np.asarray(scores, dtype=np.float64) - self.center) / self.scale
        return -normal if self.higher_is_better else normal


def fit_rater(name: str, higher_is_better: bool, scores: FloatArray, tokens: FloatArray) -> Rater:
    """Return a rater whose normalisation is the token-weighted z-score of a sample.

    Args:
        name: of the rater.
        higher_is_better: the direction of `scores`.
        scores: shape `(n,)`, raw.
        tokens: shape `(n,)`, lengths of the documents in tokens.

    Raises:
        InvalidInputError: a score is not finite, or all are the same.
    """
    check_scores(scores[:, None], [name])
    scores = np.asarray(scores, dtype=np.float64)
    center = float(np.average(scores, weights=tokens))
    scale = float(np.sqrt(np.average((scores - center) ** 2, weights=tokens)))
    if scale <= _ROUNDING * max(abs(center), np.abs(scores).max()):
        raise InvalidInputError(
            f"rater '{name}' gives all {len(scores)} documents the score {center:g}, so it cannot "
            "tell them apart; leave it out",
            field=name,
        )
    return Rater(name, higher_is_better, center, scale, "z_score")


def suspicious_directions(raters: Sequence[Rater], scores: FloatArray) -> tuple[str, ...]:
    """Return a sentence for each rater whose declared direction looks wrong.

    That is one that contradicts the mean of the others [I]: its rank correlation with it, over at
    most 100,000 documents, is clearly negative. Raters may really disagree, so this only warns.

    Args:
        raters: r of them; nothing is said of one alone.
        scores: shape `(n, r)`, raw and finite.
    """
    if len(raters) < 2 or len(scores) < _FEWEST_TO_COMPARE:
        return ()
    some = scores[:: -(-len(scores) // _MOST_TO_COMPARE)]
    ranks = np.column_stack([rankdata(one.penalty(some[:, i])) for i, one in enumerate(raters)])
    others = (ranks.sum(axis=1, keepdims=True) - ranks) / (len(raters) - 1)
    limit = -max(_SUSPICIOUS, 3 / np.sqrt(len(some)))
    found = [float(spearmanr(ranks[:, i], others[:, i]).statistic) for i in range(len(raters))]
    return tuple(
        f"rater '{rater.name}', declared {rater.direction} is better, disagrees with the others "
        f"(rank correlation {value:.2f}): check its direction"
        for rater, value in zip(raters, found, strict=True)
        if value < limit
    )


def check_scores(scores: FloatArray, names: Sequence[str]) -> None:
    """Check that raw scores `(n, r)` are finite and come from as many raters as are named.

    Raises:
        InvalidInputError: otherwise; names the rater and the first bad document.
    """
    if scores.ndim != 2 or scores.shape[1] != len(names):
        raise InvalidInputError(
            f"scores have shape {scores.shape}; they must have a column for each of the raters "
            f"{', '.join(names)}, in this order",
            field="scores",
        )
    bad = ~np.isfinite(scores)
    if bad.any():
        document, rater = np.argwhere(bad)[0]
        raise InvalidInputError(
            f"the score of rater '{names[rater]}' is {scores[document, rater]} for document number "
            f"{document} of these ({bad.sum()} bad scores in all); scores must be finite: drop "
            "such documents or rate them again",
            field=names[rater],
        )
