"""What was agreed when a training began, and how it reads what its trainer tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mixwright.arrays import FloatArray
from mixwright.errors import MixwrightError
from mixwright.reweighting.base import Json, Observation, Reweighter
from mixwright.reweighting.guards import Guards, build_guarded
from mixwright.reweighting.ledger import PROPOSED, Observe, Past, Standing
from mixwright.reweighting.told import (
    Document,
    RefusedObservationError,
    observation,
    require,
    restricted,
)


class ContradictionError(MixwrightError):
    """An event that contradicts what happened before."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What was agreed when a training began.

    Attributes:
        reweighter: the algorithm.
        guards: between it and what is served.
        lead_steps: how far ahead of an observation its weights take effect, at least.
        needs_approval: whether a person approves of each version.
        algorithm: the reweighter's name; needed where options change with the domains.
    """

    reweighter: Reweighter
    guards: Guards = field(default_factory=Guards)
    lead_steps: int = 0
    needs_approval: bool = False
    algorithm: str = ""

    def at(self, standing: Standing) -> "Rules":
        """Return the rules with the options that hold where a training stands."""
        return self if standing.options is None else self.with_options(standing.options)

    def with_options(self, options: Mapping[str, Json]) -> "Rules":
        """Return the rules with other options.

        Raises:
            InvalidInputError: an option that neither the algorithm nor the guards accept.
        """
        reweighter, guards = build_guarded(self.algorithm, options)
        return replace(self, reweighter=reweighter, guards=guards)


def observed(rules: Rules, standing: Standing, event: Observe, past: Past) -> Observation:
    """Return what was told, of the domains that are not pinned.

    Raises:
        RefusedObservationError: it cannot be used.
    """
    told = observation(event.told, standing.domains)
    part = restricted(
        told, rules.guards.is_free(standing.domains), _sampled(standing, event.told, past)
    )
    require(part, rules.reweighter.requires)
    return part


def _sampled(standing: Standing, told: Document, past: Past) -> FloatArray | None:
    """Return the weights `(k,)` that the batch was drawn with, where the trainer says which."""
    version = told.get("weights_version")
    if version is None:
        return None
    entry = past.entry(version)
    if entry is None or entry.fate == PROPOSED:
        detail = f"there is no published version {version}"
        raise RefusedObservationError([(("weights_version",), detail)])
    return entry.weights if entry.domains == standing.domains else None
