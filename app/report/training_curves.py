"""Weights and losses of a training as curves over its steps, by domain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.trainings.history import Happening, History, Version
from app.trainings.schemas import Fate
from mixwright.arrays import FloatArray
from mixwright.reweighting.base import VECTORS


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
        """The observation that came last; None before any."""
        told = (one for one in reversed(self.history.happenings) if one.kind == "observe")
        return next(told, None)

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
    def domains(self) -> list[str]:
        """Every domain there was, the one whose weight moved over the widest range first."""
        names = list(dict.fromkeys(name for one in self.in_force for name in one.weights))
        low = {name: min(one.weights.get(name, np.inf) for one in self.in_force) for name in names}
        high = {name: max(one.weights.get(name, 0.0) for one in self.in_force) for name in names}
        return sorted(names, key=lambda name: low[name] - high[name])

    @cached_property
    def measures(self) -> list[str]:
        """What was told by domain, such as losses; in the order of the API."""
        told = {name for one in self.observations for name in one.content}
        return [name for name in VECTORS if name in told]

    def weights(self, domains: Sequence[str]) -> Iterator[Curve]:
        """Yield how the weight of each domain went; a version holds until the next."""
        steps = [one.effective_step for one in self.in_force]
        ends = {"x": np.array([*steps, self.last_step], dtype=np.float64)}
        for name in domains:
            held = [one.weights.get(name, np.nan) for one in self.in_force]
            yield Curve(name, y=np.array([*held, held[-1]]), **ends)

    def measured(self, measure: str, domains: Sequence[str]) -> Iterator[Curve]:
        """Yield what was observed of each domain that was seen."""
        told = [one for one in self.observations if one.content.get(measure)]
        steps = np.array([one.step for one in told], dtype=np.float64)
        for name in domains:
            values = [one.content[measure].get(name) for one in told]
            seen = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
            is_seen = np.isfinite(seen)
            if is_seen.any():
                yield Curve(name, steps[is_seen], seen[is_seen])
