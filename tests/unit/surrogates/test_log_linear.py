import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.surrogates import build_surrogate

slopes = st.lists(st.floats(-2, 1), min_size=3, max_size=3)


@given(slopes, st.floats(-1, 1))
@settings(max_examples=25, deadline=None)
def test_planted_laws_are_recovered_from_noiseless_runs(slopes, log_floor):
    rng = np.random.default_rng(0)
    train, fresh = rng.dirichlet(np.ones(3), 30), rng.dirichlet(np.ones(3), 50)

    def law(mixtures):
        return np.exp(log_floor) + np.exp(mixtures @ slopes)

    fitted = build_surrogate("log_linear", {}).fit(train, law(train)[:, None], 0)
    np.testing.assert_allclose(law(fresh), fitted.predict_mean(fresh)[:, 0], rtol=5e-3)


def test_values_below_zero_are_shifted_and_still_fitted():
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(3), 60)
    accuracy = -0.8 + 0.3 * np.exp(mixtures @ [0.0, -1.0, -2.0])  # negated, as it is maximised
    fitted = build_surrogate("log_linear", {}).fit(mixtures, accuracy[:, None], 0)
    np.testing.assert_allclose(accuracy, fitted.predict_mean(mixtures)[:, 0], atol=2e-3)


@pytest.mark.parametrize("starts", [1, 3])
def test_more_starts_never_fit_worse(starts):
    rng = np.random.default_rng(1)
    mixtures = rng.dirichlet(np.ones(4), 80)
    losses = 1 + (mixtures @ [1.0, 0.5, 0.1, 0.02]) ** -0.5
    few, more = (
        build_surrogate("log_linear", {"starts": n}).fit(mixtures, losses[:, None], 0)
        for n in (starts, 9)
    )
    assert more.noise_std[0] <= few.noise_std[0] * (1 + 1e-6)
