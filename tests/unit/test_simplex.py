from decimal import Decimal

import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError, NotOnSimplexError
from mixwright.simplex import apportion, kl_divergence, normalise, round_exactly


def random_mixture(seed):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(rng.integers(1, 65), rng.choice([0.01, 0.3, 5.0])))


def test_a_rounded_mixture_is_divided_by_its_sum():
    expected = [0.2 / 0.997, 0.797 / 0.997]
    np.testing.assert_allclose(normalise(np.array([0.2, 0.797])), expected, rtol=1e-15)


@given(SEEDS)
def test_normalised_rows_sum_to_one(seed):
    rows = random_mixture(seed)[None] * np.array([[0.9951], [1.0], [1.0049]])
    np.testing.assert_allclose(normalise(rows).sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.1, -0.1], "domain code is -0.1"),
        ([0.5, np.nan], "domain code is nan"),
        ([np.inf, 0.0], "domain web is inf"),
        ([0.6, 0.6], "sum to 1.2"),
        ([0.5, 0.494], "sum to 0.994"),
    ],
)
def test_what_is_no_mixture_is_refused_by_name_and_value(weights, said):
    with pytest.raises(NotOnSimplexError, match=said):
        normalise(np.array(weights), ["web", "code"])


@given(SEEDS, st.integers(1, 10_000))
def test_apportioned_units_are_all_given_and_none_moves_by_a_whole_unit(seed, units):
    mixture = random_mixture(seed)
    shares = apportion(mixture, units)
    assert shares.sum() == units
    assert (np.abs(shares - mixture * units) < 1).all()


def test_the_largest_remainders_get_the_units_left_over():
    # 10 units of (.47, .26, .27) are 4.7, 2.6, 2.7: two left, for the first and the third.
    expected = [5, 2, 3]
    np.testing.assert_array_equal(apportion(np.array([0.47, 0.26, 0.27]), 10), expected)


@given(SEEDS, st.integers(0, 15))
def test_printed_decimals_sum_to_exactly_one(seed, decimals):
    printed = [str(weight) for weight in round_exactly(random_mixture(seed), decimals)]
    assert sum(map(Decimal, printed)) == 1
    assert all(Decimal(text) >= 0 for text in printed)


def test_more_decimals_than_float64_has_are_refused():
    with pytest.raises(InvalidInputError, match="16"):
        round_exactly(np.array([0.5, 0.5]), 16)


def test_divergence_from_the_prior():
    prior = np.array([0.5, 0.25, 0.25])
    mixtures = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(kl_divergence(mixtures, prior), [0.0, np.log(2)], atol=1e-15)


def test_divergence_is_infinite_where_the_prior_has_nothing():
    assert kl_divergence(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf
