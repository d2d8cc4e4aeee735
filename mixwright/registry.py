"""What a registered algorithm is, and what a user is told of it."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mixwright.options import schema

Recipe = TypeVar("Recipe")


@dataclass(frozen=True, slots=True)
class Entry(Generic[Recipe]):
    """A registered algorithm.

    Attributes:
        recipe: the dataclass of its options.
        title: a few words.
        source: where the method comes from.
        evidence: exact, secondary, recalled, or interpretation (ours).
        departures: how ours differs from the source.
    """

    recipe: type[Recipe]
    title: str
    source: str
    evidence: str
    departures: tuple[str, ...]

    def describe(self, name: str, kind: str) -> dict[str, Any]:
        """Return all of it under a name as JSON values, options as their JSON schema."""
        return {
            "name": name,
            "kind": kind,
            "title": self.title,
            "options": schema(self.recipe),
            "source": self.source,
            "evidence": self.evidence,
            "departures": list(self.departures),
        }
