"""Contract: what every registered surrogate promises."""

import pkgutil

import numpy as np
import pytest

import mixwright.surrogates as package
from mixwright.errors import InvalidInputError
from mixwright.surrogates import SURROGATES, Differentiable, build_surrogate, describe

NUM_RUNS, NUM_DOMAINS = 60, 4
NO_SURROGATES = {  # modules of the package that are parts, not surrogates
    "base", "blending", "cross_validation", "fidelity_posterior", "least_squares",
    "marginal_likelihood", "options",
    "share_power_fit",
    "trees",
}  # fmt: skip


def make_runs(seed=0):
    """Mixtures and two losses of a made-up world that no surrogate describes exactly."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(NUM_DOMAINS), NUM_RUNS)
    first = 2 + (mixtures @ [1.0, 0.3, 0.1, 0.05]) ** -0.3
    second = 1 + np.exp(-mixtures @ [0.2, 2.0, 0.5, 0.1]) + 0.1 * np.sin(5 * mixtures[:, 0])
    return mixtures, np.column_stack([first, second]) + rng.normal(0, 0.01, (NUM_RUNS, 2))


@pytest.fixture(params=sorted(SURROGATES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted_once():
    kept = {}

    def fit(name):
        if name not in kept:
            kept[name] = build_surrogate(name, {}).fit(*make_runs(), 0)
        return kept[name]

    return fit


@pytest.fixture
def fitted(name, fitted_once):
    return fitted_once(name)


QUERIES = np.vstack([np.random.default_rng(9).dirichlet(np.ones(NUM_DOMAINS), 20), np.eye(4)])


def test_every_module_is_registered():
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules - NO_SURROGATES == set(SURROGATES)


def test_predictions_are_finite_and_of_the_right_shape(fitted):
    prediction = fitted.predict(QUERIES)
    assert prediction.mean.shape == prediction.std.shape == (len(QUERIES), 2)
    assert np.isfinite(prediction.mean).all()
    assert (prediction.std >= 0).all()
    np.testing.assert_allclose(prediction.mean, fitted.predict_mean(QUERIES), rtol=1e-12)


def test_something_is_learned(name, fitted):
    mixtures, values = make_runs(seed=1)
    error = np.sqrt(np.mean((fitted.predict_mean(mixtures) - values) ** 2, axis=0))
    assert (error < 0.9 * values.std(axis=0)).all()


def test_the_order_of_runs_changes_no_bit(name, fitted):
    mixtures, values = make_runs()
    order = np.random.default_rng(3).permutation(NUM_RUNS)
    again = build_surrogate(name, {}).fit(mixtures[order], values[order], 0)
    np.testing.assert_array_equal(again.predict_mean(QUERIES), fitted.predict_mean(QUERIES))


def test_the_order_of_domains_does_not_matter(name, fitted):
    if name == "lightgbm":
        pytest.skip("equal gains are split by column order")
    order = np.array([2, 0, 3, 1])
    mixtures, values = make_runs()
    again = build_surrogate(name, {}).fit(mixtures[:, order], values, 0)
    tolerance = 0.02 if name in ("auto", "ensemble") else 2e-3  # several starts; folds by content
    np.testing.assert_allclose(
        again.predict_mean(QUERIES[:20, order]), fitted.predict_mean(QUERIES[:20]), atol=tolerance
    )


def test_missing_values_are_left_out_and_not_guessed(name):
    mixtures, values = make_runs()
    holed = values.copy()
    holed[::10, 1] = np.nan
    fitted = build_surrogate(name, {}).fit(mixtures, holed, 0)
    assert np.isfinite(fitted.predict_mean(QUERIES)).all()
    kept = np.isfinite(holed[:, 1])
    alone = build_surrogate(name, {}).fit(mixtures[kept], holed[kept][:, 1:], 0)
    if name not in ("auto", "ensemble", "gp", "lightgbm"):  # whose draws depend on all runs
        np.testing.assert_allclose(
            alone.predict_mean(QUERIES)[:, 0], fitted.predict_mean(QUERIES)[:, 1], rtol=1e-6
        )


def test_the_state_gives_the_same_bits_back(fitted):
    again = type(fitted).from_state(fitted.to_state())
    np.testing.assert_array_equal(again.predict_mean(QUERIES), fitted.predict_mean(QUERIES))
    np.testing.assert_array_equal(again.predict(QUERIES).std, fitted.predict(QUERIES).std)


def test_gradients_are_those_of_the_mean(fitted):
    if not fitted.is_differentiable:
        pytest.skip("has no gradient")
    assert isinstance(fitted, Differentiable)
    inside, step = QUERIES[:5] * 0.8 + 0.05, 1e-6
    gradient = fitted.gradient(inside)
    for domain in range(NUM_DOMAINS):
        shift = np.zeros(NUM_DOMAINS)
        shift[domain] = step
        slope = (fitted.predict_mean(inside + shift) - fitted.predict_mean(inside - shift)) / (
            2 * step
        )
        np.testing.assert_allclose(gradient[:, :, domain], slope, rtol=1e-3, atol=1e-4)


def test_what_is_called_convex_is(fitted):
    if not fitted.is_convex:
        pytest.skip("is not convex")
    left, right = QUERIES[:10], QUERIES[10:20]
    middle = fitted.predict_mean((left + right) / 2)
    chord = (fitted.predict_mean(left) + fitted.predict_mean(right)) / 2
    assert (middle <= chord + 1e-9).all()


def test_too_few_runs_is_a_number_that_suffices(name):
    recipe = build_surrogate(name, {})
    fewest = recipe.min_runs(NUM_DOMAINS)
    assert 2 <= fewest <= NUM_RUNS
    mixtures, values = make_runs()
    assert np.isfinite(
        recipe.fit(mixtures[:fewest], values[:fewest], 0).predict_mean(QUERIES)
    ).all()


def test_a_metric_that_is_all_but_constant_breaks_nothing(name):
    mixtures, values = make_runs()
    values[:, 1] = 2.0 + 1e-15 * values[:, 0]
    fitted = build_surrogate(name, {}).fit(mixtures, values, 0)
    np.testing.assert_allclose(fitted.predict_mean(QUERIES)[:, 1], 2.0, rtol=1e-6)


def test_unknown_options_are_refused_by_name(name):
    with pytest.raises(InvalidInputError, match="colour"):
        build_surrogate(name, {"colour": "red"})


def test_every_surrogate_says_where_it_comes_from():
    for entry in describe():
        assert entry["source"]
        assert entry["evidence"] in {"exact", "secondary", "recalled", "interpretation"}
