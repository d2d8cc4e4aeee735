import numpy as np
import pytest

from mixwright.surrogates import build_surrogate
from mixwright.surrogates.cross_validation import assign_folds, cross_fit
from mixwright.surrogates.marginal_likelihood import Kernel, Space, _LogPosterior

RNG = np.random.default_rng(0)
MIXTURES = RNG.dirichlet(np.ones(3), 40)
SPACE = Space.of(MIXTURES, "log")
KERNEL = Kernel(np.array([2.0, 1.0, 3.0]), np.array([1.5, 0.7, 0.1]))


def by_the_formula(left, right):
    """Rasmussen and Williams (4.17), one pair at a time."""
    gap = (np.log(left + 1e-3) - np.log(right + 1e-3)) / KERNEL.lengths
    distance = np.sqrt(5) * np.linalg.norm(gap)
    matern = 1.5 * (1 + distance + distance**2 / 3) * np.exp(-distance)
    centre = MIXTURES.mean(axis=0)
    return matern + 0.7 * (left - centre) @ (right - centre)


def test_the_kernel_is_that_of_the_book():
    expected = [[by_the_formula(left, right) for right in MIXTURES[:5]] for left in MIXTURES[5:9]]
    np.testing.assert_allclose(
        expected, KERNEL.between(SPACE, MIXTURES[5:9], MIXTURES[:5]), rtol=1e-10
    )
    diagonal = [by_the_formula(one, one) for one in MIXTURES[:5]]
    np.testing.assert_allclose(diagonal, KERNEL.at(SPACE, MIXTURES[:5]), rtol=1e-12)


@pytest.mark.parametrize("features", ["log", "sqrt"])
def test_the_gradient_of_the_likelihood_is_its_slope(features):
    seen = Space.of(MIXTURES, features).features(MIXTURES)
    posterior = _LogPosterior(
        seen / seen.std(axis=0), MIXTURES - MIXTURES.mean(axis=0), RNG.normal(size=40)
    )
    point = posterior.prior_mode() + np.array([0.3, -0.4, 0.2, 0.5, -0.6, 0.7])
    _, gradient = posterior(point)
    steps = np.eye(6) * 1e-5
    slopes = [(posterior(point + s)[0] - posterior(point - s)[0]) / 2e-5 for s in steps]
    np.testing.assert_allclose(slopes, gradient, rtol=1e-5, atol=1e-6)


def test_the_likelihood_is_that_of_a_multivariate_normal():
    from scipy.stats import multivariate_normal

    features, values = np.log(MIXTURES + 1e-3), RNG.normal(size=40)
    shares = MIXTURES - MIXTURES.mean(axis=0)
    posterior = _LogPosterior(features, shares, values)
    point = np.log([2.0, 1.0, 3.0, 1.5, 0.7, 0.1])
    covariance = KERNEL.between(SPACE, MIXTURES, MIXTURES) + 0.1 * np.eye(40)
    expected = -multivariate_normal(np.zeros(40), covariance).logpdf(values)
    cost, _ = posterior._likelihood(point)
    assert cost + 20 * np.log(2 * np.pi) == pytest.approx(expected)


def test_the_posterior_is_that_of_the_book():
    values = np.sin(5 * MIXTURES[:, :1])
    fitted = build_surrogate("gp", {}).fit(MIXTURES, values, 0)
    kernel, runs, query = fitted.kernels[0], fitted.mixtures, RNG.dirichlet(np.ones(3), 6)
    covariance = kernel.between(fitted.space, runs, runs) + kernel.noise * np.eye(40)
    cross = kernel.between(fitted.space, query, runs)
    observed = (np.sin(5 * runs[:, 0]) - fitted.centre) / fitted.scale
    mean = cross @ np.linalg.solve(covariance, observed) * fitted.scale + fitted.centre
    prior = kernel.between(fitted.space, query, query)
    variance = np.diag(prior - cross @ np.linalg.solve(covariance, cross.T)) + kernel.noise
    prediction = fitted.predict(query)
    np.testing.assert_allclose(mean, prediction.mean[:, 0], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(variance) * fitted.scale, prediction.std[:, 0], rtol=1e-3)


def test_a_smooth_law_is_learned_and_far_away_is_less_certain():
    rng = np.random.default_rng(2)
    mixtures = rng.dirichlet(np.full(3, 5.0), 120)
    values = np.sin(4 * mixtures[:, :1]) + rng.normal(0, 0.01, (120, 1))
    fitted = build_surrogate("gp", {}).fit(mixtures, values, 0)
    fresh = rng.dirichlet(np.full(3, 20.0), 100)  # nearer the middle
    np.testing.assert_allclose(np.sin(4 * fresh[:, 0]), fitted.predict_mean(fresh)[:, 0], atol=0.02)
    near, far = fitted.predict(np.array([[0.3, 0.3, 0.4], [0.0, 0.0, 1.0]])).std[:, 0]
    assert far > 3 * near


def test_out_of_fold_predictions_do_not_see_their_run():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(60, 1))
    mixtures = rng.dirichlet(np.ones(3), 60)
    _, held_out = cross_fit(build_surrogate("gp", {}), mixtures, noise, assign_folds(noise, 0), 0)
    assert np.corrcoef(held_out.mean[:, 0], noise[:, 0])[0, 1] < 0.3


def test_more_runs_than_it_takes_are_drawn_from():
    recipe = build_surrogate("gp", {"max_runs": 16, "hyperparameter_runs": 8})
    fitted = recipe.fit(MIXTURES, MIXTURES[:, :1] ** 2, 0)
    assert len(fitted.mixtures) == 16
    fitted, held_out = recipe.cross_fit(
        MIXTURES, MIXTURES[:, :1] ** 2, assign_folds(MIXTURES[:, :1], 0), 0
    )
    assert np.isfinite(held_out.mean).all()
