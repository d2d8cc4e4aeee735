"""Pools of tokens that are seen equally often, and what repeated ones are worth."""

import numpy as np
import pytest

from mixwright.repetition import effective_tokens
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.pools import pools, worth

BUDGET = Budget(100_000, 10, 1_000, 1e-3)
SIZES = {"old": 300_000, "new": 20_000}


def continual(**options):
    options = {"new_weights": {"new": 1.0}, "share": 0.5, **options}
    return build_planner("continual", options).plan(Problem(BUDGET, {"old": 1.0, "new": 0.0}, {}))


def test_without_a_subset_a_domain_is_one_pool():
    found = pools(continual(), SIZES)
    assert found["new"].tolist() == [[20_000, 50_000]]
    assert found["old"].tolist() == [[300_000, 50_000]]


def test_a_subset_is_seen_oftener_than_the_rest_of_its_domain():
    """4 epochs over 5,000 tokens of each domain, then 30,000 of each from everywhere."""
    schedule = continual(subset=0.4, epochs=4)
    subset, rest = pools(schedule, SIZES)["new"]
    assert subset == pytest.approx([5_000, 20_000 + 30_000 / 4])
    assert rest == pytest.approx([15_000, 30_000 * 3 / 4])
    found = worth(schedule, SIZES)
    expected = effective_tokens(np.array([5_000, 15_000]), np.array([27_500, 22_500])).sum()
    assert found["new"] == pytest.approx(expected / 50_000)
    assert found["new"] < worth(continual(), SIZES)["new"]
    assert found["old"] == pytest.approx(
        effective_tokens(np.array([5_000]), np.array([20_500])).sum() / 50_000 + 29_500 / 50_000
    )


def test_a_subset_of_all_there_is_has_no_rest():
    found = pools(continual(subset=0.8, epochs=2), SIZES)
    assert found["new"] == pytest.approx(np.array([[20_000, 50_000]]))


def test_what_is_not_known_or_not_trained_on_has_no_pools():
    schedule = continual(share=1.0)
    assert set(pools(schedule, {"old": 1.0, "new": None})) == set()
    assert worth(schedule, {"old": 1.0, "new": None}) == {"old": 1.0, "new": None}
