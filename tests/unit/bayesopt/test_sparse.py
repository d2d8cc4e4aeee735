import numpy as np
import pytest

from mixwright.bayesopt.acquisition import KnowledgeGradient
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.model import condition, fit
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.sparse import condition_sparsely

TWO = OneFactor(2, 1)
NEW, AT = np.random.default_rng(9).dirichlet(np.ones(4), 30), np.arange(30) % 2


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(0)
    mixtures, fidelity = rng.dirichlet(np.ones(4), 240), np.arange(240) % 4 // 3
    values = np.sin(3 * np.sqrt(mixtures) @ rng.normal(size=4)) + 2.0 * fidelity
    noisiness = rng.uniform(0.5, 2.0, 240)
    values += 0.1 * np.sqrt(noisiness) * rng.normal(size=240)
    return Observations(mixtures, fidelity, values, noisiness, np.arange(240))


@pytest.fixture(scope="module")
def exact(runs):
    return condition(runs, TWO, fit(runs, TWO).of_law().hyperparameters)


def sparse(runs, exact, inducing):
    return condition_sparsely(runs, TWO, exact.hyperparameters, inducing)


def assert_equal_posteriors(one, other, rtol):
    unit = other.unit
    np.testing.assert_allclose(one.mean(NEW, AT), other.mean(NEW, AT), atol=rtol * unit)
    np.testing.assert_allclose(
        one.covariance(NEW, AT, NEW, AT), other.covariance(NEW, AT, NEW, AT), atol=rtol * unit**2
    )
    np.testing.assert_allclose(one.variance(NEW, AT), other.variance(NEW, AT), atol=rtol * unit**2)


def test_with_all_runs_inducing_it_is_the_exact_posterior(runs, exact):
    found = sparse(runs, exact, 1_000)
    assert len(found.observations.values) == 240
    assert_equal_posteriors(found, exact, 1e-8)
    np.testing.assert_array_equal(found.noise(AT), exact.noise(AT))
    assert found.target == 1


def test_the_error_falls_with_more_inducing_runs(runs, exact):
    truth = exact.mean(NEW, AT)
    posteriors = [sparse(runs, exact, inducing) for inducing in (5, 20, 60, 150)]
    errors = [np.abs(one.mean(NEW, AT) - truth).max() for one in posteriors]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.02 * exact.unit
    spreads = [one.variance(NEW, AT).mean() for one in posteriors]
    assert spreads[0] > spreads[1] > spreads[2] > exact.variance(NEW, AT).mean() * (1 - 1e-6)


def test_it_beats_the_exact_posterior_given_the_inducing_runs_alone(runs, exact):
    found = sparse(runs, exact, 60)
    rows = [
        int(np.flatnonzero((runs.mixtures == mixture).all(axis=1))[0])
        for mixture in found.observations.mixtures
    ]
    assert len(set(rows)) == 60
    alone = condition(runs.take(np.array(rows)), TWO, exact.hyperparameters)
    truth = exact.mean(NEW, AT)
    errors = [np.abs(one.mean(NEW, AT) - truth).mean() for one in (found, alone)]
    assert errors[0] < 0.5 * errors[1]


def test_it_stands_for_all_runs_and_more_can_be_added(runs, exact):
    first = runs.take(np.arange(200))
    rest = runs.take(np.arange(200, 240))
    base = condition_sparsely(first, TWO, exact.hyperparameters, 190)
    assert len(base.ran) == 200
    assert len(base.observations.values) == 190
    grown = base.given(rest.mixtures, rest.fidelity, rest.values)
    expected = condition(first, TWO, exact.hyperparameters).given(
        rest.mixtures, rest.fidelity, rest.values
    )
    assert_equal_posteriors(grown, expected, 5e-3)
    assert len(grown.ran) == 240
    believing = grown.believing(NEW[:3], AT[:3])
    np.testing.assert_allclose(believing.mean(NEW, AT), grown.mean(NEW, AT), atol=1e-8)
    assert (believing.variance(NEW[:3], AT[:3]) < grown.variance(NEW[:3], AT[:3])).all()


def test_runs_have_the_same_value_under_it(runs, exact):
    found = KnowledgeGradient(sparse(runs, exact, 200), NEW)
    expected = KnowledgeGradient(exact, NEW)
    block = (NEW[:8], AT[:8], 0)
    assert found.of_block(*block) == pytest.approx(expected.of_block(*block), rel=0.1, abs=1e-6)


def test_runs_that_repeat_others_are_not_inducing():
    rng = np.random.default_rng(0)
    mixtures = np.repeat(rng.dirichlet(np.ones(3), 12), 5, axis=0)
    values = mixtures @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=60)
    runs = Observations.of(mixtures, np.zeros(60, dtype=int), values)
    of_law = fit(runs, OneFactor(1, 0)).of_law().hyperparameters
    exact = condition(runs, OneFactor(1, 0), of_law)
    found = condition_sparsely(runs, OneFactor(1, 0), exact.hyperparameters, 1_000)
    assert len(found.observations.values) == 12
    at = np.zeros(60, dtype=int)
    np.testing.assert_allclose(found.mean(mixtures, at), exact.mean(mixtures, at), atol=2e-3)


def test_many_runs_are_taken_in_a_few_at_a_time(runs, exact, monkeypatch):
    from mixwright.bayesopt import sparse as module

    expected = sparse(runs, exact, 40)
    monkeypatch.setattr(module, "_ROWS", 7)
    assert_equal_posteriors(sparse(runs, exact, 40), expected, 1e-6)
