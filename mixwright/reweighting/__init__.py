"""Reweighters: weights that follow a training. To add one: its module, a line in `REWEIGHTERS`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from mixwright.errors import InvalidInputError
from mixwright.options import build, schema
from mixwright.reweighting.base import Reweighter
from mixwright.reweighting.doremi import DoReMi
from mixwright.reweighting.static import Static


@dataclass(frozen=True, slots=True)
class ReweighterEntry:
    """A registered reweighter, and what a user is told of it.

    Attributes:
        recipe: the dataclass of its options.
        title: a few words.
        source: where the method comes from.
        evidence: exact, secondary, recalled, or interpretation (ours).
        departures: how ours differs from the source.
    """

    recipe: type[Reweighter]
    title: str
    source: str
    evidence: str
    departures: tuple[str, ...]


REWEIGHTERS: Final[Mapping[str, ReweighterEntry]] = {
    "static": ReweighterEntry(
        Static, "The weights that were given, kept", "Mixwright's own", "exact", ()
    ),
    "doremi": ReweighterEntry(
        DoReMi,
        "More of the domains whose loss exceeds a reference model's by most",
        "DoReMi (Xie et al., arXiv:2305.10429) and its code",
        "exact",
        (
            "stored scores start at 0, not at ln(vocabulary); the initial weights are not part of "
            "the mean",
            "the score of a domain that stays away is reused for 100 updates, then it is 0",
        ),
    ),
}


def build_reweighter(name: str, options: Mapping[str, Any]) -> Reweighter:
    """Return the reweighter `name` with `options`.

    Raises:
        InvalidInputError: no such reweighter, or an option it does not accept.
    """
    if name not in REWEIGHTERS:
        known = ", ".join(REWEIGHTERS)
        raise InvalidInputError(f"no reweighter '{name}'; known: {known}", field="algorithm")
    return build(REWEIGHTERS[name].recipe, options, f"reweighter '{name}'")


def describe() -> list[dict[str, Any]]:
    """Return every reweighter's name, options, source and departures, and what it must be sent."""
    return [
        {
            "name": name,
            "kind": "reweighter",
            "title": entry.title,
            "options": schema(entry.recipe),
            "source": entry.source,
            "evidence": entry.evidence,
            "departures": list(entry.departures),
            "requires": asdict(entry.recipe().requires),
        }
        for name, entry in REWEIGHTERS.items()
    ]


__all__ = ["REWEIGHTERS", "Reweighter", "ReweighterEntry", "build_reweighter", "describe"]
