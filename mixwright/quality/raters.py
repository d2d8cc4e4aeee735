"""Raters of documents: which way their scores point, and how they are brought to one scale.

Source:
    QuaDMix, arXiv:2504.16511, section 3.1 [X]: criteria are normalised, so that smaller is better,
    before they are averaged. The paper does not say how; ours is the z-score, or where asked for
    the normal quantile of the rank [I], recorded with every sampling function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.normal_scores import NormalTable
from mixwright_client.sampling_function import z_scores

Normalisation = Literal["z_score", "rank_normal"]

_KNOWN = ("none", "z_score", "z_score_of_documents", "rank_normal", "rank_normal_of_documents")
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
        normalisation: "z_score", which found both; "rank_normal", which has a table instead; either
            weighted by tokens, or with "_of_documents" behind it where every document counted the
            same; or "none".
        table: of "rank_normal".
    """

    name: str
    higher_is_better: bool
    center: float = 0.0
    scale: float = 1.0
    normalisation: str = "none"
    table: NormalTable | None = None

    @property
    def direction(self) -> str:
        """Say which raw scores are better: "higher" or "lower"."""
        return "higher" if self.higher_is_better else "lower"

    def check(self) -> None:
        """Check that the direction and the normalisation are some.

        Raises:
            InvalidInputError: the direction is neither true nor false, the normalisation unknown,
                `center` or `scale` not finite, `scale` not positive, or the table missing.
        """
        if not isinstance(self.higher_is_better, bool) or self.normalisation not in _KNOWN:
            raise InvalidInputError(
                f"rater '{self.name}' has higher_is_better {self.higher_is_better!r} and the "
                f"normalisation {self.normalisation!r}; there are true and false, and "
                f"{', '.join(_KNOWN)}",
                field=self.name,
            )
        if self.normalisation.startswith("rank_normal") != (self.table is not None):
            raise InvalidInputError(
                f"rater '{self.name}' is normalised by {self.normalisation}; a table belongs to "
                "rank_normal, and to nothing else",
                field=self.name,
            )
        if not np.isfinite([self.center, self.scale]).all() or self.scale <= 0:
            raise InvalidInputError(
                f"rater '{self.name}' has center {self.center} and scale {self.scale}; both must "
                "be finite, and scale positive",
                field=self.name,
            )

    def penalty(self, scores: FloatArray) -> FloatArray:
        """Return raw scores `(n,)` normalised, and turned so that smaller is better, as doubles."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.table is None:
            normal = z_scores(scores, self.center, self.scale)
        else:
            normal = self.table.normal(scores)
        return -normal if self.higher_is_better else normal

    def to_json(self) -> dict[str, Any]:
        """Return the rater as JSON values; a table is told where there is one."""
        told = ("name", "higher_is_better", "center", "scale", "normalisation")
        values = {name: getattr(self, name) for name in told}
        if self.table is not None:
            lists = {"values": self.table.values, "normals": self.table.normals}
            values["table"] = {name: numbers.tolist() for name, numbers in lists.items()}
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the rater that `to_json` told.

        Raises:
            KeyError, TypeError: the values are others.
            InvalidInputError: its table is none.
        """
        rest = {name: value for name, value in values.items() if name != "table"}
        if "table" not in values:
            return cls(**rest)
        columns = (np.array(values["table"][name], float) for name in ("values", "normals"))
        return cls(**rest, table=NormalTable(*columns))


@dataclass(frozen=True, slots=True)
class Moments:
    """What the normalisation of a rater is found from, kept of a sample that comes in parts.

    Attributes:
        documents: how many there are.
        weight: of all of them; a document weighs its tokens, or 1.
        mean: of the scores, weighted.
        squares: weighted sum of the squared distances from `mean`.
        lowest: score.
        highest: score.
    """

    documents: int
    weight: float
    mean: float
    squares: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, scores: FloatArray, weights: FloatArray) -> Self:
        """Return the moments of raw, finite scores `(n,)` with weights `(n,)`, n at least 1."""
        scores, total = np.asarray(scores, dtype=np.float64), float(np.sum(weights))
        mean = float(np.average(scores, weights=weights)) if total > 0 else 0.0
        variance = float(np.average((scores - mean) ** 2, weights=weights)) if total > 0 else 0.0
        ends = float(scores.min()), float(scores.max())
        return cls(len(scores), total, mean, variance * total, *ends)

    def merge(self, other: Self) -> Self:
        """Return the moments of the documents of both.

        Source:
            Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
            variances", 1979 [R].
        """
        weight = self.weight + other.weight
        share = other.weight / weight if weight > 0 else 0.0
        apart = other.mean - self.mean
        return type(self)(
            documents=self.documents + other.documents,
            weight=weight,
            mean=self.mean + apart * share,
            squares=self.squares + other.squares + apart**2 * self.weight * share,
            lowest=min(self.lowest, other.lowest),
            highest=max(self.highest, other.highest),
        )

    @property
    def spread(self) -> float:
        """The weighted standard deviation of the scores, in their unit."""
        return float(np.sqrt(self.squares / self.weight)) if self.weight > 0 else 0.0

    @property
    def is_constant(self) -> bool:
        """Whether the scores are all the same but for rounding, or none of them has weight."""
        return self.spread <= _ROUNDING * max(abs(self.lowest), abs(self.highest))

    def rater(self, name: str, higher_is_better: bool, normalisation: str = "z_score") -> Rater:
        """Return the rater whose normalisation is the z-score of these scores.

        Raises:
            InvalidInputError: they are all the same.
        """
        if self.is_constant:
            raise InvalidInputError(
                f"rater '{name}' gives all {self.documents} documents the score {self.mean:g}, so "
                "it cannot tell them apart; leave it out",
                field=name,
            )
        return Rater(name, higher_is_better, self.mean, self.spread, normalisation)


def suspicious_directions(raters: Sequence[Rater], scores: FloatArray) -> tuple[str, ...]:
    """Return a sentence for each rater whose declared direction looks wrong.

    That is one that contradicts the mean of the others [I]: its rank correlation with it, over at
    most 100,000 documents, is clearly negative. Raters may really disagree, so this only warns.

    Args:
        raters: r of them; nothing is said of one alone.
        scores: shape `(n, r)`, raw and finite.
    """
    from scipy.stats import rankdata, spearmanr

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


def check_normalisation(name: str) -> None:
    """Check that there is a normalisation of this name.

    Raises:
        InvalidInputError: otherwise.
    """
    if name not in get_args(Normalisation):
        raise InvalidInputError(
            f"there is no normalisation '{name}'; there are "
            f"{' and '.join(get_args(Normalisation))}",
            field="normalisation",
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
