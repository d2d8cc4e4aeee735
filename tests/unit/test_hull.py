import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mixwright.hull import inside_hull

TRIANGLE = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])


@pytest.mark.parametrize(
    ("query", "inside"),
    [
        ([1 / 3, 1 / 3, 1 / 3], True),
        ([0.6, 0.2, 0.2], True),
        ([0.4, 0.4, 0.2], True),
        ([0.41, 0.41, 0.18], False),
        ([1.0, 0.0, 0.0], False),
    ],
)
def test_a_triangle_of_runs(query, inside):
    assert inside_hull(TRIANGLE, np.array([query]))[0] == inside


def test_inside_the_bounding_box_is_not_inside_the_hull():
    runs = np.array([[0.5, 0.0, 0.0, 0.5], [0.0, 0.5, 0.5, 0.0]])
    query = np.array([[0.5, 0.5, 0.0, 0.0]])
    assert not inside_hull(runs, query)[0]


def test_a_single_run_repeated_is_its_own_hull():
    runs = np.array([[0.3, 0.7], [0.3, 0.7]])
    np.testing.assert_array_equal(
        inside_hull(runs, np.array([[0.3, 0.7], [0.300001, 0.699999]])), [True, False]
    )


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([3, 6, 17]), st.sampled_from([2, 10, 60]))
def test_averages_of_runs_are_inside(seed, num_domains, num_runs):
    rng = np.random.default_rng(seed)
    runs = rng.dirichlet(np.full(num_domains, 0.3), num_runs)
    averages = rng.dirichlet(np.full(num_runs, 0.2), 10) @ runs
    assert inside_hull(runs, np.vstack([runs, averages])).all()


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([2, 3, 5]))
def test_a_linear_programme_gives_the_same_answers(seed, num_domains):
    rng = np.random.default_rng(seed)
    runs = rng.dirichlet(np.ones(num_domains), 12)
    queries = rng.dirichlet(np.ones(num_domains), 10)
    expected = [
        linprog(
            np.zeros(12), A_eq=np.vstack([runs.T, np.ones(12)]), b_eq=np.append(query, 1)
        ).success
        for query in queries
    ]
    np.testing.assert_array_equal(inside_hull(runs, queries), expected)


def test_a_hairs_breadth_outside_a_slanted_face_is_outside():
    runs = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    on_the_face, hair = np.array([0.6, 0.1, 0.3]), np.array([1.0, -2.0, 1.0])
    queries = np.array([on_the_face, on_the_face - 1e-5 * hair, on_the_face + 1e-5 * hair])
    np.testing.assert_array_equal(inside_hull(runs, queries), [True, True, False])


@given(SEEDS)
def test_beyond_a_run_along_a_ray_from_inside_is_outside(seed):
    rng = np.random.default_rng(seed)
    runs = 0.5 / 4 + 0.5 * np.eye(4)
    corner = runs[rng.integers(4)]
    beyond = corner + 1e-4 * (corner - rng.dirichlet(np.ones(4)) @ runs)
    assert not inside_hull(runs, beyond[None])[0]
