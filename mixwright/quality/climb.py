"""CLIMB's search: rounds of runs, each chosen at random among the best that are predicted.

Source:
    Diao et al., "CLIMB: CLustering-based Iterative Data Mixture Bootstrapping for Language Model
    Pre-training", arXiv:2504.13161 [S]: rounds of 64, 32 and 16 runs; the first is drawn from a
    Dirichlet distribution that favours clusters with many tokens; after each, a predictor is
    fitted to all runs, and the next are drawn at random from the untested candidates with the best
    predictions. The mixture with the best prediction at the end is recommended. The predictor is
    LightGBM with L1 and L2 penalties, no deeper than 4, at least 5 runs in a leaf, stopped after
    20 rounds without improvement. Domains are clusters: see `mixwright.quality.clusters`.

What the source leaves open [I]:
    * 10,000 candidates, from a Dirichlet distribution whose concentration is the prior times the
      number of domains: uniform where the prior is.
    * The elite are four times as many as are drawn from them.
    * Penalties of 0.1 and 1, on values standardised over the runs.

Departures:
    * Candidates lie inside the study's constraints (see `mixwright.sampling`).
    * Trees predict the same for many candidates; which of these comes first is left to the seed.
"""

from itertools import pairwise

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError, NotEnoughRunsError
from mixwright.polytope import Polytope
from mixwright.quality.scores import standardise
from mixwright.sampling import sample_dirichlet
from mixwright.simplex import apportion
from mixwright.surrogates.lightgbm import LightGBM

ROUNDS = (64, 32, 16)
_SHARES = np.array([4, 2, 1]) / 7
_CANDIDATES = 10_000
_ELITE = 4  # candidates per run
_PREDICTOR = LightGBM(patience=20, leaf=5, depth=4, l1=0.1, l2=1.0)
FEWEST_RUNS = _PREDICTOR.min_runs(num_domains=1)  # whatever the domains


def split_budget(runs: int) -> tuple[int, ...]:
    """Split a number of runs into three rounds, 4 : 2 : 1; the largest remainders round up.

    Example:
        >>> split_budget(112)
        (64, 32, 16)
    """
    return tuple(int(count) for count in apportion(_SHARES, runs))


def round_after(runs: int, rounds: tuple[int, ...] = ROUNDS) -> tuple[int, int] | None:
    """Return with how many runs the round under way began and with how many it ends.

    Args:
        runs: that have ended with a result.
        rounds: runs of each round.

    Returns:
        None after the last round.

    Example:
        >>> round_after(70)
        (64, 96)
    """
    ends = [int(end) for end in np.cumsum([0, *rounds])]
    return next(((start, end) for start, end in pairwise(ends) if runs < end), None)


def propose(
    polytope: Polytope,
    prior: FloatArray,
    mixtures: FloatArray,
    values: FloatArray,
    count: int,
    seed: int,
) -> FloatArray:
    """Return the mixtures of a round, and more to replace those whose runs fail.

    Args:
        polytope: the study's constraints.
        prior: shape `(k,)`, shares of all tokens.
        mixtures: shape `(n, k)`, of the runs of all rounds before; none in the first round.
        values: shape `(n,)`, of the objective, lower is better.
        count: runs of the round.
        seed: equal seeds and runs give equal mixtures.

    Returns:
        Shape `(4 * count, k)`, in the order to train them; the round is the first `count` of which
        runs succeed.

    Raises:
        InvalidInputError: a value is not finite.
        NotEnoughRunsError: fewer than 13 runs before, but some.
        InfeasibleError: no mixture satisfies the constraints.
    """
    rng = np.random.default_rng((seed, len(values)))
    if len(values) == 0:
        return _draw(polytope, prior, _ELITE * count, rng)
    candidates = _draw(polytope, prior, max(_CANDIDATES, _ELITE * count), rng)
    return candidates[choose(mixtures, values, candidates, count, seed)]


def recommend(
    polytope: Polytope, prior: FloatArray, mixtures: FloatArray, values: FloatArray, seed: int
) -> FloatArray:
    """Return the candidate with the best prediction, shape `(k,)`; arguments as of `propose`.

    Raises:
        InvalidInputError: a value is not finite.
        NotEnoughRunsError: fewer than 13 runs.
        InfeasibleError: no mixture satisfies the constraints.
    """
    candidates = _draw(polytope, prior, _CANDIDATES, np.random.default_rng((seed, len(values))))
    return np.asarray(candidates[rank(mixtures, values, candidates, seed)[0]])


def choose(
    mixtures: FloatArray, values: FloatArray, candidates: FloatArray, count: int, seed: int
) -> IntArray:
    """Return the elite, four times as many as `count`, in random order: take the first `count`.

    Args:
        mixtures: shape `(n, k)`, of the runs so far.
        values: shape `(n,)`, lower is better.
        candidates: shape `(q, k)`, mixtures that no run has had; `count` or more.
        count: runs of the round.
        seed: equal seeds, runs and candidates give equal orders.

    Returns:
        Shape `(min(4 * count, q),)`, rows of `candidates`.

    Raises:
        InvalidInputError: a value is not finite, or there are fewer candidates than `count`.
        NotEnoughRunsError: fewer than 13 runs.
    """
    if count > len(candidates):
        raise InvalidInputError(
            f"{count} mixtures are wanted of {len(candidates)} candidates", field="candidates"
        )
    elite = rank(mixtures, values, candidates, seed)[: _ELITE * count]
    return np.random.default_rng((seed, len(values), 1)).permutation(elite)


def rank(mixtures: FloatArray, values: FloatArray, candidates: FloatArray, seed: int) -> IntArray:
    """Return rows of the candidates, the best prediction first, shape `(q,)`; as of `choose`.

    Raises:
        InvalidInputError: a value is not finite.
        NotEnoughRunsError: fewer than 13 runs.
    """
    if len(values) < FEWEST_RUNS:
        raise NotEnoughRunsError(f"{len(values)} runs; CLIMB's predictor needs {FEWEST_RUNS}")
    fitted = _PREDICTOR.fit(mixtures, standardise(values)[:, None], seed)
    predicted = fitted.predict_mean(candidates)[:, 0]
    by_chance = np.random.default_rng((seed, len(values), 2)).random(len(candidates))
    return np.lexsort((by_chance, predicted))


def _draw(
    polytope: Polytope, prior: FloatArray, count: int, rng: np.random.Generator
) -> FloatArray:
    return sample_dirichlet(polytope, len(prior) * prior, count, rng)
