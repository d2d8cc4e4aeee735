"""Search of QuaDMix's space for the parameters with the lowest predicted loss.

Two searches: `mean_of_draws` is the paper's; `evolve` is ours [I], under a token budget and no
further from what was tried than blends of it.

Source:
    Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining",
    arXiv:2504.16511, section 3.3 [X]: 100,000 draws of the sampler that drew the proxies'
    parameters, and the mean of the best 10. How the evolution ranks those that break the budget:
    Deb, "An efficient constraint handling method for genetic algorithms", 2000 [R].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.quality.implied import shares_of
from mixwright.quality.quadmix import QuadmixSpace
from mixwright.surrogates.blending import Coverage

Predict = Callable[[FloatArray], FloatArray]
"""Loss `(q,)`, lower is better, of vectors `(q, s)`."""

_DRAWN_TOGETHER = 10_000  # 15 MB at 182 numbers


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        vector: shape `(s,)`.
        predicted: its predicted loss.
        best: the lowest predicted loss among all candidates. `predicted` may be above it: a mean
            over several optima can be worse than each.
        evaluated: how many predictions were asked for.
    """

    vector: FloatArray
    predicted: float
    best: float
    evaluated: int


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """How many tokens a sampling function is to select.

    Attributes:
        available: shape `(k,)`, tokens of the whole domains.
        fewest: expected tokens in all, at least.
        most: and at most.
    """

    available: FloatArray
    fewest: float
    most: float


def mean_of_best(
    draw: Callable[[int], FloatArray], predict: Predict, candidates: int, top: int
) -> Found:
    """Return the mean of the `top` of `candidates` draws with the lowest predictions.

    Args:
        draw: returns as many vectors as it is asked for; called until there are `candidates`.
        predict: loss of vectors.
        candidates: how many to draw.
        top: how many to average.

    Raises:
        InvalidInputError: `top` is not 1 to `candidates`.
    """
    if not 1 <= top <= candidates:
        raise InvalidInputError(
            f"top is {top}; it must be 1 to candidates, {candidates}", field="top"
        )
    best, losses = np.empty((0, 0)), np.empty(0)
    for start in range(0, candidates, _DRAWN_TOGETHER):
        drawn = draw(min(_DRAWN_TOGETHER, candidates - start))
        best = np.vstack([best, drawn]) if len(best) else drawn
        losses = np.append(losses, predict(drawn))
        lowest = np.argsort(losses, kind="stable")[:top]
        best, losses = best[lowest], losses[lowest]
    mean = best.mean(axis=0)
    return Found(mean, float(predict(mean[None])[0]), float(losses[0]), candidates + 1)


def mean_of_draws(
    space: QuadmixSpace, predict: Predict, seed: int, candidates: int = 100_000, top: int = 10
) -> Found:
    """Return the paper's choice: the mean of the best draws of the space's own sampler.

    It knows no token budget: see `QuadmixSpace.expected_tokens` for what the choice selects.

    Raises:
        InvalidInputError: `top` is not 1 to `candidates`.
    """
    rng = np.random.default_rng(seed)
    return mean_of_best(lambda count: space.sample(count, rng), predict, candidates, top)


def evolve(
    space: QuadmixSpace,
    predict: Predict,
    tried: FloatArray,
    budget: TokenBudget,
    seed: int,
    generations: int = 200,
    population: int = 200,
) -> Found:
    """Return the best blend of what was tried that keeps a token budget.

    A child takes the numbers of each domain from one of two parents and moves one domain, on
    average, part of the way to what was tried. So the numbers of every domain stay inside the
    convex hull of those that proxies were trained with (the trust region); their combinations
    over domains may be new, but no domain's share of the selected tokens leaves the range of those
    tried, nor do the tokens in all unless the budget wants it: a predictor that has seen no domain
    above a third can say nothing of one that is all there is. Parents and children compete: first
    by how far they miss the budget, then by how far they leave these ranges, then by loss.

    Args:
        space: of the vectors.
        predict: loss of vectors.
        tried: shape `(n, s)`, vectors of trained proxies.
        budget: of expected tokens.
        seed: of the evolution.
        generations: how often the population is renewed.
        population: how many live at once.

    Raises:
        InfeasibleError: no blend was found that keeps the budget.
        InvalidInputError: `tried` has no vectors of the space.
    """
    if tried.ndim != 2 or tried.shape[1] != space.size or not len(tried):
        raise InvalidInputError(
            f"tried has shape {tried.shape}; rows of {space.size} numbers are needed", field="tried"
        )
    rng = np.random.default_rng(seed)
    covered = Coverage.of(_selected(space, tried, budget))

    def judge(vectors: FloatArray) -> FloatArray:
        selected = _selected(space, vectors, budget)
        misses = _miss(selected[:, -1], budget)
        return np.column_stack([misses, covered.reach(selected)[0], predict(vectors)])

    living, faults = _fittest(tried, judge(tried), population)
    for _ in range(generations):
        children = _breed(space, living, tried, population, rng)
        both = np.vstack([living, children]), np.vstack([faults, judge(children)])
        living, faults = _fittest(*both, population)
    if faults[0, 0] > 0:
        total = space.expected_tokens(living[:1], budget.available).sum()
        raise InfeasibleError(
            f"no blend of the {len(tried)} vectors tried selects {budget.fewest:.4g} to "
            f"{budget.most:.4g} tokens; the nearest selects {total:.4g}: change the budget, or "
            "the domains"
        )
    evaluated = len(tried) + generations * population
    return Found(living[0], float(faults[0, -1]), float(faults[0, -1]), evaluated)


def _selected(space: QuadmixSpace, vectors: FloatArray, budget: TokenBudget) -> FloatArray:
    """Return `(q, k + 1)`: the mixture that vectors select, and their share of all tokens."""
    tokens = space.expected_tokens(vectors, budget.available)
    return np.column_stack([shares_of(tokens), tokens.sum(axis=1) / budget.available.sum()])


def _miss(shares: FloatArray, budget: TokenBudget) -> FloatArray:
    """Return by what share of all tokens selected shares `(q,)` miss the budget; 0 inside."""
    fewest, most = np.array([budget.fewest, budget.most]) / budget.available.sum()
    misses: FloatArray = np.maximum(np.maximum(fewest - shares, shares - most), 0.0)
    return misses


def _fittest(vectors: FloatArray, faults: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Return those with the least faults `(q, f)`, the first fault counting most."""
    first = np.lexsort(faults.T[::-1])[:count]
    return vectors[first], faults[first]


def _breed(
    space: QuadmixSpace,
    living: FloatArray,
    tried: FloatArray,
    count: int,
    rng: np.random.Generator,
) -> FloatArray:
    shape = (count, len(space.domains))
    mothers, fathers = (
        living[rng.integers(len(living), size=count)].reshape(*shape, space.block) for _ in "mf"
    )
    children = np.where(rng.random((*shape, 1)) < 0.5, mothers, fathers)
    goals = tried.reshape(len(tried), len(space.domains), space.block)
    goals = goals[rng.integers(len(tried), size=shape), np.arange(shape[1])]
    moves = rng.random(shape) ** 2 * (rng.random(shape) < 1 / shape[1])
    blended: FloatArray = children + moves[..., None] * (goals - children)
    return blended.reshape(count, space.size)
