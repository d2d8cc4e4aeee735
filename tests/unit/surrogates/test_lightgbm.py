import numpy as np

from mixwright.surrogates import build_surrogate


def make_runs(count=200, seed=0):
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(3), count)
    return mixtures, np.sin(6 * mixtures[:, :2]) + rng.normal(0, 0.05, (count, 2))


def test_its_standard_deviation_is_that_of_fresh_errors():
    fitted = build_surrogate("lightgbm", {}).fit(*make_runs(400), 0)
    fresh, values = make_runs(1000, seed=1)
    errors = np.sqrt(np.mean((fitted.predict_mean(fresh) - values) ** 2, axis=0))
    np.testing.assert_allclose(errors, fitted.predict(fresh).std[0], rtol=0.4)


def test_growing_stops_when_the_runs_set_aside_no_longer_improve():
    mixtures, _ = make_runs()
    noise = np.random.default_rng(1).normal(size=(200, 1))
    nothing = build_surrogate("lightgbm", {}).fit(mixtures, noise, 0)
    something = build_surrogate("lightgbm", {}).fit(*make_runs(), 0)
    assert len(nothing.forest.roots) < 100 < len(something.forest.roots) / 2


def test_the_seed_decides_which_runs_are_set_aside():
    first, second = (build_surrogate("lightgbm", {}).fit(*make_runs(), seed) for seed in (0, 1))
    assert (first.std != second.std).any()
