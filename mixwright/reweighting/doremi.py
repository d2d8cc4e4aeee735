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
    seen,
)
from mixwright.reweighting.exponentiated import exponentiated_gradient
from mixwright.reweighting.trajectory import mean_from, mean_with, moved, recommended, scores_with

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
        scores = np.full(len(domains), self.initial_score)
        vectors = {"scores": scores, "ages": np.zeros(len(domains))}
        mean = mean_from(weights, counted=self.count_initial)
        return State(domains, weights, seed, vectors={**vectors, **mean})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Take one step of exponentiated gradient on the excess losses."""
        excess = seen(state, observation, "excess_losses")
        if isinstance(excess, str):
            return Update(state, excess)
        last = scores_with(state, np.maximum(excess, 0.0), _LONGEST_REUSE)
        scores = self.step_size * last["scores"]
        weights = exponentiated_gradient(state.weights, scores, self.smoothing)
        mean = mean_with(state, weights)
        return Update(
            state.after(observation, weights, vectors={**last, **mean}),
            diagnostics={"recommendation": recommended(state.domains, mean["mean"])},
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return what is known of domains by name; the mean starts again for new ones."""
        return moved(state, new, origin)


def excess_loss(losses: FloatArray, reference: FloatArray) -> float:
    """Return what a trainer sends of a domain: the mean of the excess, clipped token by token.

    To clip the mean instead lets tokens that are learned hide those that are not.

    Args:
        losses: of the tokens, shape `(n,)`, n > 0, nats.
        reference: the reference model's on the same tokens, shape `(n,)`, nats.
    """
    return float(np.maximum(losses - reference, 0.0).mean())
