from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.bayesopt import likelihood, model
from mixwright.bayesopt.fidelities import MEAN_VARIANCE, OneFactor
from mixwright.bayesopt.kernel import features, over_mixtures
from mixwright.bayesopt.likelihood import Problem, cost_and_gradient, pack, unpack
from mixwright.bayesopt.model import condition, fit, left_out
from mixwright.bayesopt.observations import Observations, with_noise_of_replicates
from mixwright.errors import FitDidNotConvergeError, InvalidInputError

TWO = OneFactor(2, 1)


def make_problem(seed=0, runs=30, domains=4, fidelities=3, target=2):
    rng = np.random.default_rng(seed)
    rooted = features(rng.dirichlet(np.ones(domains), runs))
    fidelity = rng.integers(0, fidelities, runs)
    return Problem(
        rooted=rooted,
        centre=rooted.mean(0),
        fidelity=fidelity,
        values=rng.normal(size=runs),
        noisiness=np.ones(runs),
        run=np.arange(runs),
        structure=OneFactor(fidelities, target),
    )


def make_runs(seed=0, runs=60, correlation=0.9, noise=0.05, domains=4):
    """Two fidelities of one smooth surface, with a level and a scale of their own."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(domains), runs)
    fidelity = rng.integers(0, 2, runs)
    shared, own = (rng.normal(size=domains) for _ in range(2))
    surface = np.sqrt(mixtures) @ shared
    low = correlation * surface + np.sqrt(1 - correlation**2) * (np.sqrt(mixtures) @ own)
    values = np.where(fidelity == 1, surface, 5 + 3 * low) + noise * rng.normal(size=runs)
    return Observations.of(mixtures, fidelity, values), np.sqrt(mixtures) @ shared


def textbook(posterior):
    """The prior covariance of mixtures and fidelities, term by term."""
    hyper = posterior.hyperparameters

    def k(one, one_fidelity, other, other_fidelity):
        u, v = ((np.sqrt(x) - hyper.centre) / hyper.lengths for x in (one, other))
        d = np.sqrt(5) * np.linalg.norm(u[:, None] - v[None], axis=-1)
        over = (1 + d + d**2 / 3) * np.exp(-d) + hyper.linear * u @ v.T
        same = one_fidelity[:, None] == other_fidelity[None]
        return hyper.signal[one_fidelity][:, other_fidelity] * over + MEAN_VARIANCE * same

    def expected(mixtures, fidelity):
        target, centre = posterior.target, hyper.centre
        loading = hyper.signal[fidelity, target] / np.sqrt(hyper.signal[target, target])
        alike = np.sqrt(mixtures) @ centre / np.linalg.norm(centre)
        return 2.5 * loading * (np.linalg.norm(centre) - alike)

    return k, expected


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_the_gradient_is_that_of_the_cost(seed):
    problem = make_problem(seed)
    ranges = problem.ranges
    draws = np.random.default_rng(seed).normal(size=len(ranges.median))
    theta = ranges.median + 0.5 * ranges.spread * draws
    _, gradient = cost_and_gradient(theta, problem, ranges)
    step = 1e-5
    for i, unit in enumerate(np.eye(len(theta))):
        ahead = cost_and_gradient(theta + step * unit, problem, ranges)[0]
        behind = cost_and_gradient(theta - step * unit, problem, ranges)[0]
        assert gradient[i] == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-4)


def test_hyperparameters_survive_packing():
    problem = make_problem()
    theta = problem.ranges.median + 0.1 * np.random.default_rng(0).normal(size=18)
    for own in (slice(1, 5), slice(9, 12), slice(15, 18)):  # lengths, scales, noises
        theta[own] -= theta[own].mean()  # against what they have in common
    found = unpack(theta, problem)
    expected = theta.copy()
    expected[6] = pack(found, problem)[6]  # nothing is shared between these runs
    np.testing.assert_allclose(pack(found, problem), expected, rtol=1e-9, atol=1e-12)
    assert found.correlation(problem.structure.target, problem.structure.target) == 1.0
    assert found.common == 0.0


@given(st.integers(0, 1000), st.lists(st.floats(-30.0, 30.0), min_size=2, max_size=2))
def test_the_covariance_is_positive_semidefinite_whatever_the_correlations(seed, logits):
    problem = make_problem(seed, runs=20)
    theta = problem.ranges.median.copy()
    theta[problem.own + 4 : problem.own + 6] = logits
    hyper = unpack(theta, problem)
    pairs = np.ix_(problem.fidelity, problem.fidelity)
    over = over_mixtures(hyper, problem.rooted, problem.rooted)
    covariance = hyper.signal[pairs] * over + problem.structure.means[pairs]
    assert np.linalg.eigvalsh(covariance).min() > -1e-8 * MEAN_VARIANCE


def test_the_posterior_is_that_of_the_textbook():
    observations, _ = make_runs()
    posterior = fit(observations, TWO).of_law()
    new, at = np.random.default_rng(1).dirichlet(np.ones(4), 5), np.array([0, 1, 1, 0, 1])
    hyper, x, f = posterior.hyperparameters, observations.mixtures, observations.fidelity
    k, expected = textbook(posterior)
    inverse = np.linalg.inv(k(x, f, x, f) + np.diag(hyper.noises[f]))
    standard = (observations.values - posterior.location[f]) / posterior.unit - expected(x, f)
    mean = expected(new, at) + k(new, at, x, f) @ inverse @ standard
    mean = mean * posterior.unit + posterior.location[at]
    np.testing.assert_allclose(posterior.mean(new, at), mean, rtol=1e-6)
    covariance = k(new, at, new, at) - k(new, at, x, f) @ inverse @ k(x, f, new, at)
    found = posterior.covariance(new, at, new, at)
    np.testing.assert_allclose(found, covariance * posterior.unit**2, atol=1e-6)
    np.testing.assert_allclose(posterior.variance(new, at), np.diag(found), rtol=1e-7)
    np.testing.assert_allclose(posterior.noise(at), hyper.noises[at] * posterior.unit**2)


def test_runs_that_are_added_are_as_good_as_runs_that_were_there():
    observations, _ = make_runs(runs=50)
    first = fit(observations.take(np.arange(40)), TWO).of_law()
    more = observations.take(np.arange(40, 50))
    added = first.given(more.mixtures, more.fidelity, more.values)
    new, at = np.random.default_rng(1).dirichlet(np.ones(4), 6), np.arange(6) % 2
    x, f = observations.mixtures, observations.fidelity
    k, expected = textbook(first)
    inverse = np.linalg.inv(k(x, f, x, f) + np.diag(first.hyperparameters.noises[f]))
    standard = (observations.values - first.location[f]) / first.unit - expected(x, f)
    mean = expected(new, at) + k(new, at, x, f) @ inverse @ standard
    mean = mean * first.unit + first.location[at]
    np.testing.assert_allclose(added.mean(new, at), mean, rtol=1e-6)
    covariance = k(new, at, new, at) - k(new, at, x, f) @ inverse @ k(x, f, new, at)
    np.testing.assert_allclose(
        added.covariance(new, at, new, at), covariance * first.unit**2, atol=1e-6
    )
    np.testing.assert_array_equal(added.ran, f)
    assert len(set(added.observations.run)) == 50


def test_runs_that_show_what_is_expected_move_no_mean():
    posterior = fit(make_runs(noise=0.3)[0], TWO)
    new, at = np.random.default_rng(1).dirichlet(np.ones(4), 6), np.arange(6) % 2
    believing = posterior.believing(new, at)
    np.testing.assert_allclose(believing.mean(new, at), posterior.mean(new, at), rtol=1e-8)
    assert (believing.variance(new, at) < posterior.variance(new, at)).all()
    assert posterior.given(new[:0], at[:0], np.empty(0)) is posterior


def test_what_is_left_out_is_predicted_by_the_others():
    observations, _ = make_runs(runs=25)
    posterior = fit(observations, TWO)
    residuals = left_out(posterior)
    (k, expected), hyper = textbook(posterior), posterior.hyperparameters
    for row in (0, 7, 24):
        some = observations.take(np.delete(np.arange(25), row))
        x, f = some.mixtures, some.fidelity
        one = observations.take(np.array([row]))
        inverse = np.linalg.inv(k(x, f, x, f) + np.diag(hyper.noises[f]))
        cross = k(one.mixtures, one.fidelity, x, f)[0]
        level = posterior.location[one.fidelity] + posterior.unit * expected(
            one.mixtures, one.fidelity
        )
        level_of_some = posterior.location[f] + posterior.unit * expected(x, f)
        standard = one.values - level
        mean = cross @ inverse @ (some.values - level_of_some)
        own = k(one.mixtures, one.fidelity, one.mixtures, one.fidelity)[0, 0]
        variance = own - cross @ inverse @ cross + hyper.noises[one.fidelity[0]]
        missed = (standard[0] - mean) / posterior.unit / np.sqrt(variance)
        assert residuals[row] == pytest.approx(missed, rel=1e-5)


@pytest.mark.parametrize("correlation", [0.98, 0.3])
def test_correlation_and_scale_of_a_fidelity_are_learned(correlation):
    learned = [fit(make_runs(seed, 150, correlation)[0], TWO).hyperparameters for seed in range(6)]
    found = np.median([one.correlation(0, 1) for one in learned])
    assert found > 0.9 if correlation > 0.9 else found < 0.75
    ratios = [np.sqrt(one.signal[0, 0] / one.signal[1, 1]) for one in learned]
    assert 1.5 < np.median(ratios) < 6


def test_a_domain_that_does_not_matter_has_a_longer_length():
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(4), 80)
    values = np.sin(8 * np.sqrt(mixtures[:, 0])) + 0.02 * rng.normal(size=80)
    runs = Observations.of(mixtures, np.zeros(80, dtype=int), values)
    lengths = fit(runs, OneFactor(1, 0)).hyperparameters.lengths
    assert lengths[0] < 0.6 * lengths[1:].min()


def test_a_fidelity_that_was_never_run_is_predicted_through_the_others():
    observations, truth = make_runs(runs=80)
    posterior = fit(observations.take(np.flatnonzero(observations.fidelity == 0)), TWO)
    at_target = np.ones(80, dtype=int)
    mean = posterior.mean(observations.mixtures, at_target)
    assert np.corrcoef(mean, truth)[0, 1] > 0.8
    spread = posterior.covariance(
        observations.mixtures, at_target, observations.mixtures, at_target
    )
    assert np.sqrt(np.diag(spread)).min() > posterior.unit  # its level is unknown


def test_level_and_unit_of_outcomes_change_nothing():
    observations, _ = make_runs()
    moved = replace(observations, values=1e3 + 1e-3 * observations.values)
    one, other = fit(observations, TWO), fit(moved, TWO)
    new, at = np.full((1, 4), 0.25), np.array([1])
    np.testing.assert_allclose(other.mean(new, at), 1e3 + 1e-3 * one.mean(new, at), rtol=1e-6)


def test_duplicated_mixtures_with_different_outcomes_are_noise():
    observations, _ = make_runs(runs=30, noise=0.5)
    twice = observations.with_runs(
        observations.mixtures, observations.fidelity, observations.values + 0.5
    )
    assert np.isfinite(fit(twice, TWO).mean(observations.mixtures, observations.fidelity)).all()


def test_noise_of_replicates_is_drawn_towards_that_of_their_fidelity():
    rng = np.random.default_rng(0)
    mixtures = np.repeat(rng.dirichlet(np.ones(3), 3), [6, 6, 1], axis=0)
    values = np.concatenate([rng.normal(0, 0.1, 6), 5 + rng.normal(0, 1.0, 6), [9.0]])
    runs = Observations.of(mixtures, np.zeros(13, dtype=int), values)
    quiet, loud, alone = with_noise_of_replicates(runs).noisiness[[0, 6, 12]]
    assert quiet < 0.6 < 1.0 == alone < 1.2 < loud
    variances = np.array([values[:6].var(ddof=1), values[6:12].var(ddof=1)])
    expected = (4 * variances.mean() + 5 * variances) / 9 / variances.mean()
    np.testing.assert_allclose([quiet, loud], expected)
    apart = replace(runs, fidelity=np.arange(13))
    np.testing.assert_array_equal(with_noise_of_replicates(apart).noisiness, 1.0)


def test_points_of_one_run_say_less_than_as_many_runs():
    observations, _ = make_runs(runs=40, noise=0.5)
    twice = observations.with_runs(
        observations.mixtures, observations.fidelity, observations.values
    )
    together = replace(twice, run=np.concatenate([observations.run, observations.run]))
    hyper = replace(fit(observations, TWO).hyperparameters, common=0.9)
    one, other = (condition(runs, TWO, hyper) for runs in (twice, together))
    new, at = np.random.default_rng(1).dirichlet(np.ones(4), 20), np.ones(20, dtype=int)
    assert (other.variance(new, at) > one.variance(new, at)).all()
    assert condition(observations, TWO, hyper).variance(new, at) == pytest.approx(
        other.variance(new, at), rel=0.2
    )


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_few_or_equal_outcomes_are_enough_for_a_posterior(runs):
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), runs)
    at = np.zeros(runs, dtype=int)
    posterior = fit(Observations.of(mixtures, at, np.full(runs, 2.0)), TWO)
    np.testing.assert_allclose(posterior.mean(mixtures, at), 2.0, atol=0.05)


def test_no_runs_are_refused():
    nothing = Observations.of(np.empty((0, 3)), np.empty(0, dtype=int), np.empty(0))
    with pytest.raises(InvalidInputError, match="no runs"):
        fit(nothing, OneFactor(1, 0))


def test_a_covariance_that_no_jitter_mends_is_an_error(monkeypatch):
    from scipy.linalg import LinAlgError

    def broken(*_, **__):
        raise LinAlgError

    observations, _ = make_runs(runs=10)
    monkeypatch.setattr(model, "cholesky", broken)
    with pytest.raises(FitDidNotConvergeError, match="not positive definite"):
        fit(observations, TWO)
    monkeypatch.setattr(likelihood, "cholesky", broken)
    with pytest.raises(FitDidNotConvergeError, match="found no positive definite"):
        fit(observations, TWO)
