"""TiKMiX-D: the mixture with the largest group influence on tasks, without loss to any of them.

Influence `S_ij` is how much training on domain j lowers the loss of task i, by inverse-Hessian
products on groups of equal tokens. At every stage the weights minimise

    α std(P̂) - β Σ P̂ - γ H(w),  P = S w,  P̂_i = P_i / (max_j S_ij + 1e-8),  H the entropy

over the simplex such that no task gains less than with the prior: `S w ≥ S w_prior`. The function
is convex, so its minimum is the global one.

Source:
    "TiKMiX: Take Data Influence into Dynamic Mixture for Language Model Pre-training",
    arXiv:2508.17677. No code was found. Grade of evidence: PAPER.

Departures:
    std is over tasks as a population. The minimum is found by an interior point in place of SLSQP,
    which takes minutes with hundreds of domains. A task that no domain helps would turn its sign:
    it is left out of the function and of the constraints, and named. Below weights of 1e-9 the
    entropy goes on along its tangent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.polytope import Polytope
from mixwright.projection import project
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
)
from mixwright.reweighting.tikmix_minimum import SMALLEST_WEIGHT, Programme, minimum

MOST_DOMAINS = 1_000  # a stage of as many takes seconds, and time grows with the cube
_EPSILON = 1e-8  # the paper's, in the divisor of P̂


@dataclass(frozen=True, slots=True)
class Influence:
    """What domains do for tasks.

    Attributes:
        tasks: names, length r.
        values: shape `(r, k)`, finite; positive where the domain lowers the task's loss.
    """

    tasks: tuple[str, ...]
    values: FloatArray

    def helped(self) -> "Influence":
        """Return the tasks that a domain helps."""
        kept = self.values.max(axis=1) > 0
        names = tuple(np.array(self.tasks, dtype=object)[kept])
        return Influence(names, self.values[kept])

    def divisors(self) -> FloatArray:
        """Return what the gain of each task is divided by, shape `(r, 1)`."""
        largest: FloatArray = self.values.max(axis=1, keepdims=True) + _EPSILON
        return largest


@dataclass(frozen=True, slots=True)
class StageObjective:
    """What TiKMiX-D minimises.

    Attributes:
        gains: P̂ of each domain alone, shape `(r, k)`.
        alpha: of the standard deviation over tasks.
        beta: of the sum.
        gamma: of the entropy.
    """

    gains: FloatArray
    alpha: float
    beta: float
    gamma: float

    def value(self, mixture: FloatArray) -> float:
        """Return the function at a mixture `(k,)`."""
        gain = self.gains @ mixture
        used = np.maximum(mixture, SMALLEST_WEIGHT)
        entropy = -used @ np.log(used) - (mixture - used).sum() * (np.log(SMALLEST_WEIGHT) + 1)
        return float(self.alpha * gain.std() - self.beta * gain.sum() - self.gamma * entropy)


@dataclass(frozen=True, slots=True)
class TiKMiXD:
    """Options of TiKMiX-D."""

    alpha: float = option(1.0, "α, against unequal gains of tasks.", minimum=0.0)
    beta: float = option(1.0, "β, for the sum of gains.", minimum=0.0)
    gamma: float = option(1.0, "γ, for the entropy of the weights.", minimum=0.0)

    @property
    def requires(self) -> Requirements:
        """Influence of every domain on every task."""
        return Requirements(
            fields=("influence",),
            cost="once a stage, gradients of about 0.1B tokens and an inverse-Hessian product "
            "per task; rows are tasks, columns domains, positive where a loss falls",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed; the weights are the prior.

        Raises:
            InvalidInputError: there are more domains than can be solved for within seconds.
        """
        if len(domains) > MOST_DOMAINS:
            raise InvalidInputError(
                f"TiKMiX-D weighs up to {MOST_DOMAINS:,} domains, not {len(domains):,}; "
                "merge the small ones",
                field="domains",
            )
        return State(domains, weights, seed, vectors={"prior": weights})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing but the influence to measure."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Solve for the weights of the next stage."""
        influence = told_influence(state, observation)
        if isinstance(influence, str):
            return Update(state, influence)
        weights = self.solve(influence.helped(), state.vectors["prior"])
        return Update(
            state.after(observation, weights),
            diagnostics=influence_diagnostics(influence, weights, state.vectors["prior"]),
        )

    def solve(self, influence: Influence, prior: FloatArray) -> FloatArray:
        """Return the best feasible mixture `(k,)` that was found; the prior is feasible.

        Args:
            influence: of tasks that a domain helps.
            prior: shape `(k,)`.
        """
        gains = influence.values / influence.divisors()
        function = StageObjective(gains, self.alpha, self.beta, self.gamma)
        polytope = no_regret(influence, prior)
        rows, limits = -polytope.a_ub, -polytope.b_ub
        programme = Programme(gains, rows, limits, self.alpha, self.beta, self.gamma)
        found = project(polytope, minimum(programme, prior))
        best: FloatArray = min([prior, found], key=function.value)
        return np.asarray(best / best.sum())

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the prior by name, 0 for new domains; it starts afresh if nothing is left."""
        return remapped_prior(state, new, origin)


def told_influence(state: State, observation: Observation) -> Influence | str:
    """Return the influence of every domain, or why it cannot be used."""
    table = observation.tables.get("influence")
    if table is None:
        return "it has no influence"
    values = table.arranged(table.rows, state.domains)
    if not np.isfinite(values).all():
        lacking = ", ".join(np.array(state.domains)[~np.isfinite(values).all(axis=0)][:5])
        return f"influence is missing or not finite for {lacking}"
    influence = Influence(table.rows, values)
    return influence if influence.helped().tasks else "no domain helps any task"


def no_regret(influence: Influence, prior: FloatArray) -> Polytope:
    """Return the mixtures with which every task gains what it does with the prior, or more."""
    k, rows = len(prior), influence.values / influence.values.max(axis=1, keepdims=True)
    sides = [f"{side}:{index}" for side in ("lower", "upper") for index in range(k)]
    names = (*sides, *(f"task:{task}" for task in influence.tasks))
    return Polytope(np.zeros(k), np.ones(k), -rows, -rows @ prior, names)


def influence_diagnostics(
    influence: Influence, weights: FloatArray, prior: FloatArray
) -> dict[str, Json]:
    """Return each task's gain, how much more than with the prior that is, and tasks left out."""
    gain, before = influence.values @ weights, influence.values @ prior
    kept = influence.helped().tasks
    return {
        "gain": dict(zip(influence.tasks, gain.tolist(), strict=True)),
        "slack": dict(zip(influence.tasks, (gain - before).tolist(), strict=True)),
        "dropped_tasks": [task for task in influence.tasks if task not in kept],
    }


def remapped_prior(state: State, new: State, origin: Mapping[str, str]) -> State:
    """Return `new` with the prior by name, 0 for new domains; its own if nothing is left."""
    old = dict(zip(state.domains, state.vectors["prior"].tolist(), strict=True))
    prior = np.array([old.get(origin.get(name, ""), 0.0) for name in new.domains])
    prior = prior / prior.sum() if prior.sum() > 0 else new.weights
    return replace(remapped(state, new, origin), vectors={"prior": prior})
