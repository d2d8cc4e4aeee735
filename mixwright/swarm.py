"""Swarm designs: which mixtures to train proxy runs on. A design is one line of `SWARM_DESIGNS`.

Source of `dirichlet`:
    Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training",
    arXiv:2407.01492, and its script `mixture_config/synthesize_mixture.py` [X]: the square root
    of the prior, 15 strengths from 0.1 to 5, no domain above 15 times its prior share, weights
    below 0.0002 set to 0, multiples of 0.0002, a hundred times as many candidates as are picked.

Departures of `dirichlet`:
    * One candidate is drawn at a strength picked at random; RegMix draws one at each of the 15
      strengths and keeps one of them at random, which has the same distribution.
    * Candidates outside the study's constraints are rejected as well. If that leaves too few,
      Markov chains draw from the same distribution inside them.
    * Rounding serves the largest remainders first, so that weights sum to exactly 1 (RegMix's sum
      to 0.996 to 1.003), and a mixture that rounding takes out of the constraints is not rounded.

Source of `space_filling`:
    Kennard and Stone, "Computer aided design of experiments", Technometrics 11(1), 1969 [R]:
    each new mixture is the candidate farthest from those already chosen. Candidates are uniform
    in the polytope. Of the designs compared in `benchmarks/geometry.py` it keeps mixtures
    farthest apart, and alone with k-means it needs nothing but points inside the constraints.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.chains import MAX_CHAINS, run_chains
from mixwright.errors import InfeasibleError
from mixwright.feasibility import smallest_violation
from mixwright.polytope import FEASIBILITY_TOLERANCE, Polytope, is_feasible
from mixwright.sampling import SMALLEST_CONCENTRATION, sample_polytope
from mixwright.simplex import apportion
from mixwright.study import Study

SwarmDesign: TypeAlias = Callable[[Study, Polytope, int, int], FloatArray]

_TEMPER = 0.5
STRENGTHS = np.logspace(np.log10(0.1), np.log10(5.0), 15)
_MAXIMUM_USAGE = 15.0
_UNITS = 5000  # multiples of 2e-4, which is also the smallest weight
_OVERSAMPLING = 100
CANDIDATES_PER_POINT = 20


def dirichlet(study: Study, polytope: Polytope, count: int, seed: int) -> FloatArray:
    """Return RegMix's design: Dirichlet draws around the tempered prior, from sparse to even.

    Args:
        study: gives the prior.
        polytope: the study's constraints.
        count: number of mixtures.
        seed: equal seeds give equal designs.

    Returns:
        Shape `(count, k)`, feasible mixtures, all different unless the constraints leave too few.

    Raises:
        InfeasibleError: RegMix's own bound leaves no mixture inside the constraints.
    """
    rng = np.random.default_rng(seed)
    within = _bound_usage(study, polytope)
    tempered = np.maximum(study.prior, SMALLEST_CONCENTRATION) ** _TEMPER
    tempered /= tempered.sum()
    candidates = _round(polytope, _draw_candidates(within, tempered, _OVERSAMPLING * count, rng))
    if len(candidates) < count:
        more = _draw_by_chains(within, tempered, 2 * count, rng)
        candidates = np.unique(np.vstack([candidates, _round(polytope, more)]), axis=0)
    return np.resize(rng.permutation(candidates), (count, polytope.num_domains))


def space_filling(study: Study, polytope: Polytope, count: int, seed: int) -> FloatArray:
    """Return mixtures far apart from each other, all over the polytope.

    Args:
        study: unused.
        polytope: the study's constraints.
        count: number of mixtures.
        seed: equal seeds give equal designs.

    Returns:
        Shape `(count, k)`, the one nearest to the middle first, each next one the farthest from
        all before it; so every beginning of the design is space-filling too.
    """
    candidates = sample_polytope(polytope, CANDIDATES_PER_POINT * count, seed)
    return farthest_first(candidates, count)


def farthest_first(candidates: FloatArray, count: int) -> FloatArray:
    """Return `count` of `candidates` `(q, k)`, the middle one first, then each time the farthest.

    Farthest from all that come before it.
    """
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(candidates), np.inf)
    following = ((candidates - candidates.mean(axis=0)) ** 2).sum(axis=1).argmin()
    for i in range(count):
        chosen[i] = following
        distances = ((candidates - candidates[following]) ** 2).sum(axis=1)
        nearest = np.minimum(nearest, distances)
        following = nearest.argmax()
    return candidates[chosen]


SWARM_DESIGNS: Final[Mapping[str, SwarmDesign]] = {
    "dirichlet": dirichlet,
    "space_filling": space_filling,
}


def _bound_usage(study: Study, polytope: Polytope) -> Polytope:
    """Return the polytope with RegMix's bound on each domain, which is of the untempered prior."""
    usage = np.minimum(_MAXIMUM_USAGE * study.prior, 1.0)
    bounded = replace(polytope, upper=np.minimum(polytope.upper, usage))
    if smallest_violation(bounded) > FEASIBILITY_TOLERANCE:
        raise InfeasibleError(
            f"RegMix's design gives no domain more than {_MAXIMUM_USAGE:g} times its prior share, "
            "and no mixture that satisfies the constraints does so; use the space_filling design, "
            "or a prior nearer to what the constraints allow"
        )
    return bounded


def _draw_candidates(
    polytope: Polytope, tempered: FloatArray, count: int, rng: np.random.Generator
) -> FloatArray:
    """Draw `count` candidates over all strengths and return the feasible ones."""
    shares = rng.multinomial(count, np.full(len(STRENGTHS), 1 / len(STRENGTHS)))
    kept = []
    for strength, size in zip(STRENGTHS, shares, strict=True):
        draws = rng.dirichlet(tempered * strength, size)
        kept.append(draws[is_feasible(polytope, draws)])
    return np.vstack(kept)


def _draw_by_chains(
    polytope: Polytope, tempered: FloatArray, count: int, rng: np.random.Generator
) -> FloatArray:
    """Return `count` feasible candidates, each chain with a strength of its own."""
    strengths = rng.choice(STRENGTHS, size=min(count, MAX_CHAINS))
    return run_chains(polytope, strengths[:, None] * tempered, count, rng)


def _round(polytope: Polytope, draws: FloatArray) -> FloatArray:
    """Return the distinct mixtures left when weights become multiples of 0.0002."""
    large = np.where(draws < 1 / _UNITS, 0.0, draws)
    rounded = apportion(large / large.sum(axis=1, keepdims=True), _UNITS) / _UNITS
    feasible = is_feasible(polytope, rounded)
    return np.unique(np.where(feasible[:, None], rounded, draws), axis=0)
