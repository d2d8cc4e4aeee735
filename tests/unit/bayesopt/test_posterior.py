import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.bayesopt import likelihood, model
from mixwright.bayesopt.kernel import features
from mixwright.bayesopt.likelihood import (
    MEAN_VARIANCE,
    Problem,
    cost_and_gradient,
    pack,
    prior,
    unpack,
)
from mixwright.bayesopt.model import Observations, fit, prior_covariance
from mixwright.errors import FitDidNotConvergeError, InvalidInputError


def make_problem(seed=0, runs=30, domains=4, fidelities=3, target=2):
    rng = np.random.default_rng(seed)
    rooted = features(rng.dirichlet(np.ones(domains), runs))
    fidelity = rng.integers(0, fidelities, runs)
    return Problem(rooted, rooted.mean(0), fidelity, rng.normal(size=runs), fidelities, target)


def make_runs(seed=0, runs=60, correlation=0.9, noise=0.05, domains=4):
    """Two fidelities of one smooth surface, with a level and a scale of their own."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(domains), runs)
    fidelity = rng.integers(0, 2, runs)
    shared, own = (rng.normal(size=domains) for _ in range(2))
    surface = np.sqrt(mixtures) @ shared
    low = correlation * surface + np.sqrt(1 - correlation**2) * (np.sqrt(mixtures) @ own)
    values = np.where(fidelity == 1, surface, 5 + 3 * low) + noise * rng.normal(size=runs)
    return Observations(mixtures, fidelity, values), np.sqrt(mixtures) @ shared


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_the_gradient_is_that_of_the_cost(seed):
    problem = make_problem(seed)
    median, spread = prior(problem)
    theta = median + 0.5 * spread * np.random.default_rng(seed).normal(size=len(median))
    _, gradient = cost_and_gradient(theta, problem)
    step = 1e-5
    for i, unit in enumerate(np.eye(len(theta))):
        ahead = cost_and_gradient(theta + step * unit, problem)[0]
        behind = cost_and_gradient(theta - step * unit, problem)[0]
        assert gradient[i] == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-4)


def test_hyperparameters_survive_packing():
    problem = make_problem()
    theta = prior(problem)[0] + 0.3
    np.testing.assert_allclose(pack(unpack(theta, problem), problem), theta, rtol=1e-9)
    assert unpack(theta, problem).correlations[problem.target] == 1.0


@given(st.integers(0, 1000), st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_the_covariance_is_positive_semidefinite_whatever_the_correlations(seed, correlations):
    problem = make_problem(seed, runs=20)
    hyper = unpack(prior(problem)[0], problem)
    hyper.correlations[:] = correlations
    mixtures = problem.rooted**2
    covariance = prior_covariance(
        hyper, problem.centre, mixtures, problem.fidelity, mixtures, problem.fidelity
    )
    assert np.linalg.eigvalsh(covariance).min() > -1e-8 * MEAN_VARIANCE


def test_the_posterior_is_that_of_the_textbook():
    observations, _ = make_runs()
    posterior = fit(observations, 2, 1)
    new, at = np.random.default_rng(1).dirichlet(np.ones(4), 5), np.array([0, 1, 1, 0, 1])
    hyper, x, f = posterior.hyperparameters, observations.mixtures, observations.fidelity

    def k(a, af, b, bf):
        return prior_covariance(hyper, posterior.centre, a, af, b, bf)

    inverse = np.linalg.inv(k(x, f, x, f) + np.diag(hyper.noises[f]))
    standard = (observations.values - posterior.location[f]) / posterior.unit
    mean = k(new, at, x, f) @ inverse @ standard * posterior.unit + posterior.location[at]
    np.testing.assert_allclose(posterior.mean(new, at), mean, rtol=1e-7)
    covariance = k(new, at, new, at) - k(new, at, x, f) @ inverse @ k(x, f, new, at)
    found = posterior.covariance(new, at, new, at)
    np.testing.assert_allclose(found, covariance * posterior.unit**2, atol=1e-7)


@pytest.mark.parametrize("correlation", [0.98, 0.3])
def test_correlation_and_scale_of_a_fidelity_are_learned(correlation):
    learned = [fit(make_runs(seed, 150, correlation)[0], 2, 1).hyperparameters for seed in range(6)]
    found = np.median([one.correlations[0] for one in learned])
    assert found > 0.9 if correlation > 0.9 else found < 0.75
    ratios = [one.scales[0] / one.scales[1] for one in learned]
    assert 1.5 < np.median(ratios) < 6


def test_a_fidelity_that_was_never_run_is_predicted_through_the_others():
    observations, truth = make_runs(runs=80)
    low = observations.fidelity == 0
    only = Observations(
        observations.mixtures[low], observations.fidelity[low], observations.values[low]
    )
    posterior = fit(only, 2, 1)
    mean = posterior.mean(observations.mixtures, np.ones(80, dtype=int))
    assert np.corrcoef(mean, truth)[0, 1] > 0.8
    spread = posterior.covariance(
        observations.mixtures, np.ones(80, dtype=int), observations.mixtures, np.ones(80, dtype=int)
    )
    assert np.sqrt(np.diag(spread)).min() > posterior.unit  # its level is unknown


def test_level_and_unit_of_outcomes_change_nothing():
    observations, _ = make_runs()
    moved = Observations(
        observations.mixtures, observations.fidelity, 1e3 + 1e-3 * observations.values
    )
    one, other = fit(observations, 2, 1), fit(moved, 2, 1)
    new, at = np.full((1, 4), 0.25), np.array([1])
    np.testing.assert_allclose(other.mean(new, at), 1e3 + 1e-3 * one.mean(new, at), rtol=1e-6)


def test_duplicated_mixtures_with_different_outcomes_are_noise():
    observations, _ = make_runs(runs=30, noise=0.5)
    twice = observations.with_runs(
        observations.mixtures, observations.fidelity, observations.values + 0.5
    )
    assert np.isfinite(fit(twice, 2, 1).mean(observations.mixtures, observations.fidelity)).all()


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_few_or_equal_outcomes_are_enough_for_a_posterior(runs):
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), runs)
    posterior = fit(Observations(mixtures, np.zeros(runs, dtype=int), np.full(runs, 2.0)), 2, 1)
    np.testing.assert_allclose(posterior.mean(mixtures, np.zeros(runs, dtype=int)), 2.0)


def test_no_runs_are_refused():
    nothing = Observations(np.empty((0, 3)), np.empty(0, dtype=int), np.empty(0))
    with pytest.raises(InvalidInputError, match="no runs"):
        fit(nothing, 1, 0)


def test_a_covariance_that_no_jitter_mends_is_an_error(monkeypatch):
    from scipy.linalg import LinAlgError

    def broken(*_, **__):
        raise LinAlgError

    observations, _ = make_runs(runs=10)
    monkeypatch.setattr(model, "cholesky", broken)
    with pytest.raises(FitDidNotConvergeError, match="not positive definite"):
        fit(observations, 2, 1)
    monkeypatch.setattr(likelihood, "cholesky", broken)
    with pytest.raises(FitDidNotConvergeError, match="found no positive definite"):
        fit(observations, 2, 1)
