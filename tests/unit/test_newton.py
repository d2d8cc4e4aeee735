from dataclasses import dataclass

import numpy as np
import pytest
from geometry_cases import SEEDS, box, random_polytope, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.constraints import is_feasible, project
from mixwright.newton import minimise
from mixwright.sampling import sample_polytope


@dataclass(frozen=True)
class Quadratic:
    """`(w - target) @ shape @ (w - target) / 2`."""

    target: np.ndarray
    shape: np.ndarray

    def value(self, mixture):
        return float((mixture - self.target) @ self.shape @ (mixture - self.target)) / 2

    def gradient(self, mixture):
        return self.shape @ (mixture - self.target)

    def curvature(self, mixture):
        return self.shape


@dataclass(frozen=True)
class Linear:
    costs: np.ndarray

    def value(self, mixture):
        return float(self.costs @ mixture)

    def gradient(self, mixture):
        return self.costs

    def curvature(self, mixture):
        return np.zeros((len(mixture), len(mixture)))


def random_quadratic(seed, num_domains):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(num_domains, num_domains)) * 10 ** rng.uniform(-2, 1)
    return Quadratic(rng.normal(size=num_domains), root @ root.T)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([2, 5, 17]), st.sampled_from([0, 2]))
def test_a_convex_minimum_is_certified_and_no_sample_is_better(seed, num_domains, num_rows):
    polytope = random_polytope(seed, num_domains, num_rows)
    function = random_quadratic(seed, num_domains)
    start = project(polytope, np.zeros(num_domains))
    found = minimise(polytope, function, start)
    assert is_feasible(polytope, found.mixture[None])[0]
    scale = 1 + abs(function.value(start))
    assert found.gap <= 1e-6 * scale
    rivals = sample_polytope(polytope, 20, seed)
    assert min(map(function.value, rivals)) >= found.value - 1e-9 * scale


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_a_round_bowl_is_the_euclidean_projection(seed):
    polytope = random_polytope(seed, 6, 2)
    target = np.random.default_rng(seed).normal(size=6)
    found = minimise(polytope, Quadratic(target, np.eye(6)), project(polytope, np.ones(6)))
    np.testing.assert_allclose(found.mixture, project(polytope, target), atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_a_linear_function_ends_in_the_cheapest_corner(seed):
    costs = np.random.default_rng(seed).normal(size=5)
    polytope = box(5, upper=0.4)
    found = minimise(polytope, Linear(costs), np.full(5, 0.2))
    cheapest = np.sort(costs)
    assert found.value == pytest.approx(cheapest[:3] @ [0.4, 0.4, 0.2], abs=1e-9)


def test_multipliers_are_shadow_prices():
    # min (w0 - 1)^2 with w0 <= 0.5 and any unit of the row: 2 * 0.5 saved for each unit of w0.
    polytope = with_rows(box(2), [[2e3, 0.0]], [1e3])
    function = Quadratic(np.array([1.0, 0.0]), np.diag([2.0, 0.0]))
    found = minimise(polytope, function, np.array([0.0, 1.0]))
    np.testing.assert_allclose(found.mixture, [0.5, 0.5], atol=1e-9)
    assert found.multipliers[4] == pytest.approx(1.0 / 2e3, rel=1e-6)
    relaxed = minimise(with_rows(box(2), [[2e3, 0.0]], [1e3 + 1.0]), function, np.array([0.0, 1.0]))
    assert found.value - relaxed.value == pytest.approx(1.0 / 2e3, rel=1e-2)


def test_a_start_at_the_minimum_stays():
    function = Quadratic(np.array([0.5, 0.5]), np.eye(2))
    found = minimise(box(2), function, np.array([0.5, 0.5]))
    np.testing.assert_array_equal(found.mixture, [0.5, 0.5])
    assert found.gap <= 1e-12
