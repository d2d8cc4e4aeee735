"""What a study whose documents are scored says of domains and raters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import ConflictError
from app.studies.definition import to_core
from mixwright.quality.quadmix import QuadmixSpace
from mixwright.quality.rating import Rating
from mixwright.spaces import SPACES, DocumentSpace, QuadmixPoints


@dataclass(frozen=True, slots=True)
class RatedSpace:
    """Domains and raters of a study whose points choose documents.

    Attributes:
        points: the core's space.
        domains: names, k of them.
        tokens: of the whole domains, k of them; None where the study does not know them all.
    """

    points: DocumentSpace
    domains: tuple[str, ...]
    tokens: tuple[float, ...] | None

    @property
    def rating(self) -> Rating:
        """Of the documents."""
        return self.points.rating

    @property
    def raters(self) -> tuple[str, ...]:
        """Names, r of them."""
        return self.rating.raters

    @property
    def quadmix(self) -> QuadmixSpace | None:
        """The space that is searched, as QuaDMix writes it; None in another."""
        return self.points.vectors if isinstance(self.points, QuadmixPoints) else None


def rated_space(definition: Mapping[str, Any]) -> RatedSpace:
    """Return what a study's definition says.

    Raises:
        ConflictError: it is a study of mixtures.
    """
    space = to_core(dict(definition)).space
    if not isinstance(space, DocumentSpace):
        others = " or ".join(f"'{kind}'" for kind in SPACES if kind != space.kind)
        raise ConflictError(
            "this study searches shares of domains, so it has no raters; create one whose space is "
            f"of the kind {others}"
        )
    domains = definition["domains"]
    tokens = tuple(domain["tokens"] for domain in domains)
    return RatedSpace(
        points=space,
        domains=tuple(domain["name"] for domain in domains),
        tokens=None if None in tokens else tokens,
    )
