"""DoReMi: more of the domains whose loss exceeds a reference model's by most.

Group distributionally robust optimisation by exponentiated gradient. Scores are each domain's
excess loss, `mean over tokens of max(loss - reference loss, 0)`, clipped before the mean is taken;
of a domain that was not in the batch the last score counts again. The running mean of the weights
is what DoReMi recommends for the run that follows.

Source:
    Xie et al., "DoReMi: Optimizing Data Mixtures Speeds Up Language Model Pretraining",
    arXiv:2305.10429, Algorithm 1, and its code sangmichaelxie/doremi. Grade of evidence: EXEC.

Departures:
    Stored scores start at 0 and the initial weights are not part of the mean; the code starts
    at ln(vocabulary) and counts them, which `initial_score` and `count_initial` bring back. A
    score is reused for 100 updates and is 0 after that. Smoothing is that of the published run
    script, 1e-3; the code's default is 1e-4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.options import option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
    seen,
)
from mixwright.reweighting.exponentiated import exponentiated_gradient

_LONGEST_REUSE = 100  # updates


@dataclass(frozen=True, slots=True)
class DoReMi:
    """Options of DoReMi."""

    step_size: float = option(1.0, "η, what scores are multiplied by.", minimum=0.0)
    smoothing: float = option(
        1e-3, "ε, the share that is spread evenly by every update.", minimum=0.0, maximum=1.0
    )
    initial_score: float = option(0.0, "The score of a domain that was never seen.", minimum=0.0)
    count_initial: bool = option(False, "Whether the initial weights count in the mean.")

    @property
    def requires(self) -> Requirements:
        """Excess losses over a reference model."""
        return Requirements(
            fields=("excess_losses",),
            every_steps=1,
            cost="a forward pass of the reference model on every token, unless its losses are "
            "stored",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed."""
        vectors = {
            "scores": np.full(len(domains), self.initial_score),
            "ages": np.zeros(len(domains)),
            "mean": weights,
            "counted": np.full(len(domains), float(self.count_initial)),
        }
        return State(domains, weights, seed, vectors=vectors)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Take one step of exponentiated gradient on the excess losses."""
        excess = seen(state, observation, "excess_losses")
        if isinstance(excess, str):
            return Update(state, excess)
        missing = np.isnan(excess)
        ages = np.where(missing, state.vectors["ages"] + 1, 0.0)
        scores = np.where(missing, state.vectors["scores"], np.maximum(excess, 0.0))
        scores = np.where(ages > _LONGEST_REUSE, 0.0, scores)
        weights = exponentiated_gradient(state.weights, self.step_size * scores, self.smoothing)
        counted = state.vectors["counted"] + 1
        mean = (state.vectors["mean"] * (counted - 1) + weights) / counted
        vectors = {"scores": scores, "ages": ages, "mean": mean, "counted": counted}
        recommended = dict(zip(state.domains, (mean / mean.sum()).tolist(), strict=True))
        return Update(
            state.after(observation, weights, vectors=vectors),
            diagnostics={"recommendation": recommended},
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return what is known of domains by name; the mean starts again for new ones."""
        moved = remapped(state, new, origin)
        is_old = np.array([name in origin for name in new.domains])
        vectors = dict(moved.vectors)
        vectors["mean"] = np.where(is_old, vectors["mean"], new.weights)
        vectors["counted"] = np.where(is_old, vectors["counted"], 0.0)
        vectors["ages"] = np.where(is_old, vectors["ages"], 0.0)
        return State(
            new.domains, new.weights, new.seed, moved.updates, moved.step, vectors, moved.memory
        )
