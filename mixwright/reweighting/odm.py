"""ODM: more of the domains whose training loss is high, found by a bandit.

Online data mixing takes domains for the arms of Exp3. The reward of a domain is its training loss
over `reward_scale`, divided by the weight that the batch was drawn with, so that domains rarely
drawn are not at a disadvantage. With K domains, rewards R summed over time and t the trainer's
step, `p = (1 - K ε_t) softmax(ε_{t-1} R) + ε_t`, `ε_t = min(1/K, √(ln K / (K t)))`. While
`t ≤ K ln K` the weights are uniform.

Source:
    Albalak et al., "Efficient Online Data Mixing for Language Model Pre-Training",
    arXiv:2312.02406, and its code alon-albalak/online-data-mixing
    `megatron/data/data_sampling_utils.py`, `Exp3WeightUpdater`. Grade of evidence: EXEC.

Departures:
    Rewards are divided by the weights that produced the batch where they are known, not by the
    newest. A weight counts as 1e-6 at least, and a reward of a domain that had none is left out.
    The largest logit is subtracted first, so that nothing overflows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

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
)
from mixwright.reweighting.exponentiated import softmax

_LEAST_WEIGHT = 1e-6  # that a reward is divided by


@dataclass(frozen=True, slots=True)
class ODM:
    """Options of ODM."""

    reward_scale: float = option(10.0, "What rewards are divided by.", minimum=1e-6)

    @property
    def requires(self) -> Requirements:
        """Training losses of the domains that were in the batch, as rewards or as losses."""
        return Requirements(
            fields=(("rewards", "losses"),),
            optional=("weights_version",),
            every_steps=1,
            cost="nothing: the training loss of each domain, in nats per token",
            most_missing=1.0,
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed."""
        count = len(domains)
        vectors, memory = {"rewards": np.zeros(count)}, {"exploration": 1.0 / count}
        return State(domains, weights, seed, vectors=vectors, memory=memory)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Add the rewards of the domains that were seen, and weigh all by their sums."""
        vectors = observation.vectors
        told = vectors.get("rewards", vectors.get("losses", np.empty(0)))
        sampled = state.weights if observation.sampled is None else observation.sampled
        if observation.step < 1:
            return Update(state, "steps count from 1")
        if not np.isfinite(told).any():
            return Update(state, "it has no rewards that are finite")
        counted = np.isfinite(told) & (sampled > 0)
        if not counted.any():
            return Update(state, "rewards are of domains that had no weight")
        earned = told / self.reward_scale / np.maximum(sampled, _LEAST_WEIGHT)
        rewards = state.vectors["rewards"] + np.where(counted, earned, 0.0)
        now = exploration(len(rewards), observation.step)
        weights = exp3(rewards, state.memory["exploration"], now)
        after = state.after(
            observation, weights, vectors={"rewards": rewards}, memory={"exploration": now}
        )
        return Update(after, diagnostics={"exploration": now})

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the rewards by name, new domains with their mean; exploration goes on."""
        least = min(state.memory["exploration"], new.memory["exploration"])
        return replace(remapped(state, new, origin), memory={"exploration": least})


def exploration(count: int, step: int) -> float:
    """Return ε of `count` domains at a trainer's step, from 1: the least weight of a domain."""
    return min(1.0 / count, math.sqrt(math.log(count) / (count * step)))


def exp3(rewards: FloatArray, before: float, now: float) -> FloatArray:
    """Return weights `(k,)` for summed rewards `(k,)` and the exploration before and now."""
    weights = (1.0 - len(rewards) * now) * softmax(before * rewards) + now
    return np.asarray(weights / weights.sum())
