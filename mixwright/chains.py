"""Markov chains that draw from a Dirichlet distribution confined to a polytope.

All chains take the same steps side by side. In a step a few domains trade weight: the mixture
moves along a line whose part inside the polytope is known exactly, so that no proposal leaves
it. Mostly two domains trade, which mixes far faster than random directions do: on a simplex the
order of k log k steps are enough, against k squared. Where linear constraints tie domains
together, larger groups trade as well, in such a way that some of the constraints keep their
value; pairs alone would be stuck.

Along the line the density is a product of powers of the weights that trade. A step is proposed
from the Beta distribution with the same singularities at the ends, and accepted by the ratio of
densities (Metropolis and Hastings). For the uniform distribution every proposal is accepted, and
so it is for a pair that no constraint cuts short.

Sources:
    Lines: Smith, "Efficient Monte Carlo procedures for generating points uniformly distributed
    over bounded regions", Operations Research 32(6), 1984 (hit-and-run) [R]. Pairs: Smith, "A
    Gibbs sampler on the n-simplex", Annals of Applied Probability 24(1), 2014 [R]. The larger
    groups, the proposal and the numbers of sweeps are ours [I]; `benchmarks/geometry.py`
    measures them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from mixwright.arrays import FloatArray, IntArray
from mixwright.interior import find_centre
from mixwright.polytope import Polytope

BURN_IN_SWEEPS = 100
THINNING_SWEEPS = 5
MAX_CHAINS = 2048
_PARALLEL = 1e-9  # a direction this nearly along a constraint never meets it
_RESOLUTION = 1e-12  # weights below it count as equal: rounding errors are not far from it


@dataclass(slots=True)
class _Chains:
    """The chains' mixtures, one column each.

    Attributes:
        polytope: where they may go.
        concentration: shape `(k, 1)`, or `(k, n)` where it differs from chain to chain.
        mixtures: shape `(k, n)`.
        slack: shape `(c, n)`, what each linear constraint has left.
        rng: source of every draw.
    """

    polytope: Polytope
    concentration: FloatArray
    mixtures: FloatArray
    slack: FloatArray
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class _End:
    """Where a line leaves the polytope, for each chain.

    Attributes:
        distance: shape `(n,)`, at least 0.
        power: shape `(n,)`, the concentration of the domain whose weight reaches 0 there, if
            below 1; else 1. It is a parameter of the Beta distribution of proposals.
        steepness: shape `(n,)`, how much weight the domain that stops the chain loses or gains
            for each unit of distance.
    """

    distance: FloatArray
    power: FloatArray
    steepness: FloatArray


def run_chains(
    polytope: Polytope, concentration: FloatArray, count: int, rng: np.random.Generator
) -> FloatArray:
    """Return draws from Dirichlet(concentration) conditioned on a polytope.

    Args:
        polytope: constraints that admit a mixture.
        concentration: shape `(k,)`, above 0, ones for the uniform distribution; or `(c, k)`, one
            for each of the c = min(count, 2048) chains.
        count: number of draws. Up to 2048 come from a chain each and are independent; beyond,
            each chain gives several, five sweeps apart.
        rng: source of every draw.

    Returns:
        Shape `(count, k)`.

    Raises:
        InfeasibleError: no mixture satisfies the constraints.
    """
    k, num_chains = polytope.num_domains, min(count, MAX_CHAINS)
    rounds = -(-count // num_chains) if count else 0
    mixtures = np.repeat(find_centre(polytope)[:, None], num_chains, axis=1)
    chains = _Chains(polytope, np.atleast_2d(concentration).T, mixtures, np.empty((0, 0)), rng)
    draws = np.empty((rounds, num_chains, k))
    for i in range(rounds):
        for _ in range(BURN_IN_SWEEPS if i == 0 else THINNING_SWEEPS):
            _sweep(chains)
        draws[i] = chains.mixtures.T
    return draws.reshape(-1, k)[:count]


def _sweep(chains: _Chains) -> None:
    """Let every domain trade in a pair and, with linear constraints, k/2 larger groups trade."""
    polytope, rng = chains.polytope, chains.rng
    k, num_linear = polytope.num_domains, len(polytope.b_ub)
    chains.slack = polytope.b_ub[:, None] - polytope.a_ub @ chains.mixtures
    order = rng.permutation(k)
    for giver, taker in zip(order[::2], order[1::2], strict=False):
        _trade(chains, np.array([giver, taker]), np.array([-1.0, 1.0]))
    for _ in range(k // 2 if min(num_linear, k - 2) > 0 else 0):
        num_kept = rng.integers(1, min(num_linear, k - 2), endpoint=True)
        kept = rng.permutation(num_linear)[:num_kept]
        members = rng.permutation(k)[: num_kept + 2]
        equations = np.vstack([np.ones(len(members)), polytope.a_ub[np.ix_(kept, members)]])
        ways = null_space(equations)
        direction = ways @ rng.standard_normal(ways.shape[1])
        direction /= np.abs(direction).max()
        moving = np.abs(direction) > _PARALLEL
        _trade(chains, members[moving], direction[moving])


def _trade(chains: _Chains, members: IntArray, direction: FloatArray) -> None:
    """Move every chain along a line.

    Args:
        chains: moved in place.
        members: shape `(s,)`, the domains that trade.
        direction: shape `(s,)`, sums to 0, the largest entry 1 or -1.
    """
    polytope, slope = chains.polytope, direction[:, None]
    extra = chains.concentration[members] - 1.0
    before = chains.mixtures[members]
    back, forth = _end(chains, members, -direction), _end(chains, members, direction)
    uniform = not extra.any()
    size = len(back.distance)
    share = chains.rng.random(size) if uniform else chains.rng.beta(back.power, forth.power)
    step = (back.distance + forth.distance) * share - back.distance  # (n,)
    after = before + slope * step
    if not uniform:
        gain = _log_powers(extra, after) - _log_powers(extra, before)
        gain += _log_proposal(back, forth, np.zeros(1)) - _log_proposal(back, forth, step)
        accepted = np.log(chains.rng.random(size)) < gain
        step = np.where(accepted, step, 0.0)
        after = np.where(accepted, after, before)
    lower, upper = polytope.lower[members, None], polytope.upper[members, None]
    chains.mixtures[members] = np.clip(after, lower, upper)
    chains.slack -= (polytope.a_ub[:, members] @ direction)[:, None] * step


def _end(chains: _Chains, members: IntArray, direction: FloatArray) -> _End:
    """Return where each chain would have to stop along a direction."""
    polytope, slope = chains.polytope, direction[:, None]
    lower, upper = polytope.lower[members, None], polytope.upper[members, None]
    bounds = np.where(slope > 0, upper, lower)
    distances = (bounds - chains.mixtures[members]) / slope  # (s, n)
    place, chain = distances.argmin(axis=0), np.arange(distances.shape[1])
    powers = np.where(bounds == 0, np.minimum(chains.concentration[members], 1.0), 1.0)
    end = _End(
        np.maximum(distances[place, chain], 0.0),
        np.broadcast_to(powers, distances.shape)[place, chain],
        np.abs(direction)[place],
    )
    gain = polytope.a_ub[:, members] @ direction
    for row in np.flatnonzero(gain > _PARALLEL):
        limit = np.maximum(chains.slack[row], 0.0) / gain[row]
        end.power[limit < end.distance] = 1.0
        np.minimum(end.distance, limit, out=end.distance)
    return end


def _log_proposal(back: _End, forth: _End, step: FloatArray) -> FloatArray:
    """Return the logarithm, but for a constant, of the density with which a step is proposed.

    It is taken of the weights that are left at the ends, as the density of mixtures is, so that
    below the resolution the two cancel.
    """
    behind = back.steepness * (back.distance + step)
    ahead = forth.steepness * (forth.distance - step)
    return _log_powers(back.power - 1.0, behind[None]) + _log_powers(forth.power - 1.0, ahead[None])


def _log_powers(exponents: FloatArray, bases: FloatArray) -> FloatArray:
    """Return the logarithm of `prod(bases ** exponents, axis=0)`, exponents above -1.

    Below the resolution the power is replaced by its mean from 0 to there: at an exponent of
    -0.998, as a small domain of a real prior has, nine tenths of the probability lie there.
    """
    logarithms = exponents * np.log(np.maximum(bases, _RESOLUTION))
    logarithms -= np.where(bases < _RESOLUTION, np.log1p(exponents), 0.0)
    total: FloatArray = logarithms.sum(axis=0)
    return total
