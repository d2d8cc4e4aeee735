"""What the objective does when one domain's share is varied and the rest keep their proportions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.report.numbers import ABSENT, percent, significant
from mixwright.arrays import BoolArray, FloatArray
from mixwright.model import Intervals
from mixwright.study import Domain

POINTS = 41

NEAR = 0.25
"""A share this near to the recommended one is a change that somebody might make [I]."""


class Predictor(Protocol):
    """What slices are cut through."""

    @property
    def mixtures(self) -> FloatArray:
        """Mixtures `(n, k)` of the runs that it learned from."""
        ...

    def predict_objective(self, mixtures: FloatArray) -> Intervals:
        """Return the objective at each of `mixtures` `(q, k)`, with 90 % intervals."""
        ...


@dataclass(frozen=True, slots=True)
class EffectSlice:
    """The predicted objective along one domain's share.

    Attributes:
        domain: its name.
        share: shape `(g,)`, from the domain's lower to its upper bound.
        mean: shape `(g,)`; so have `lower` and `upper`, the ends of the 90 % interval.
        recommended: the recommended share.
        at_recommended: the predicted objective of the recommended mixture: lower end of its
            interval, mean, upper end.
        prior: the prior's share.
        sampled: smallest and largest share among the runs that the model was fitted on.
    """

    domain: str
    share: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    recommended: float
    at_recommended: tuple[float, float, float]
    prior: float
    sampled: tuple[float, float]

    @property
    def is_sampled(self) -> BoolArray:
        """Whether each share lies in the range that was sampled, shape `(g,)`."""
        return (self.sampled[0] <= self.share) & (self.share <= self.sampled[1])

    @property
    def is_near(self) -> BoolArray:
        """Whether each share is near the recommended one, shape `(g,)`."""
        return np.abs(self.share - self.recommended) <= NEAR

    @property
    def effect(self) -> float:
        """How far the mean moves over the near shares that were sampled."""
        mean = self.mean[self.is_sampled & self.is_near]
        return float(np.ptp(mean)) if len(mean) else 0.0


def effect_slices(
    domains: Sequence[Domain],
    weights: FloatArray,
    model: Predictor,
    only: Collection[str] | None = None,
) -> list[EffectSlice]:
    """Return a slice for each domain through the mixture `weights` `(k,)`, largest effect first.

    Only the varied domain is held to its bounds: a slice shows what the model believes about a
    domain, not which mixtures are allowed.

    Args:
        domains: k domains.
        weights: the mixture.
        model: what is cut through.
        only: names of the domains to vary; by default all.
    """
    here = model.predict_objective(weights[None])
    at_recommended = (float(here.lower[0]), float(here.mean[0]), float(here.upper[0]))
    found = [
        _effect_slice(domains, index, weights, model, at_recommended)
        for index in range(len(domains))
        if only is None or domains[index].name in only
    ]
    return sorted(found, key=lambda effect_slice: -effect_slice.effect)


def _effect_slice(
    domains: Sequence[Domain],
    index: int,
    weights: FloatArray,
    model: Predictor,
    at_recommended: tuple[float, float, float],
) -> EffectSlice:
    domain, sampled = domains[index], model.mixtures[:, index]
    # denser where shares are small: that is where laws bend
    share = domain.lower + (domain.upper - domain.lower) * np.linspace(0.0, 1.0, POINTS) ** 2
    prior = np.array([one.prior for one in domains])
    predicted = model.predict_objective(varied(weights, prior, index, share))
    return EffectSlice(
        domain=domain.name,
        share=share,
        mean=predicted.mean,
        lower=predicted.lower,
        upper=predicted.upper,
        recommended=float(weights[index]),
        at_recommended=at_recommended,
        prior=domain.prior,
        sampled=(float(sampled.min()), float(sampled.max())),
    )


def varied(weights: FloatArray, prior: FloatArray, index: int, shares: FloatArray) -> FloatArray:
    """Return mixtures `(g, k)` where domain `index` has each of `shares` `(g,)`.

    The other domains keep the proportions they have in `weights` `(k,)`; where they have none
    (the mixture is that domain alone) those of the prior, else equal ones. A study of one domain
    has one mixture, whatever the share.
    """
    if len(weights) == 1:
        return np.ones((len(shares), 1))
    others = np.arange(len(weights)) != index
    for proportions in (weights, prior, np.ones_like(weights)):
        rest = np.where(others, proportions, 0.0)
        if rest.sum() > 0:
            break
    mixtures = np.outer(1.0 - shares, rest / rest.sum())
    mixtures[:, index] = shares
    return mixtures


@dataclass(frozen=True, slots=True)
class SliceRow:
    """A slice in words."""

    domain: str
    recommended: str
    prior: str
    sampled: str
    lowest_at: str
    effect: str


def slice_rows(slices: Sequence[EffectSlice]) -> list[SliceRow]:
    """Return what the pictures show as a table, in the order of the slices."""
    return [_slice_row(effect_slice) for effect_slice in slices]


def _slice_row(effect_slice: EffectSlice) -> SliceRow:
    sampled, lowest = effect_slice.is_sampled, ABSENT
    if sampled.any():
        lowest = percent(float(effect_slice.share[sampled][effect_slice.mean[sampled].argmin()]))
    smallest, largest = effect_slice.sampled
    return SliceRow(
        domain=effect_slice.domain,
        recommended=percent(effect_slice.recommended, 2),
        prior=percent(effect_slice.prior, 2),
        sampled=f"{percent(smallest)} to {percent(largest)}",
        lowest_at=lowest,
        effect=significant(effect_slice.effect),
    )
