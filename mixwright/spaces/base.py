"""What a parameter space promises: the only one who knows what a study's vectors mean.

Every space is a set of points on one simplex, so that surrogates, kernels and searches need not
know which one they work on. A point is canonical when writing it down and reading it again gives
the same bits; proposals are told apart by them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    TypeAlias,
    runtime_checkable,
)

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.polytope import Polytope
from mixwright.spaces.implied_mixture import ImpliedMixture

if TYPE_CHECKING:
    from mixwright.quality.function import SamplingFunction
    from mixwright.quality.implied import Sample
    from mixwright.quality.raters import Rater
    from mixwright.quality.rating import Rating
    from mixwright.study import Domain, Study

Design: TypeAlias = "Callable[[Study, Polytope, int, int], FloatArray]"
"""From study, constraints, count and seed to canonical points `(count, c)`."""

Place: TypeAlias = tuple[str, ...]
"""Where in a document, as in ("web", "omega")."""

Field: TypeAlias = Literal["weights", "parameters"]


class Space(Protocol):
    """A set of points `(c,)` on the simplex.

    Attributes:
        kind: key in `SPACES`.
        field: what a point is called where it is written down.
        is_simplex: whether every mixture within the constraints is a point. Only then can it be
            optimised by gradients, or drawn by whoever knows nothing but constraints.
        top_k: how many of the best simulated points are averaged, by default.
        members: what the surrogate `auto` chooses from here; empty for its own choice.
        designs: designs of swarms by name, the space's own first.
        features: what surrogates see beside the coordinates of a point; None for nothing.
    """

    kind: ClassVar[str]
    field: ClassVar[Field]
    is_simplex: ClassVar[bool]
    top_k: ClassVar[int]
    members: ClassVar[tuple[str, ...]]

    @property
    def designs(self) -> Mapping[str, Design]:
        """See above."""
        ...

    @property
    def features(self) -> ImpliedMixture | None:
        """See above."""
        ...

    @classmethod
    def from_json(cls, document: Mapping[str, Any], domains: "Sequence[Domain]") -> Self:
        """Return the space that a study's `space` and domains describe.

        Raises:
            InvalidInputError: they describe none; `field` is a place in `space`.
        """
        ...

    def coordinates(self, domains: "Sequence[Domain]") -> "tuple[Domain, ...]":
        """Return the coordinates of points, as domains whose prior is the middle of the space."""
        ...

    def freedom(self, study: "Study") -> int:
        """Return how many numbers surrogates see, and one: as many domains have as much.

        Numbers that others of a point determine are not counted.
        """
        ...

    def draw(
        self, study: "Study", polytope: Polytope, count: int, rng: np.random.Generator
    ) -> FloatArray:
        """Return simulated points `(count, c)`, as the source of the space draws them."""
        ...

    def spread(self, polytope: Polytope, count: int, rng: np.random.Generator) -> FloatArray:
        """Return points `(count, c)` all over the space, its edges included."""
        ...

    def steps(
        self,
        polytope: Polytope,
        best: FloatArray,
        others: FloatArray,
        longest: float,
        count: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return up to `count` points near `best` `(c,)`.

        Args:
            polytope: the study's constraints.
            best: shape `(c,)`.
            others: points to take something from, `(q, c)`.
            longest: how far a number moves at most, as a share of its range.
            count: how many.
            rng: source of every draw.
        """
        ...

    def baselines(self, study: "Study") -> dict[str, FloatArray]:
        """Return points by name that a recommendation is compared with."""
        ...

    def contains(self, polytope: Polytope, points: FloatArray) -> BoolArray:
        """Return which of `points` `(q, c)` are points of the space within the constraints."""
        ...

    def nearest(self, polytope: Polytope, point: FloatArray) -> FloatArray:
        """Return the point of the space nearest to `point` `(c,)`, which is all but in it."""
        ...

    def canonical(self, points: FloatArray) -> FloatArray:
        """Return points `(q, c)` as reading what `describe` says of them would give them."""
        ...

    def active(self, polytope: Polytope, point: FloatArray) -> list[dict[str, str | float]]:
        """Return the limits that hold at a point, as `active_constraints` does."""
        ...

    def describe(self, study: "Study", point: FloatArray) -> dict[str, Any]:
        """Return a point `(c,)` as JSON values by name."""
        ...

    def wrong_parts(
        self, study: "Study", document: Mapping[str, Any]
    ) -> Iterator[tuple[Place, str]]:
        """Yield where a document describes no point of the space, and why: every place."""
        ...

    def parse(self, study: "Study", document: Mapping[str, Any]) -> FloatArray:
        """Return the canonical point `(c,)` that a document without wrong parts describes."""
        ...


@runtime_checkable
class DocumentSpace(Space, Protocol):
    """A space whose points choose documents by their scores.

    Attributes:
        has_budget: whether it has to be said besides how many tokens to choose.
        rating: of the documents.
    """

    has_budget: ClassVar[bool]

    @property
    def rating(self) -> "Rating":
        """See above."""
        ...

    def wrong_choice(self, document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        """Yield where a document describes no choice, and why; it may lie beyond the space."""
        ...

    def function(
        self,
        raters: "Sequence[Rater]",
        document: Mapping[str, Any],
        documents: "Sample",
        budget: float | None = None,
        available_tokens: FloatArray | None = None,
        points: int | None = None,
    ) -> "SamplingFunction":
        """Return the sampling function of a point, with ranks estimated from a sample.

        Args:
            raters: of the space's rating, normalised.
            document: describes the point.
            documents: the sample, of the study's domains.
            budget: how many tokens to choose of the whole domains; None where there is none.
            available_tokens: shape `(k,)`, of the whole domains; by default the sample's own.
            points: how many points a domain's table of ranks may have.

        Raises:
            InvalidInputError: the document describes no choice, a budget is missing or not
                positive, or the sample cannot tell ranks.
        """
        ...
