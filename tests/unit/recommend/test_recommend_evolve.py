"""Evolving on a surrogate of steps: the middle of what ten searches find, within the budget."""

from dataclasses import dataclass

import numpy as np
import pytest

from mixwright.constraints import compile_constraints
from mixwright.quality.search import TokenBudget
from mixwright.recommend.base import Problem
from mixwright.recommend.evolve import recommend_evolve
from mixwright.spaces import space_from
from mixwright.study import CompletedRuns, Domain, Fidelity, Metric, Study

TOKENS = np.array([5e9, 3e9, 2e9])
DOMAINS = [Domain(f"d{i}", one, 1 / 3) for i, one in enumerate(TOKENS)]
SPACE = space_from({"kind": "quadmix", "raters": ["edu", "dclm"]}, DOMAINS)
STUDY = Study(
    SPACE.coordinates(DOMAINS), (Metric("loss"),), np.ones(1), (Fidelity("1m"),), "1m", space=SPACE
)
POINTS = SPACE.draw(STUDY, compile_constraints(STUDY), 60, np.random.default_rng(0))
NEAR = ((POINTS - STUDY.prior) ** 2).sum(axis=1).min() / 2


@dataclass(frozen=True)
class Plateaus:
    """Few levels, the lowest around the middle of the space, where no run is."""

    is_smooth: bool
    mixtures = POINTS

    def objective_mean(self, points):
        return np.round(((points - STUDY.prior) ** 2).sum(axis=1) / NEAR)


def selected(points):
    return SPACE.vectors.expected_tokens(SPACE.decode(points), TOKENS)


def choose(seed, *, is_smooth, budget=None):
    ids = tuple(map(str, range(len(POINTS))))
    runs = CompletedRuns(POINTS, np.zeros((60, 1)), np.array(["1m"] * 60), ids)
    problem = Problem(
        STUDY,
        compile_constraints(STUDY),
        Plateaus(is_smooth),
        runs,
        *(10, 1, 0.0, None, seed, lambda share: None, budget),
    )
    return recommend_evolve(problem).weights


def test_where_on_a_plateau_a_choice_lies_is_less_of_chance():
    spreads = {}
    for is_smooth in (True, False):
        chosen = np.array([choose(seed, is_smooth=is_smooth) for seed in range(4)])
        assert not Plateaus(is_smooth).objective_mean(chosen).any()
        spreads[is_smooth] = chosen.std(axis=0).sum()
    assert spreads[False] < 0.6 * spreads[True]


@pytest.mark.parametrize("most", [4e8, 7e8])
def test_what_is_averaged_keeps_the_budget(most):
    budget = TokenBudget(TOKENS, 0.999 * most, most)
    chosen = choose(1, is_smooth=False, budget=budget)
    assert budget.fewest <= selected(chosen[None]).sum() <= most


def test_equal_seeds_choose_the_same():
    first, again, other = (choose(seed, is_smooth=False) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
