import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mixwright.validation import fold_multipliers, interval_multiplier, score

ONES = np.ones(20)


def test_the_multiplier_is_the_conformal_rank_of_the_errors():
    # 19 errors: rank ceil(20 * 0.9) = 18 of 1..19.
    errors = np.arange(1.0, 20.0)
    assert interval_multiplier(errors, np.zeros(19), np.ones(19)) == 18.0


def test_with_fewer_than_nine_runs_the_largest_error_is_taken():
    assert interval_multiplier(np.array([1.0, -4.0, 2.0]), np.zeros(3), np.ones(3)) == 4.0


def test_errors_are_measured_in_the_surrogates_own_standard_deviations():
    observed, std = np.array([2.0, 6.0]), np.array([1.0, 6.0])
    assert interval_multiplier(observed, np.zeros(2), std) == 2.0


def test_missing_observations_do_not_calibrate():
    observed = np.array([1.0, np.nan, 2.0])
    assert interval_multiplier(observed, np.zeros(3), np.ones(3)) == 2.0


def test_a_fold_is_calibrated_on_the_others_alone():
    observed, folds = np.array([100.0, 1.0, 2.0]), np.array([0, 1, 1])
    multipliers = fold_multipliers(observed, np.zeros(3), np.ones(3), folds)
    np.testing.assert_array_equal([2.0, 100.0, 100.0], multipliers)


@given(arrays(float, 20, elements=st.floats(-1e3, 1e3)))
def test_the_calibrated_interval_covers_at_least_what_it_promises(observed):
    multiplier = interval_multiplier(observed, 0 * ONES, ONES)
    assert np.mean(np.abs(observed) <= multiplier) >= 0.9


def test_scores_of_a_known_case():
    observed, mean = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    found = score(observed, mean, mean - 0.5, mean + 0.5)
    assert found.spearman == pytest.approx(0.8)
    assert found.r2 == pytest.approx(1 - 2 / 5)
    assert found.mae == pytest.approx(0.5)
    assert found.coverage == pytest.approx(0.5)
    assert found.runs == 4


def test_two_observations_say_nothing():
    two = np.array([1.0, 2.0, np.nan])
    found = score(two, two, two, two)
    assert (found.spearman, found.r2, found.mae, found.coverage) == (None, None, None, None)
    assert found.runs == 2


def test_constant_predictions_have_no_rank_correlation():
    observed = np.array([1.0, 2.0, 3.0])
    found = score(observed, np.full(3, 2.0), observed - 1, observed + 1)
    assert found.spearman is None
    assert found.r2 == pytest.approx(0.0)
