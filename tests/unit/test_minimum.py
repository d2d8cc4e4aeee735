from dataclasses import dataclass

import numpy as np
import pytest
from geometry_cases import SEEDS, box, random_polytope, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.constraints import is_feasible, project
from mixwright.interior import find_centre
from mixwright.minimum import certify, minimise
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


@dataclass(frozen=True)
class Linear:
    costs: np.ndarray

    def value(self, mixture):
        return float(self.costs @ mixture)

    def gradient(self, mixture):
        return self.costs


def random_quadratic(seed, num_domains):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(num_domains, num_domains)) * 10 ** rng.uniform(-2, 0.5)
    return Quadratic(rng.normal(size=num_domains), root @ root.T)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([2, 5, 17]), st.sampled_from([0, 2]))
def test_a_convex_minimum_is_feasible_and_no_sample_is_better(seed, num_domains, num_rows):
    polytope = random_polytope(seed, num_domains, num_rows)
    function, start = random_quadratic(seed, num_domains), find_centre(polytope)
    found = minimise(polytope, function, start)
    assert is_feasible(polytope, found.mixture[None])[0]
    scale = 1 + abs(function.value(start))
    assert found.gap <= 1e-5 * scale
    rivals = sample_polytope(polytope, 20, seed)
    assert min(map(function.value, rivals)) >= found.value - 1e-9 * scale


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_the_gap_bounds_how_far_above_the_minimum_any_mixture_is(seed):
    polytope, function = random_polytope(seed, 5, 1), random_quadratic(seed, 5)
    best = minimise(polytope, function, find_centre(polytope))
    for mixture in sample_polytope(polytope, 5, seed):
        stopped = certify(polytope, function, mixture)
        assert stopped.value - best.value <= stopped.gap + 1e-9


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_a_round_bowl_is_the_euclidean_projection(seed):
    polytope = random_polytope(seed, 6, 2)
    target = np.random.default_rng(seed).normal(size=6)
    found = minimise(polytope, Quadratic(target, np.eye(6)), find_centre(polytope))
    np.testing.assert_allclose(found.mixture, project(polytope, target), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_a_linear_function_ends_in_the_cheapest_corner(seed):
    costs = np.random.default_rng(seed).normal(size=5)
    found = minimise(box(5, upper=0.4), Linear(costs), np.full(5, 0.2))
    assert found.value == pytest.approx(np.sort(costs)[:3] @ [0.4, 0.4, 0.2], abs=1e-9)


def test_shadow_prices_are_per_unit_of_the_limit_as_it_was_written():
    # min (w0 - 1)^2 with w0 <= 0.5, written as 2000 w0 <= 1000: 1 saved for each unit of w0.
    polytope = with_rows(box(2), [[2e3, 0.0]], [1e3])
    function = Quadratic(np.array([1.0, 0.0]), np.diag([2.0, 0.0]))
    found = minimise(polytope, function, np.array([0.1, 0.9]))
    np.testing.assert_allclose(found.mixture, [0.5, 0.5], atol=1e-9)
    assert found.shadow_prices[4] == pytest.approx(1.0 / 2e3, rel=1e-6)
    np.testing.assert_allclose(found.shadow_prices[:4], 0.0, atol=1e-9)


def test_the_gap_far_from_the_minimum_is_what_the_tangent_promises():
    # w0 could fall from 1 to 0 at a slope of 3.
    stopped = certify(box(2), Linear(np.array([3.0, 0.0])), np.array([1.0, 0.0]))
    assert stopped.gap == pytest.approx(3.0)


def test_a_single_feasible_mixture_is_the_minimum():
    only = np.array([0.2, 0.3, 0.5])
    found = minimise(box(3, only, only), Linear(np.array([1.0, 2.0, 3.0])), only)
    np.testing.assert_allclose(found.mixture, only, atol=1e-12)
    assert found.gap <= 1e-8
