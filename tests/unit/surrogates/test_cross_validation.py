import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixwright.surrogates import build_surrogate
from mixwright.surrogates.cross_validation import assign_folds, cross_fit


@given(st.integers(2, 300), st.integers(0, 5))
def test_folds_are_of_equal_size_up_to_one(count, seed):
    sizes = np.bincount(assign_folds(np.zeros((count, 1)), seed))
    assert len(sizes) == min(count, 10 if count <= 100 else 5)
    assert sizes.max() - sizes.min() <= 1


def test_no_fold_takes_all_values_of_a_rare_metric():
    values = np.zeros((80, 2))
    values[4:, 1] = np.nan
    for seed in range(50):
        assert len(np.unique(assign_folds(values, seed)[:4])) == 4


def test_a_run_is_predicted_by_a_fit_without_its_fold():
    rng = np.random.default_rng(0)
    mixtures, values = rng.dirichlet(np.ones(3), 30), rng.normal(size=(30, 1))
    folds, recipe = np.arange(30) % 3, build_surrogate("linear", {})
    fitted, held_out = cross_fit(recipe, mixtures, values, folds, 0)
    expected = recipe.fit(mixtures[folds != 1], values[folds != 1], 0)
    np.testing.assert_array_equal(
        expected.predict(mixtures[folds == 1]).mean, held_out.mean[folds == 1]
    )
    np.testing.assert_array_equal(recipe.fit(mixtures, values, 0).coefficients, fitted.coefficients)
