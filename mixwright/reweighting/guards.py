"""Guards: what stands between an algorithm's weights and those that are served.

They act on the output only: an algorithm goes on from its own weights, and never learns of them.
Each can be switched off. Ours, not a paper's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import build, by_name, option, schema
from mixwright.reweighting import REWEIGHTERS, build_reweighter
from mixwright.reweighting.base import Reweighter

ALARMING_WEIGHT: Final = 0.8


@dataclass(frozen=True, slots=True)
class Guards:
    """Options of the guards."""

    floor: float = option(
        1e-4,
        "The share of what is served that is spread evenly; 0 switches it off.",
        minimum=0.0,
        maximum=1.0,
    )
    pinned: Mapping[str, float] | None = by_name(
        "Domains whose share is held as it is here, such as 0; the algorithm never sees them."
    )
    max_step: float = option(
        1.0,
        "The largest change at a time, in total variation; the rest follows later.",
        minimum=0.0,
        maximum=1.0,
    )
    warmup_steps: int = option(
        0, "Observations of earlier steps than this are not applied.", minimum=0
    )
    min_interval: int = option(0, "Steps between two changes, at least.", minimum=0)

    def check(self, domains: tuple[str, ...]) -> None:
        """Return if the pinned shares fit the domains.

        Raises:
            InvalidInputError: an unknown domain, a share outside [0, 1], or nothing left to weigh.
        """
        pinned = self.pinned or {}
        for name, share in pinned.items():
            if name not in domains:
                raise _refusal(f"'{name}' is not a domain of the training")
            if not 0 <= share <= 1:
                raise _refusal(f"the share of '{name}' is {share}; it has to be from 0 to 1")
        if len(pinned) == len(domains) or sum(pinned.values()) >= 1:
            raise _refusal("nothing is left for the algorithm to weigh")

    def is_free(self, domains: tuple[str, ...]) -> BoolArray:
        """Return, shape `(k,)`, which domains are not pinned."""
        return np.array([name not in (self.pinned or {}) for name in domains])

    def free_part(self, weights: FloatArray, domains: tuple[str, ...]) -> FloatArray:
        """Return the weights `(k,)` of the domains that are not pinned, with sum 1.

        Raises:
            InvalidInputError: they have no weight.
        """
        free = weights[self.is_free(domains)]
        if not free.sum():
            raise InvalidInputError(
                "all of the weight is on pinned domains; the others need some", field="weights"
            )
        return np.asarray(free / free.sum())

    def whole(self, free: FloatArray, domains: tuple[str, ...]) -> FloatArray:
        """Return the weights `(k,)` of all domains, from those of the ones that are not pinned."""
        pinned = self.pinned or {}
        weights = np.array([pinned.get(name, 0.0) for name in domains])
        is_free = self.is_free(domains)
        weights[is_free] = (1.0 - weights.sum()) * free
        return weights

    def output(self, free: FloatArray, domains: tuple[str, ...]) -> FloatArray:
        """Return what may be served, `(k,)`: pins, and `(1 - ε) p + ε / m` of the m others."""
        floored = (1.0 - self.floor) * free + self.floor / len(free)
        return self.whole(floored, domains)

    def limited(self, before: FloatArray, after: FloatArray) -> FloatArray:
        """Return `after`, or the point as far towards it from `before` as one change may go."""
        distance = total_variation(before, after)
        if distance <= self.max_step:
            return after
        part = self.max_step / distance
        return np.asarray((1.0 - part) * before + part * after)  # never below 0, by rounding

    def alarm(self, weights: FloatArray, domains: tuple[str, ...]) -> str | None:
        """Return that the weights collapse on one domain, if they do."""
        chosen = np.where(self.is_free(domains), weights, 0.0)
        largest = int(chosen.argmax())
        if chosen[largest] <= ALARMING_WEIGHT:
            return None
        return f"the weight of '{domains[largest]}' is {chosen[largest]:.3g}: others may starve"


def total_variation(one: FloatArray, other: FloatArray) -> float:
    """Return half of the summed differences of two mixtures `(k,)`: from 0 to 1."""
    return float(np.abs(one - other).sum() / 2)


def build_guarded(algorithm: str, options: Mapping[str, Any]) -> tuple[Reweighter, Guards]:
    """Return a reweighter and its guards from options that name both kinds.

    An option that the algorithm declares itself is the algorithm's.

    Raises:
        InvalidInputError: no such algorithm, or an option that neither accepts.
    """
    of_guards = _of_guards(algorithm)
    guards = {name: value for name, value in options.items() if name in of_guards}
    own = {name: value for name, value in options.items() if name not in of_guards}
    return build_reweighter(algorithm, own), build(Guards, guards, "the guards")


def guarded_schema(algorithm: str) -> dict[str, Any]:
    """Return the JSON schema of an algorithm's options with those of its guards."""
    own, guards = schema(REWEIGHTERS[algorithm].recipe), schema(Guards)["properties"]
    return {**own, "properties": {**guards, **own["properties"]}}


@cache
def _of_guards(algorithm: str) -> set[str]:
    declared = REWEIGHTERS.get(algorithm)
    own = set(schema(declared.recipe)["properties"]) if declared else set()
    return {field.name for field in fields(Guards)} - own


def _refusal(detail: str) -> InvalidInputError:
    return InvalidInputError(f"option 'pinned': {detail}", field="options/pinned")
