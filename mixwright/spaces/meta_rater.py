"""Weights of raters: documents are kept by the weighted mean of their scores.

Source:
    Zhuang et al., "Meta-rater: A Multi-dimensional Data Selection Method for Pre-training Language
    Models", arXiv:2504.14194 [X]: runs and candidates are drawn from Dirichlet(1, ..., 1), and the
    128 with the lowest predictions are averaged. See `mixwright.quality.meta_rater`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.constraints import active_constraints
from mixwright.errors import InvalidInputError
from mixwright.polytope import Polytope, is_feasible
from mixwright.projection import project
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import Sample
from mixwright.quality.meta_rater import TOP_K, draw_weights
from mixwright.quality.meta_rater_function import best_tokens_function
from mixwright.quality.notation import parse_rater_weights, wrong_rater_weights
from mixwright.quality.raters import Rater
from mixwright.quality.rating import Rating
from mixwright.spaces.base import Design, Field, Place
from mixwright.spaces.mixture import MIXTURE
from mixwright.spaces.significant import significant_shares
from mixwright.spaces.trades import trades
from mixwright.study import Domain, Study
from mixwright.swarm import space_filling


@dataclass(frozen=True, slots=True)
class MetaRaterSpace:
    """Weights of raters; see `mixwright.spaces.base.DocumentSpace`.

    Attributes:
        domains: names, k of them.
        rating: of documents; its r raters are the coordinates.
    """

    domains: tuple[str, ...]
    rating: Rating

    kind: ClassVar[str] = "meta_rater"
    field: ClassVar[Field] = "parameters"
    is_simplex: ClassVar[bool] = True
    top_k: ClassVar[int] = TOP_K
    members: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[None] = None
    has_budget: ClassVar[bool] = True

    @property
    def raters(self) -> tuple[str, ...]:
        """The coordinates."""
        return self.rating.raters

    @property
    def designs(self) -> Mapping[str, Design]:
        """The paper's, and one that fills the space."""
        return {"dirichlet": self._design, "space_filling": self._fill}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], domains: Sequence[Domain]) -> Self:
        """Return the space of the raters that are named.

        Raises:
            InvalidInputError: there are none, or one comes twice.
        """
        names = tuple(domain.name for domain in domains)
        return cls(names, Rating.from_json(document, "documents"))

    def coordinates(self, domains: Sequence[Domain]) -> tuple[Domain, ...]:
        """Return the raters."""
        return tuple(Domain(name, None, 1.0 / len(self.raters)) for name in self.raters)

    def freedom(self, study: Study) -> int:
        """Return the number of raters."""
        return len(self.raters)

    def draw(
        self, study: Study, polytope: Polytope, count: int, rng: np.random.Generator
    ) -> FloatArray:
        """Return draws from Dirichlet(1, ..., 1)."""
        return rng.dirichlet(np.ones(len(self.raters)), count)

    def spread(self, polytope: Polytope, count: int, rng: np.random.Generator) -> FloatArray:
        """Return even and sparse points, as of mixtures."""
        return MIXTURE.spread(polytope, count, rng)

    def steps(
        self,
        polytope: Polytope,
        best: FloatArray,
        others: FloatArray,
        longest: float,
        count: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return trades between two raters."""
        return trades(best, longest, count, rng)

    def baselines(self, study: Study) -> dict[str, FloatArray]:
        """Return equal weights."""
        return {"uniform": study.prior}

    def contains(self, polytope: Polytope, points: FloatArray) -> BoolArray:
        """Return which points lie on the simplex."""
        return is_feasible(polytope, points)

    def nearest(self, polytope: Polytope, point: FloatArray) -> FloatArray:
        """Return the projection on the simplex."""
        return project(polytope, point)

    def canonical(self, points: FloatArray) -> FloatArray:
        """Return weights of twelve digits."""
        return significant_shares(points)

    def active(self, polytope: Polytope, point: FloatArray) -> list[dict[str, str | float]]:
        """Return the raters without weight, and the one with all of it."""
        return active_constraints(polytope, point)

    def describe(self, study: Study, point: FloatArray) -> dict[str, Any]:
        """Return weights by rater."""
        return dict(zip(self.raters, significant_shares(point).tolist(), strict=True))

    def wrong_parts(self, study: Study, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        """Yield what keeps the document from being weights of these raters."""
        yield from self.wrong_choice(document)

    def wrong_choice(self, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        """Yield the same."""
        yield from wrong_rater_weights(document, self.raters, ())

    def function(
        self,
        raters: Sequence[Rater],
        document: Mapping[str, Any],
        documents: Sample,
        budget: float | None = None,
        available_tokens: FloatArray | None = None,
        points: int | None = None,
    ) -> SamplingFunction:
        """Return the function that keeps the best documents until the budget is reached."""
        if budget is None:
            raise InvalidInputError(
                "Meta-rater keeps the best documents until there are so many tokens: say how many",
                field="budget_tokens",
            )
        weights = parse_rater_weights(document, self.raters)
        return best_tokens_function(
            raters, self.domains, weights, documents, budget, available_tokens
        )

    def parse(self, study: Study, document: Mapping[str, Any]) -> FloatArray:
        """Return the weights; those that do not sum to 1 are divided by their sum."""
        return significant_shares(np.array([document[name] for name in self.raters], dtype=float))

    def _design(self, study: Study, polytope: Polytope, count: int, seed: int) -> FloatArray:
        return self.canonical(draw_weights(len(self.raters), count, seed))

    def _fill(self, study: Study, polytope: Polytope, count: int, seed: int) -> FloatArray:
        return self.canonical(space_filling(study, polytope, count, seed))
