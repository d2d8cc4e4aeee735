import numpy as np
import pytest
from geometry_cases import POLYTOPES, SEEDS, box, with_rows
from hypothesis import given, settings
from scipy.optimize import minimize

from mixwright.constraints import is_feasible, project
from mixwright.errors import InfeasibleError
from mixwright.feasibility import minimise_linear
from mixwright.sampling import sample_polytope


def random_point(seed, num_domains):
    rng = np.random.default_rng(seed)
    return rng.normal(size=num_domains) * rng.choice([0.01, 1.0, 100.0])


def excess(polytope, point, projected):
    """How much nearer any feasible mixture could be: 0 exactly at the projection."""
    rows, limits = polytope.rows()
    k = polytope.num_domains
    direction = projected - point
    best = minimise_linear(direction, rows, limits, np.ones((1, k)), np.ones(1), k)
    return direction @ projected - best.value


def test_the_excess_is_split_evenly():
    # (0.9, 0.4) is 0.3 over; half of it off each gives (0.75, 0.25).
    np.testing.assert_allclose(project(box(2), np.array([0.9, 0.4])), [0.75, 0.25], atol=1e-15)


def test_bounds_hold_what_they_can_and_the_rest_moves():
    projected = project(box(3, upper=[0.2, 1, 1]), np.array([0.8, 0.4, 0.2]))
    np.testing.assert_allclose(projected, [0.2, 0.5, 0.3], atol=1e-15)


def test_a_group_limit_moves_its_members_evenly():
    polytope = with_rows(box(4), [[1, 1, 0, 0]], [0.4])
    projected = project(polytope, np.array([0.4, 0.2, 0.2, 0.2]))
    np.testing.assert_allclose(projected, [0.3, 0.1, 0.3, 0.3], atol=1e-15)


@settings(deadline=None, max_examples=150)
@given(POLYTOPES, SEEDS)
def test_the_projection_is_feasible_nearest_and_idempotent(polytope, seed):
    point = random_point(seed, polytope.num_domains)
    projected = project(polytope, point)
    assert is_feasible(polytope, projected[None])[0]
    assert excess(polytope, point, projected) <= 1e-8 * (1 + np.abs(point).max())
    np.testing.assert_allclose(project(polytope, projected), projected, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(POLYTOPES, SEEDS)
def test_no_random_rival_is_nearer(polytope, seed):
    point = random_point(seed, polytope.num_domains)
    distance = np.linalg.norm(project(polytope, point) - point)
    rivals = sample_polytope(polytope, 50, seed)
    assert (np.linalg.norm(rivals - point, axis=1) >= distance - 1e-9).all()


@settings(deadline=None, max_examples=25)
@given(POLYTOPES, SEEDS)
def test_a_general_solver_finds_the_same_point(polytope, seed):
    point = random_point(seed, polytope.num_domains)
    point /= 1 + np.abs(point).max()
    constraints = [{"type": "eq", "fun": lambda w: w.sum() - 1}]
    if len(polytope.b_ub):
        constraints.append({"type": "ineq", "fun": lambda w: polytope.b_ub - polytope.a_ub @ w})
    found = minimize(
        lambda w: ((w - point) ** 2).sum(),
        np.clip(point, polytope.lower, polytope.upper),
        jac=lambda w: 2 * (w - point),
        method="SLSQP",
        bounds=list(zip(polytope.lower, polytope.upper, strict=True)),
        constraints=constraints,
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    if found.success and is_feasible(polytope, found.x[None], 1e-9)[0]:
        np.testing.assert_allclose(project(polytope, point), found.x, atol=1e-5)


def test_a_single_feasible_mixture_is_every_projection():
    only = np.array([0.2, 0.3, 0.5])
    for polytope in (
        box(3, only, only),
        box(3, upper=only),
        box(3, lower=only),
        with_rows(box(3), [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], [0.2, -0.2, 0.3, -0.3]),
    ):
        np.testing.assert_allclose(project(polytope, np.array([5.0, 1.0, -3.0])), only, atol=1e-12)


def test_a_point_very_far_away_is_projected_exactly():
    polytope = with_rows(box(3), [[1, 1, 0]], [0.5])
    projected = project(polytope, np.array([1e6, 2e6, 0.0]))
    np.testing.assert_allclose(projected, [0.0, 0.5, 0.5], atol=1e-9)


def test_token_counts_as_coefficients_lose_no_precision():
    tokens = np.array([1e12, 2e12, 3e12])
    polytope = with_rows(box(3), [tokens], [1.5e12])
    projected = project(polytope, np.array([0.2, 0.3, 0.5]))
    assert tokens @ projected == pytest.approx(1.5e12, rel=1e-12)
    assert excess(polytope, np.array([0.2, 0.3, 0.5]), projected) <= 1e-12


def test_the_point_handed_in_is_left_alone():
    point = np.array([0.5, 0.5])
    project(box(2), point)[0] = 9.0
    np.testing.assert_array_equal(point, [0.5, 0.5])


def test_infeasible_constraints_have_no_projection():
    with pytest.raises(InfeasibleError):
        project(with_rows(box(2), [[1, 1]], [0.5]), np.array([0.5, 0.5]))
