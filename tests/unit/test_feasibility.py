import numpy as np
import pytest
from geometry_cases import POLYTOPES, SEEDS, box, random_polytope, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mixwright.feasibility import (
    find_conflict,
    minimise_linear,
    smallest_cap_scale,
    smallest_violation,
)


def admits_a_mixture(rows, limits):
    """An oracle of its own: HiGHS with its default settings, on these rows alone."""
    k = rows.shape[1]
    found = linprog(
        np.zeros(k), A_ub=rows, b_ub=limits, A_eq=np.ones((1, k)), b_eq=[1], bounds=(None, None)
    )
    assert found.status in (0, 2), found.message
    return found.status == 0


def random_infeasible(seed, num_domains, num_rows):
    """Bounds and rows that are too tight by a random amount."""
    rng = np.random.default_rng(seed)
    upper = rng.dirichlet(np.ones(num_domains)) * rng.choice([0.5, 0.99, 2.0])
    polytope = box(num_domains, upper * rng.random(num_domains) * 0.5, upper)
    rows = rng.normal(size=(num_rows, num_domains))
    return with_rows(polytope, rows, rows.min(axis=1) - rng.random(num_rows) * 0.1)


@settings(deadline=None, max_examples=60)
@given(st.builds(random_infeasible, SEEDS, st.sampled_from([2, 5, 17]), st.sampled_from([1, 3])))
def test_a_conflict_is_infeasible_and_irreducible(polytope):
    rows, limits = polytope.rows()
    conflict = list(find_conflict(polytope))
    assert conflict
    assert not admits_a_mixture(rows[conflict], limits[conflict])
    for i in range(len(conflict)):
        rest = conflict[:i] + conflict[i + 1 :]
        assert admits_a_mixture(rows[rest], limits[rest])


@settings(deadline=None, max_examples=60)
@given(POLYTOPES)
def test_feasible_constraints_have_no_conflict_and_no_violation(polytope):
    assert smallest_violation(polytope) <= 1e-9


def test_no_conflict_among_feasible_constraints():
    assert find_conflict(box(3)) == ()


def test_caps_that_sum_to_less_than_one_are_all_in_the_conflict():
    assert find_conflict(box(3, upper=0.3)) == (3, 4, 5)


def test_the_violation_is_what_each_cap_lacks():
    # Three caps of 0.3 lack 0.1 in all: 0.1 / 3 each.
    assert smallest_violation(box(3, upper=0.3)) == pytest.approx(0.1 / 3)


def test_coefficients_of_any_size_are_weighed_alike():
    tokens = 1e12 * np.array([1.0, 2.0, 3.0])
    assert smallest_violation(with_rows(box(3), [tokens], [1.5e12])) <= 1e-9
    assert smallest_violation(with_rows(box(3), [tokens], [0.9e12])) > 1e-3


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([2, 5, 17]), st.sampled_from([0, 2]))
def test_the_smallest_cap_scale_is_on_the_edge(seed, num_domains, num_rows):
    polytope = random_polytope(seed, num_domains, num_rows)
    caps = np.random.default_rng(seed).random(num_domains) + 1e-3
    caps[0] = np.inf
    scale = smallest_cap_scale(polytope, caps)
    rows, limits = polytope.rows()
    k = np.eye(num_domains)[1:]

    def feasible(factor):
        return admits_a_mixture(np.vstack([rows, k]), np.append(limits, caps[1:] * factor + 1e-9))

    assert feasible(scale)
    if scale > 1e-4:
        assert not feasible(scale * 0.999)


def test_no_cap_helps_where_the_rest_conflicts():
    assert smallest_cap_scale(box(2, lower=0.6), np.ones(2)) is None


def test_multipliers_say_what_a_limit_costs():
    # min -x with x <= 2: one more unit of the limit is worth 1.
    best = minimise_linear(
        np.array([-1.0]), np.ones((1, 1)), np.array([2.0]), np.empty((0, 1)), np.empty(0)
    )
    assert best.value == pytest.approx(-2.0)
    np.testing.assert_allclose(best.multipliers, [1.0])
