"""What a study whose documents are scored says of domains and raters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import ConflictError
from app.studies.definition import to_core
from app.studies.spaces import kind_of
from mixwright.quality.quadmix import QuadmixSpace
from mixwright.quality.raters import Moments, Rater
from mixwright.spaces import QuadmixPoints

QUADMIX, META_RATER = "quadmix", "meta_rater"


@dataclass(frozen=True, slots=True)
class RatedSpace:
    """Domains and raters of a study in a space of QuaDMix or of Meta-rater.

    Attributes:
        kind: "quadmix" or "meta_rater".
        domains: names, k of them.
        raters: names, r of them.
        lower_is_better: those raters whose lower scores are better.
        tokens: of the whole domains, k of them; None where the study does not know them all.
        quadmix: the space that is searched; None for Meta-rater.
    """

    kind: str
    domains: tuple[str, ...]
    raters: tuple[str, ...]
    lower_is_better: frozenset[str]
    tokens: tuple[float, ...] | None
    quadmix: QuadmixSpace | None

    def rater(self, name: str, by_tokens: Moments, by_documents: Moments) -> Rater:
        """Return a rater with the normalisation of its method.

        Raises:
            InvalidInputError: its scores are all the same.
        """
        higher = name not in self.lower_is_better
        if self.kind == META_RATER:
            return by_documents.rater(name, higher, "z_score_of_documents")
        return by_tokens.rater(name, higher)


def rated_space(definition: Mapping[str, Any]) -> RatedSpace:
    """Return what a study's definition says.

    Raises:
        ConflictError: it is a study of mixtures.
    """
    if kind_of(definition) not in (QUADMIX, META_RATER):
        raise ConflictError(
            "this study searches shares of domains, so it has no raters; create one whose space is "
            f"of the kind '{QUADMIX}' or '{META_RATER}'"
        )
    found, domains = definition["space"], definition["domains"]
    space = to_core(dict(definition)).space
    tokens = tuple(domain["tokens"] for domain in domains)
    return RatedSpace(
        kind=found["kind"],
        domains=tuple(domain["name"] for domain in domains),
        raters=tuple(found["raters"]),
        lower_is_better=frozenset(found["lower_is_better"]),
        tokens=None if None in tokens else tokens,
        quadmix=space.vectors if isinstance(space, QuadmixPoints) else None,
    )
