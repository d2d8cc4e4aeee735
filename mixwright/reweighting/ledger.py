"""Ledger, standing and events of a training: its vocabulary, without behaviour.

A position is a step of the trainer: that of the last observation that was applied, or of the last
resumption. It never falls, but by a resumption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.reweighting.base import Json, State
from mixwright.reweighting.canonical import from_document, to_document
from mixwright.reweighting.told import Document

PUBLISHED: Final = "published"
PROPOSED: Final = "proposed"
VOID: Final = "void"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger.

    Attributes:
        version: rises with every entry; 0 is what the training began with.
        effective_step: from which step of the trainer on.
        domains: names, length k.
        weights: shape `(k,)`, on the simplex.
        fate: published, proposed or void.
    """

    version: int
    effective_step: int
    domains: tuple[str, ...]
    weights: FloatArray
    fate: str = PUBLISHED

    def named(self) -> dict[str, float]:
        """Return the weights by the domains' names."""
        return dict(zip(self.domains, self.weights.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Standing:
    """All of a training's past that its future depends on, but for the ledger.

    Attributes:
        state: of the algorithm, for the domains that are not pinned.
        served: the entry in force.
        newest: the last entry that is not void: `served`, or a later proposal.
        last_version: the highest number ever given.
        position: see above.
        changed_at: the position at which an observation last made an entry; None before.
        is_given: whether the algorithm has left the weights as they were given.
        options: that came with a change of domains; None for those that were agreed.
        schedule: name of the one that the weights follow; None if they follow the algorithm.
    """

    state: State
    served: Entry
    newest: Entry
    last_version: int = 0
    position: int = 0
    changed_at: int | None = None
    is_given: bool = True
    options: Mapping[str, Json] | None = None
    schedule: str | None = None

    @property
    def domains(self) -> tuple[str, ...]:
        """Names, pinned ones too, length k."""
        return self.served.domains


@dataclass(frozen=True, slots=True)
class Observe:
    """A trainer tells what it measured: an observation as JSON, with its `step`."""

    told: Document


@dataclass(frozen=True, slots=True)
class Resume:
    """A trainer goes on from a checkpoint of `step`, in which `version` was the newest."""

    step: int
    version: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """A person wants the weights of `version` back."""

    version: int


@dataclass(frozen=True, slots=True)
class Approve:
    """A person approves of a proposed `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class Remap:
    """The domains change.

    Attributes:
        domains: the new names.
        origin: the old name of a new domain, or None for one that has none; where nothing is
            said, a name that stays is the same domain.
        weights: to begin with, by new name; None keeps the proportions of the old ones and gives
            a new domain as much as an even mixture would.
        options: of algorithm and guards from now on, all of them; None leaves them as they are.
    """

    domains: tuple[str, ...]
    origin: Mapping[str, str | None] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    options: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Follow:
    """The weights are those of a schedule from now on.

    Attributes:
        schedule: its name.
        entries: first step and weights by domain of each stage, in order, the first at step 0.
    """

    schedule: str
    entries: Sequence[tuple[int, Mapping[str, float]]]


Event: TypeAlias = Observe | Resume | Rollback | Approve | Remap | Follow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of an event.

    Attributes:
        standing: after it.
        entry: new in the ledger, or an old one with another fate; None if there is none.
        planned: new in the ledger, of a schedule; they take effect later.
        void_above: entries of higher versions are void, but for `entry`; None if none are.
        applied: whether the event changed anything.
        reason: why it did not, or why the weights stay.
        diagnostics: of the algorithm.
    """

    standing: Standing
    entry: Entry | None = None
    planned: tuple[Entry, ...] = ()
    void_above: int | None = None
    applied: bool = True
    reason: str | None = None
    diagnostics: Mapping[str, Json] = field(default_factory=dict)


class Past(Protocol):
    """What an event may ask of a training's past."""

    def entry(self, version: int) -> Entry | None:
        """Return an entry of the ledger."""
        ...

    def standing_at(self, step: int) -> Standing:
        """Return the last standing whose position is `step` or less."""
        ...

    def begun(self, step: int) -> Sequence[Entry]:
        """Return the published entries that take effect at `step` or before, by version."""
        ...

    def observed(self, step: int) -> Document | None:
        """Return what was told of `step`, unless the training was resumed before it since."""
        ...


def standing_document(standing: Standing) -> dict[str, Any]:
    """Return a standing as JSON, for `canonical`."""
    changed: dict[str, Any] = (
        {} if standing.options is None else {"options": dict(standing.options)}
    )
    changed |= {} if standing.schedule is None else {"schedule": standing.schedule}
    return {
        "state": to_document(standing.state),
        "served": _entry_document(standing.served),
        "newest": _entry_document(standing.newest),
        "last_version": standing.last_version,
        "position": standing.position,
        "changed_at": standing.changed_at,
        "is_given": standing.is_given,
        **changed,
    }


def standing_from(document: Document) -> Standing:
    """Return the standing that `standing_document` described."""
    return Standing(
        **{
            **document,
            "state": from_document(document["state"]),
            "served": _entry_from(document["served"]),
            "newest": _entry_from(document["newest"]),
        }
    )


def _entry_document(entry: Entry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "effective_step": entry.effective_step,
        "domains": list(entry.domains),
        "weights": entry.weights.tolist(),
        "fate": entry.fate,
    }


def _entry_from(document: Document) -> Entry:
    weights = np.array(document["weights"], dtype=np.float64)
    return Entry(**{**document, "domains": tuple(document["domains"]), "weights": weights})
