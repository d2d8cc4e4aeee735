"""Weights that stay as they were given: what every other reweighter is compared with.

Grade of evidence: none is needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mixwright.arrays import FloatArray
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
)


@dataclass(frozen=True, slots=True)
class Static:
    """No options."""

    @property
    def requires(self) -> Requirements:
        """Nothing; losses are kept to be looked at."""
        return Requirements(fields=(), optional=("losses",), every_steps=500)

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed."""
        return State(domains, weights, seed)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Return the same weights."""
        return Update(state.after(observation, state.weights))

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the new domains' weights."""
        return remapped(state, new, origin)
