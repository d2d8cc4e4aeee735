"""LLM-Shearing's dynamic batch loading: more of the domains that are far above a target loss.

The targets are what a scaling law predicts of each domain's held-out loss. Every evaluation takes
one step of exponentiated gradient on `loss - target`, so that all domains arrive together. Targets
that are out of reach pull all the weight to the hardest domains.

Source:
    Xia et al., "Sheared LLaMA: Accelerating Language Model Pre-training via Structured Pruning",
    arXiv:2310.06694, and its code princeton-nlp/LLM-Shearing. Grade of evidence: EXEC for the
    code's differences, as they are; MEM for the paper's, which are at least 0 (`clip`).

Departures:
    A domain without a loss scores as if it were at its target.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.options import by_name, option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    as_vector,
    remapped,
    seen,
)
from mixwright.reweighting.exponentiated import exponentiated_gradient


@dataclass(frozen=True, slots=True)
class Shearing:
    """Options of dynamic batch loading."""

    target_losses: Mapping[str, float] | None = by_name(
        "The loss that each domain is to reach, nats per token; needed."
    )
    step_size: float = option(1.0, "η, what differences are multiplied by.", minimum=0.0)
    smoothing: float = option(
        1e-4, "ε, the share that is spread evenly by every update.", minimum=0.0, maximum=1.0
    )
    clip: bool = option(False, "Whether a domain below its target counts as one that is at it.")

    @property
    def requires(self) -> Requirements:
        """Losses on held-out data."""
        return Requirements(
            fields=("losses",),
            every_steps=400,
            cost="an evaluation on held-out data of every domain",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed.

        Raises:
            InvalidInputError: not every domain has a target, or another name has one.
        """
        as_vector(self.target_losses, domains, "target_losses")
        return State(domains, weights, seed)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure but what is required."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Take one step of exponentiated gradient on how far losses are above their targets."""
        losses = seen(state, observation, "losses")
        if isinstance(losses, str):
            return Update(state, losses)
        above = losses - as_vector(self.target_losses, state.domains, "target_losses")
        above = np.where(np.isnan(above), 0.0, above)
        scores = self.step_size * (np.maximum(above, 0.0) if self.clip else above)
        weights = exponentiated_gradient(state.weights, scores, self.smoothing)
        return Update(
            state.after(observation, weights),
            diagnostics={"above_target": dict(zip(state.domains, above.tolist(), strict=True))},
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the new domains' weights; their targets are options."""
        return remapped(state, new, origin)
