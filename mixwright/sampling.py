"""Random mixtures inside the constraints.

Sources:
    RegMix (github.com/sail-sg/regmix) rejects Dirichlet draws that break a bound [X].

Departures:
    Where more than nine in ten draws would be rejected, the draws come from Markov chains with
    the same distribution, so that the time taken has a limit.
"""

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.chains import run_chains
from mixwright.polytope import Polytope, is_feasible

_WORTHWHILE = 0.1  # share of accepted draws below which rejection gives way to chains
SMALLEST_CONCENTRATION = 1e-12  # as olmix floors a prior share of 0


def sample_polytope(polytope: Polytope, count: int, seed: int | np.random.Generator) -> FloatArray:
    """Return mixtures spread uniformly over the polytope.

    Args:
        polytope: constraints that admit a mixture; also a single one, or with fixed weights.
        count: number of draws; up to 2048 are independent of each other.
        seed: equal seeds give equal draws.

    Returns:
        Shape `(count, k)`.

    Raises:
        InfeasibleError: no mixture satisfies the constraints.
    """
    return run_chains(polytope, np.ones(polytope.num_domains), count, np.random.default_rng(seed))


def sample_dirichlet(
    polytope: Polytope, concentration: FloatArray, count: int, rng: np.random.Generator
) -> FloatArray:
    """Return draws from a Dirichlet distribution conditioned on the polytope.

    Draws outside are rejected if at least a tenth of the first `count` lie inside; otherwise
    Markov chains draw from the same conditional distribution (see `mixwright.chains`).

    Args:
        polytope: constraints that admit a mixture.
        concentration: shape `(k,)`, at least 0; a domain's share of the sum is its mean share
            when there are no constraints.
        count: number of draws.
        rng: source of every draw.

    Returns:
        Shape `(count, k)`. Without constraints, `rng.dirichlet(concentration, count)` itself.

    Raises:
        InfeasibleError: no mixture satisfies the constraints.
    """
    concentration = np.maximum(concentration, SMALLEST_CONCENTRATION)
    draws = rng.dirichlet(concentration, count)
    kept = draws[is_feasible(polytope, draws)]
    if len(kept) < _WORTHWHILE * count:
        return run_chains(polytope, concentration, count, rng)
    while len(kept) < count:
        draws = rng.dirichlet(concentration, count)
        kept = np.vstack([kept, draws[is_feasible(polytope, draws)]])
    return kept[:count]
