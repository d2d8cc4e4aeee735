import numpy as np
import pytest
from geometry_cases import POLYTOPES, SEEDS, box, with_rows
from hypothesis import given, settings
from scipy.stats import beta, kstest

from mixwright import sampling
from mixwright.chains import MAX_CHAINS, run_chains
from mixwright.constraints import is_feasible
from mixwright.errors import InfeasibleError
from mixwright.sampling import sample_dirichlet, sample_polytope


def by_rejection(polytope, concentration, count, seed=9):
    """The truth: plain rejection, however long it takes."""
    rng, kept = np.random.default_rng(seed), []
    while sum(map(len, kept)) < count:
        draws = rng.dirichlet(concentration, 100_000)
        kept.append(draws[is_feasible(polytope, draws)])
    return np.vstack(kept)[:count]


def assert_same_distribution(expected, actual):
    """Mean weights, largest weights, spread and shares of near zeros agree within 5 s.e."""
    statistics = (
        lambda w: w,
        lambda w: w.max(axis=1, keepdims=True),
        lambda w: (w**2).sum(axis=1, keepdims=True),
        lambda w: w < 1e-6,
    )
    for statistic in statistics:
        truth, seen = statistic(expected), statistic(actual)
        error = np.sqrt(truth.var(axis=0) * (1 / len(truth) + 1 / len(seen))) + 2e-4
        assert (np.abs(seen.mean(axis=0) - truth.mean(axis=0)) < 5 * error).all()


@settings(deadline=None, max_examples=40)
@given(POLYTOPES, SEEDS)
def test_samples_are_feasible_in_any_polytope(polytope, seed):
    draws = sample_polytope(polytope, 8, seed)
    assert draws.shape == (8, polytope.num_domains)
    assert is_feasible(polytope, draws).all()


@settings(deadline=None, max_examples=20)
@given(POLYTOPES, SEEDS)
def test_dirichlet_draws_are_feasible_in_any_polytope(polytope, seed):
    rng = np.random.default_rng(seed)
    concentration = rng.dirichlet(np.ones(polytope.num_domains)) * rng.choice([0.1, 1.0, 20.0])
    assert is_feasible(polytope, sample_dirichlet(polytope, concentration, 8, rng)).all()


def test_64_domains_with_tight_caps_are_sampled():
    polytope = box(64, upper=1.1 / 64)
    draws = sample_polytope(polytope, 32, 0)
    assert is_feasible(polytope, draws).all()
    assert draws.std(axis=0).min() > 1e-4


def test_the_whole_simplex_is_sampled_uniformly():
    draws = sample_polytope(box(17), 1000, 3)
    for weights in draws.T[:4]:
        assert kstest(weights, beta(1, 16).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("polytope", "concentration"),
    [
        (box(6, upper=0.25), np.ones(6)),
        (box(6, lower=[0.1, 0, 0, 0, 0, 0], upper=0.4), np.ones(6)),
        (with_rows(box(5), [[1, 1, 0, 0, 0], [-1, -1, 0, 0, 0]], [0.3, -0.2]), np.ones(5)),
        (with_rows(box(5), [[3, 1, 0, -1, -2], [-3, -1, 0, 1, 2]], [0.05, 0.0]), np.ones(5)),
        (box(5, upper=0.35), np.array([0.02, 0.1, 0.2, 0.3, 0.5])),
        (box(5, upper=0.3), np.array([3.0, 1.0, 5.0, 2.0, 4.0])),
        (
            with_rows(box(5), [[1, 1, 0, 0, 0], [-1, -1, 0, 0, 0]], [0.3, -0.1]),
            np.array([0.3, 0.05, 0.4, 0.1, 0.2]),
        ),
        (
            with_rows(box(5), [[3, 1, 0, -1, -2]], [0.05]),
            np.array([0.3, 0.005, 0.4, 0.02, 0.2]),
        ),
    ],
    ids=["caps", "bounds", "group", "slab", "sparse", "peaked", "sparse-group", "tiny"],
)
def test_chains_draw_from_the_distribution_that_rejection_draws_from(polytope, concentration):
    actual = run_chains(polytope, concentration, 2000, np.random.default_rng(1))
    assert_same_distribution(by_rejection(polytope, concentration, 20_000), actual)


def test_more_draws_than_chains_have_the_same_distribution():
    polytope = box(4, upper=0.5)
    actual = sample_polytope(polytope, 3 * MAX_CHAINS + 5, 0)
    assert len(actual) == 3 * MAX_CHAINS + 5
    assert len(np.unique(actual, axis=0)) == len(actual)
    assert_same_distribution(by_rejection(polytope, np.ones(4), 20_000), actual)


def test_a_fixed_total_is_kept_and_spread_over_its_group():
    polytope = with_rows(box(4), [[1, 1, 0, 0], [-1, -1, 0, 0]], [0.4, -0.4])
    draws = sample_polytope(polytope, 200, 0)
    np.testing.assert_allclose(draws[:, :2].sum(axis=1), 0.4, atol=1e-12)
    assert draws[:, 0].std() > 0.1


def test_an_equation_among_unequal_coefficients_is_kept_and_moved_along():
    row = [1.0, 2.0, 3.0, 5.0]
    polytope = with_rows(box(4), [row, [-c for c in row]], [2.5, -2.5])
    draws = sample_polytope(polytope, 200, 0)
    np.testing.assert_allclose(draws @ row, 2.5, atol=1e-9)
    assert (draws.std(axis=0) > 0.05).all()


def test_fixed_weights_stay_and_the_rest_moves():
    draws = sample_polytope(box(4, lower=[0.3, 0, 0, 0], upper=[0.3, 1, 1, 1]), 50, 0)
    np.testing.assert_allclose(draws[:, 0], 0.3, atol=1e-12)
    assert draws[:, 1].std() > 0.05


def test_a_single_mixture_is_every_sample():
    only = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(
        sample_polytope(box(3, upper=only), 5, 0), np.tile(only, (5, 1)), atol=1e-9
    )


def test_one_domain_has_one_mixture():
    np.testing.assert_allclose(sample_polytope(box(1), 3, 0), np.ones((3, 1)))


def test_no_samples_are_no_rows():
    assert sample_polytope(box(3), 0, 0).shape == (0, 3)
    assert sample_dirichlet(box(3), np.ones(3), 0, np.random.default_rng(0)).shape == (0, 3)


def test_equal_seeds_give_equal_samples():
    first, second, third = (sample_polytope(box(5, upper=0.5), 10, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_without_constraints_dirichlet_draws_are_numpys_own():
    expected = np.random.default_rng(4).dirichlet([0.5, 1.0, 2.0], 100)
    actual = sample_dirichlet(box(3), np.array([0.5, 1.0, 2.0]), 100, np.random.default_rng(4))
    np.testing.assert_array_equal(actual, expected)


def test_rejection_is_used_where_it_works_and_never_where_it_does_not(monkeypatch):
    used = []

    def record(*arguments):
        used.append(arguments)
        return run_chains(*arguments)

    monkeypatch.setattr(sampling, "run_chains", record)
    rng = np.random.default_rng(0)
    sample_dirichlet(box(4, upper=0.7), np.ones(4), 500, rng)
    assert not used
    sample_dirichlet(box(4, upper=0.26), np.ones(4), 500, rng)
    assert len(used) == 1


def test_a_domain_without_prior_share_gets_next_to_nothing():
    draws = sample_dirichlet(box(3), np.array([0.0, 1.0, 1.0]), 200, np.random.default_rng(0))
    assert draws[:, 0].max() < 1e-6


def test_infeasible_constraints_have_no_samples():
    with pytest.raises(InfeasibleError):
        sample_polytope(with_rows(box(3), [[1, 1, 1]], [0.5]), 4, 0)
