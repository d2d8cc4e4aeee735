"""Weights and losses of a training as curves over its steps, by domain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from app.trainings.history import Happening, History, Version
from app.trainings.schemas import Fate
from mixwright.arrays import FloatArray
from mixwright.reweighting.base import VECTORS

_PROBES: Final = "probe_losses"


@dataclass(frozen=True, slots=True)
class Curve:
    """A domain's curve.

    Attributes:
        domain: its name.
        x: shape `(n,)`, steps, ascending.
        y: shape `(n,)`; in curves of weights NaN where the domain was not there.
    """

    domain: str
    x: FloatArray
    y: FloatArray


@dataclass(frozen=True)
class Past:
    """A training's history, put in the order of the trainer's steps."""

    history: History

    @cached_property
    def in_force(self) -> list[Version]:
        """Versions that are or were used, in order: none that a later one overtook."""
        found: list[Version] = []
        for one in reversed(self.history.versions):
            if one.fate == Fate.PUBLISHED and (
                not found or one.effective_step < found[-1].effective_step
            ):
                found.append(one)
        return found[::-1]

    @cached_property
    def observations(self) -> list[Happening]:
        """Observations by step, but for those that a resumption took back."""
        found: list[Happening] = []
        until: float = np.inf  # nothing above this step outlived what came later
        for one in reversed(self.history.happenings):
            if one.kind == "resume":
                until = min(until, one.position)
            elif one.step is not None and one.step <= until:
                found.append(one)
        return sorted(found, key=lambda one: one.step or 0)

    @cached_property
    def last_told(self) -> Happening | None:
        """The observation that came last, and was not taken back; None before any."""
        return max(self.observations, key=lambda one: one.number, default=None)

    @cached_property
    def taken_back(self) -> int:
        """How many of the observations that were read a resumption took back."""
        told = sum(one.step is not None for one in self.history.happenings)
        return told - len(self.observations)

    @cached_property
    def last_step(self) -> int:
        """The last step that anything is known of, at least 1."""
        told = [one.step or 0 for one in self.observations[-1:]]
        served = [one.effective_step for one in self.in_force[-1:]]
        return max(1, self.history.training.position, *told, *served)

    @cached_property
    def names(self) -> list[str]:
        """Every domain there was, in the order in which they came."""
        return list(dict.fromkeys(name for one in self.in_force for name in one.weights))

    @cached_property
    def shares(self) -> FloatArray:
        """Weights in force, shape `(versions, names)`; NaN where a domain was not there."""
        return _as_table([one.weights for one in self.in_force], self.names)

    @cached_property
    def domains(self) -> list[str]:
        """Every domain there was, the one whose weight moved over the widest range first."""
        moved = np.nanmax(self.shares, axis=0) - np.nanmin(self.shares, axis=0)
        return [self.names[index] for index in np.argsort(-moved, kind="stable")]

    @cached_property
    def measures(self) -> list[str]:
        """What was told by domain, such as losses; in the order of the API, and probes last."""
        told = {name for one in self.observations for name in one.content}
        return [name for name in (*VECTORS, _PROBES) if name in told]

    @cached_property
    def told(self) -> Mapping[str, tuple[FloatArray, FloatArray]]:
        """Of each measure its steps, shape `(n,)`, and values, `(n, names)`; NaN: not seen."""
        found = {}
        for measure in self.measures:
            some = [one for one in self.observations if one.content.get(measure)]
            steps = np.array([one.step for one in some], dtype=np.float64)
            rows = [_by_domain(one.content[measure], measure) for one in some]
            found[measure] = steps, _as_table(rows, self.names)
        return found

    def weights(self, domains: Sequence[str]) -> Iterator[Curve]:
        """Yield how the weight of each domain went; a version holds until the next."""
        steps = [one.effective_step for one in self.in_force]
        x = np.array([*steps, self.last_step], dtype=np.float64)
        for name in domains:
            held = self.shares[:, self.names.index(name)]
            yield Curve(name, x, np.append(held, held[-1]))

    def measured(self, measure: str, domains: Sequence[str]) -> Iterator[Curve]:
        """Yield what was observed of each domain that was seen."""
        steps, values = self.told[measure]
        for name in domains:
            seen = values[:, self.names.index(name)]
            is_seen = np.isfinite(seen)
            if is_seen.any():
                yield Curve(name, steps[is_seen], seen[is_seen])


def _by_domain(told: Mapping[str, Any], measure: str) -> Mapping[str, float | None]:
    """Return a measure by domain: of probes, the losses after the last one."""
    if measure != _PROBES:
        return told
    return dict(zip(told["columns"], told["values"][-1], strict=True))


def _as_table(rows: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> FloatArray:
    """Return numbers by name as a table, shape `(rows, names)`; NaN where there is none."""
    table = np.full((len(rows), len(names)), np.nan)
    for index, row in enumerate(rows):
        table[index] = [row.get(name) for name in names]  # None becomes NaN
    return table
