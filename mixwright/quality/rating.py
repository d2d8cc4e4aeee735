"""How a study's documents are rated: by whom, which way scores point, and how they are normalised.

Source:
    QuaDMix, arXiv:2504.16511 [X], weighs documents by their tokens wherever it ranks them;
    Meta-rater, arXiv:2504.14194 [X], standardises over documents, whatever their lengths. For both,
    the normal quantiles of ranks instead of z-scores are ours [I].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np

from mixwright.arrays import IntArray
from mixwright.errors import InvalidInputError
from mixwright.quality.normal_scores import NormalTable
from mixwright.quality.ranks import RankSketch
from mixwright.quality.raters import Moments, Rater, check_normalisation, check_scores

if TYPE_CHECKING:
    from mixwright.quality.implied import Sample, ScoredDocuments

Weighing: TypeAlias = Literal["tokens", "documents"]
"""What a document counts where raters are normalised: its tokens, or 1."""


@dataclass(frozen=True, slots=True)
class Rating:
    """Raters of documents.

    Attributes:
        raters: names, r of them, each once.
        lower_is_better: those whose lower scores are better.
        normalisation: "z_score" or "rank_normal".
        weighing: what a document counts.

    Raises:
        InvalidInputError: there are no raters, one comes twice, or the normalisation is unknown.
    """

    raters: tuple[str, ...]
    lower_is_better: frozenset[str] = frozenset()
    normalisation: str = "z_score"
    weighing: Weighing = "tokens"

    def __post_init__(self) -> None:
        if not self.raters or len(set(self.raters)) < len(self.raters):
            raise InvalidInputError(
                f"name raters, each once; got {list(self.raters)}", field="raters"
            )
        check_normalisation(self.normalisation)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], weighing: Weighing) -> Self:
        """Return what the `space` of a study says of its raters.

        Raises:
            InvalidInputError: see above.
        """
        return cls(
            tuple(document["raters"]),
            frozenset(document.get("lower_is_better") or ()),
            document.get("normalisation") or "z_score",
            weighing,
        )

    @property
    def recorded(self) -> str:
        """The normalisation as sampling functions record it, with what a document counts."""
        return self.normalisation + ("_of_documents" if self.weighing == "documents" else "")

    def fit(
        self, documents: "Sample", moments: Sequence[Moments] | None = None
    ) -> tuple[Rater, ...]:
        """Return the raters normalised on a sample.

        Args:
            documents: of these raters.
            moments: of each rater's scores over the sample, where they are known already.

        Raises:
            InvalidInputError: a score is not finite, or a rater gives all documents the same.
        """
        found = self.z_scores(self._moments(documents) if moments is None else moments)
        if self.normalisation == "z_score":
            return found
        sketches = reduce(_merge, (self._sketch(block) for block in documents.blocks()))
        return tuple(
            Rater(
                rater.name,
                rater.higher_is_better,
                normalisation=self.recorded,
                table=NormalTable.of(sketch),
            )
            for rater, sketch in zip(found, sketches, strict=True)
        )

    def z_scores(self, moments: Sequence[Moments]) -> tuple[Rater, ...]:
        """Return the raters normalised by z-scores, of the moments of each one's scores.

        Raises:
            InvalidInputError: a rater gives all documents the same score.
        """
        plain = replace(self, normalisation="z_score").recorded
        return tuple(
            one.rater(name, name not in self.lower_is_better, plain)
            for name, one in zip(self.raters, moments, strict=True)
        )

    def _moments(self, documents: "Sample") -> list[Moments]:
        blocks = (self._moments_of(block) for block in documents.blocks())
        return reduce(
            lambda some, more: [a.merge(b) for a, b in zip(some, more, strict=True)], blocks
        )

    def _moments_of(self, block: "ScoredDocuments") -> list[Moments]:
        check_scores(block.scores, self.raters)
        weights = self._weights(block).astype(np.float64)
        return [Moments.of(column, weights) for column in block.scores.T]

    def _sketch(self, block: "ScoredDocuments") -> tuple[RankSketch, ...]:
        weights = self._weights(block)
        return tuple(RankSketch.of(column, weights) for column in block.scores.T)

    def _weights(self, block: "ScoredDocuments") -> IntArray:
        return np.ones_like(block.tokens) if self.weighing == "documents" else block.tokens


def _merge(some: tuple[RankSketch, ...], more: tuple[RankSketch, ...]) -> tuple[RankSketch, ...]:
    return tuple(a.merge(b) for a, b in zip(some, more, strict=True))
