"""DoGE: more of the domains whose gradient points where the target's loss falls.

A domain's score is the inner product of its gradient with the sum of the targets' gradients, over
the mean norm of the domains' gradients, times the learning rate; it is clipped and then takes one
step of exponentiated gradient. Where the targets are the domains themselves, a domain's product
with itself is left out. The mean of the weights is what DoGE recommends for the run that follows.

Source:
    Fan et al., "DoGE: Domain Reweighting with Generalization Estimation", arXiv:2310.15393, and
    its code Olivia-fsm/DoGE. Grade of evidence: EXEC.

Departures:
    A domain that was not in the batch scores 0, so that it falls as one that does not help; the
    code scores the gradient of an earlier step.
    `alignment` must not count a domain's product with itself where it is its own target; a `gram`
    is treated so here. The code's test for that case compares sets of tensors, which are never
    equal, so that as released it counts the product.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.options import option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Table,
    Update,
    number,
    seen,
)
from mixwright.reweighting.exponentiated import exponentiated_gradient
from mixwright.reweighting.trajectory import mean_from, mean_with, moved, recommended

_NO_DIVISION_BY_ZERO = 1e-6  # in the units of a gradient's norm, as the code has it


@dataclass(frozen=True, slots=True)
class DoGE:
    """Options of DoGE."""

    step_size: float = option(
        100.0, "1/μ, what scores are multiplied by; the published runs have μ = 0.01.", minimum=0.0
    )
    lower_clip: float = option(0.0, "The lowest score, as a multiple of the learning rate.")
    upper_clip: float = option(5.0, "The highest score, as a multiple of the learning rate.")
    smoothing: float = option(
        0.0, "ε, the share that is spread evenly by every update.", minimum=0.0, maximum=1.0
    )

    @property
    def requires(self) -> Requirements:
        """Inner products with the target's gradient, norms, and the learning rate."""
        return Requirements(
            fields=(("alignment", "gram"), ("grad_norms", "gram"), "learning_rate"),
            every_steps=1,
            cost="a backward pass for each domain of the batch and a batch of each target; memory "
            "for a gradient per domain",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed.

        Raises:
            InvalidInputError: the lowest score is above the highest.
        """
        if self.lower_clip > self.upper_clip:
            raise InvalidInputError(
                f"lower_clip {self.lower_clip} is above upper_clip {self.upper_clip}",
                field="options/lower_clip",
            )
        return State(domains, weights, seed, vectors=mean_from(weights, counted=False))

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure but what is required."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Take one step of exponentiated gradient on the clipped scores."""
        vectors = _vectors(state, observation)
        if isinstance(vectors, str):
            return Update(state, vectors)
        told = replace(observation, vectors=vectors)
        alignment, norms = seen(state, told, "alignment"), seen(state, told, "grad_norms")
        rate = number(observation, "learning_rate", 0.0)
        if isinstance(alignment, str):
            return Update(state, alignment)
        if isinstance(norms, str):
            return Update(state, norms)
        if isinstance(rate, str):
            return Update(state, rate)
        if (norms < 0).any():
            return Update(state, "grad_norms are below 0")
        scores = self._scores(alignment, float(np.nanmean(norms)), rate)
        weights = exponentiated_gradient(state.weights, self.step_size * scores, self.smoothing)
        mean = mean_with(state, weights)
        return Update(
            state.after(observation, weights, vectors=mean),
            diagnostics={"recommendation": recommended(state.domains, mean["mean"])},
        )

    def _scores(self, alignment: FloatArray, norm: float, rate: float) -> FloatArray:
        raw = rate * alignment / (norm + _NO_DIVISION_BY_ZERO)
        clipped = np.clip(raw, rate * self.lower_clip, rate * self.upper_clip)
        return np.where(np.isnan(alignment), 0.0, clipped)

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the mean by name; it starts again for new domains."""
        return moved(state, new, origin)


def products(gram: Table, domains: tuple[str, ...]) -> dict[str, FloatArray] | str:
    """Return what a matrix of inner products says of each domain, or why it says nothing.

    Args:
        gram: gᵢ·gⱼ; rows are domains, columns are targets. Where rows and columns bear the same
            names the targets are the domains themselves.
        domains: names, length k.

    Returns:
        `alignment`: products with the sum of the targets, without the domain's own, shape `(k,)`,
        NaN for a domain whose row is absent. `grad_norms`, where the targets are the domains.
    """
    own = set(gram.rows) == set(gram.columns)
    table = gram.arranged(domains, domains if own else gram.columns)
    present: BoolArray = np.asarray(np.isfinite(table).any(axis=1))
    needed = table[np.ix_(present, present)] if own else table[present]
    if not np.isfinite(needed).all():
        return "gram has entries that are missing or not finite"
    if not own:
        return {"alignment": _spread(needed.sum(axis=1), present)}
    squared = np.diag(needed)
    if (squared < 0).any():
        return "gram has a product of a gradient with itself that is below 0"
    return {
        "alignment": _spread(needed.sum(axis=1) - squared, present),
        "grad_norms": _spread(np.sqrt(squared), present),
    }


def _vectors(state: State, observation: Observation) -> Mapping[str, FloatArray] | str:
    """Return the vectors of an observation, with what its gram says where it has no alignment."""
    gram = observation.tables.get("gram")
    if "alignment" in observation.vectors:
        return observation.vectors
    if gram is None:
        return "it has neither alignment nor gram"
    found = products(gram, state.domains)
    return found if isinstance(found, str) else {**found, **observation.vectors}


def _spread(values: FloatArray, present: BoolArray) -> FloatArray:
    """Return `values` in the places that are present, shape `(k,)`, NaN in the others."""
    found = np.full(len(present), np.nan)
    found[present] = values
    return found
