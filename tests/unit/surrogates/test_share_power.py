import numpy as np
import pytest

from mixwright.surrogates import build_surrogate


def law(mixtures, floor, worth, power):
    return floor + (mixtures @ worth) ** -power


def error_on(num_runs, seed):
    """Root mean squared error on fresh mixtures, in standard deviations of the loss."""
    rng = np.random.default_rng(seed)
    world = (rng.uniform(0.5, 3), rng.uniform(0.1, 3, 3), rng.uniform(0.1, 0.8))
    train, fresh = rng.dirichlet(np.ones(3), num_runs), rng.dirichlet(np.ones(3), 200)
    losses = law(train, *world)
    fitted = build_surrogate("share_power", {}).fit(train, losses[:, None], 0)
    wrong = fitted.predict_mean(fresh)[:, 0] - law(fresh, *world)
    return np.sqrt(np.mean(wrong**2)) / losses.std()


def test_planted_laws_are_recovered_from_a_few_dozen_runs():
    errors = np.array([error_on(60, seed) for seed in range(12)])
    assert np.median(errors) < 0.02
    assert errors.max() < 0.05


def test_pulls_stay_strong_where_runs_are_fewer_than_parameters_and_say_little():
    rng = np.random.default_rng(0)
    mixtures, losses = rng.dirichlet(np.ones(8), 7), rng.normal(3, 1, (7, 1))
    fitted = build_surrogate("share_power", {}).fit(mixtures, losses, 0)
    fresh = fitted.predict_mean(rng.dirichlet(np.ones(8), 200))
    assert np.ptp(fresh) < 3 * np.ptp(losses)


@pytest.mark.parametrize("terms", [1, 2, 4])
def test_it_is_convex_for_any_number_of_terms(terms):
    rng = np.random.default_rng(0)
    train = rng.dirichlet(np.ones(4), 80)
    losses = law(train, 1.0, [1.0, 0.5, 0.2, 0.1], 0.4) + rng.normal(0, 0.01, 80)
    fitted = build_surrogate("share_power", {"terms": terms}).fit(train, losses[:, None], 0)
    left, right = rng.dirichlet(np.ones(4), 50), rng.dirichlet(np.ones(4), 50)
    chord = (fitted.predict_mean(left) + fitted.predict_mean(right)) / 2
    assert (fitted.predict_mean((left + right) / 2) <= chord + 1e-12).all()
    assert fitted.is_convex


def test_more_runs_make_the_interval_narrower():
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(3), 400)
    losses = law(mixtures, 1.0, [1.0, 0.5, 0.2], 0.4) + rng.normal(0, 0.05, 400)
    corner = np.array([[0.0, 0.0, 1.0]])
    few, many = (
        build_surrogate("share_power", {}).fit(mixtures[:n], losses[:n, None], 0).predict(corner)
        for n in (20, 400)
    )
    assert many.std[0, 0] < few.std[0, 0]
