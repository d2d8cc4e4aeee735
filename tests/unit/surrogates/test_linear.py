import numpy as np

from mixwright.surrogates import build_surrogate


def test_a_planted_plane_is_recovered_exactly():
    mixtures = np.random.default_rng(0).dirichlet(np.ones(4), 10)
    fitted = build_surrogate("linear", {}).fit(mixtures, (mixtures @ [1, 2, 3, 4.0])[:, None], 0)
    np.testing.assert_allclose([[1], [2], [3], [4]], fitted.predict_mean(np.eye(4)), rtol=1e-9)


def test_standard_deviations_are_those_of_ordinary_least_squares():
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(3), 30)
    values = mixtures @ [1.0, 2.0, 3.0] + rng.normal(0, 0.1, 30)
    fitted = build_surrogate("linear", {}).fit(mixtures, values[:, None], 0)
    coefficients, (squares,), *_ = np.linalg.lstsq(mixtures, values, rcond=None)
    query = np.array([0.2, 0.5, 0.3])
    leverage = query @ np.linalg.inv(mixtures.T @ mixtures) @ query
    prediction = fitted.predict(query[None])
    np.testing.assert_allclose(query @ coefficients, prediction.mean[0, 0], rtol=1e-9)
    np.testing.assert_allclose(
        np.sqrt(squares / 27 * (1 + leverage)), prediction.std[0, 0], rtol=1e-9
    )


def test_a_domain_that_no_run_uses_has_no_slope():
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), 20) @ np.eye(3, 4)
    fitted = build_surrogate("linear", {}).fit(mixtures, (mixtures @ [1, 2, 3, 9.0])[:, None], 0)
    assert abs(fitted.coefficients[0, 3]) < 1e-9
