"""Parameter spaces: what a study's vectors are. To add one: its module, one line in `SPACES`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mixwright.errors import InvalidInputError
from mixwright.spaces.base import DocumentSpace, Place, Space
from mixwright.spaces.meta_rater import MetaRaterSpace
from mixwright.spaces.mixture import MIXTURE, MixtureSpace
from mixwright.spaces.quadmix import QuadmixPoints
from mixwright.study import Domain

__all__ = [
    "MIXTURE",
    "SPACES",
    "DocumentSpace",
    "MetaRaterSpace",
    "Place",
    "QuadmixPoints",
    "Space",
    "space_from",
]

SPACES: Final[Mapping[str, type[Space]]] = {
    "mixture": MixtureSpace,
    "meta_rater": MetaRaterSpace,
    "quadmix": QuadmixPoints,
}


def space_from(document: Mapping[str, Any], domains: Sequence[Domain]) -> Space:
    """Return the space that JSON values describe.

    Args:
        document: `kind` and what that kind needs, as in `{"kind": "meta_rater", "raters": [...]}`.
        domains: sources of data.

    Raises:
        InvalidInputError: an unknown kind, or what its `from_json` refuses.
    """
    kind = document["kind"]
    if kind not in SPACES:
        raise InvalidInputError(f"no space '{kind}'; known: {', '.join(SPACES)}", field="kind")
    return SPACES[kind].from_json(document, domains)
