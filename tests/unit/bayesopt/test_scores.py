from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from mixwright.bayesopt.acquisition import KnowledgeGradient
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.model import condition, fit
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.scores import SCORES, expected_improvement, log_improvement

improvement, entropy = SCORES["expected_improvement"], SCORES["max_value_entropy"]


@dataclass(frozen=True)
class Normal:
    """A belief with given moments: `means` `(q,)` and `joint` `(2 q, 2 q)`, low fidelity first."""

    means: np.ndarray
    joint: np.ndarray
    noises: np.ndarray
    target = 1

    def _rows(self, mixtures, fidelity):
        return (mixtures @ np.arange(mixtures.shape[1])).astype(int) + len(self.means) * fidelity

    def mean(self, mixtures, fidelity):
        return np.tile(self.means, 2)[self._rows(mixtures, fidelity)]

    def covariance(self, left, left_fidelity, right, right_fidelity):
        return self.joint[
            np.ix_(self._rows(left, left_fidelity), self._rows(right, right_fidelity))
        ]

    def variance(self, mixtures, fidelity):
        return np.diag(self.joint)[self._rows(mixtures, fidelity)]

    def noise(self, fidelity):
        return self.noises[fidelity]


def normal(means, variances, correlation, noise=0.1):
    """Independent mixtures, the corners of a simplex; fidelities correlate within a mixture."""
    between = np.array([[1.0, correlation], [correlation, 1.0]])
    joint = np.kron(between, np.diag(variances).astype(float))
    return Normal(np.array(means, dtype=float), joint, np.array([noise, noise]))


def world(seed=0, runs=24, noise=0.1):
    rng = np.random.default_rng(seed)
    mixtures, fidelity = rng.dirichlet(np.ones(3), runs), np.arange(runs) % 3 // 2
    values = np.sqrt(mixtures) @ [1.0, 0.2, 0.6] + fidelity + noise * rng.normal(size=runs)
    posterior = fit(Observations.of(mixtures, fidelity, values), OneFactor(2, 1))
    return posterior, rng.dirichlet(np.ones(3), 40)


def above(z):
    """`phi(z) + z Phi(z)`: the integral of Phi up to z."""
    return quad(norm.cdf, -np.inf, z, epsabs=0.0, epsrel=1e-11)[0]


@pytest.mark.parametrize("z", [-25.0, -8.0, -3.0, -1.0 - 1e-9, -1.0, -0.5, 0.0, 2.0, 40.0])
def test_the_log_of_an_improvement_is_that_of_the_integral(z):
    expected = np.log(z) if z == 40.0 else np.log(above(z))
    assert log_improvement(np.array([z]))[0] == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("z", [-200.0, -999.0, -1001.0, -1e4, -1e5])
def test_the_log_of_a_hopeless_improvement_is_its_asymptotic_series(z):
    """log phi(z) - 2 log|z| + log(1 - 3/z² + 15/z⁴ - ...)."""
    series = 1 - 3 / z**2 + 15 / z**4
    expected = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-z) + np.log(series)
    found = log_improvement(np.array([z]))[0]
    assert found == pytest.approx(expected, rel=1e-12, abs=2e-4)


@given(st.floats(-1e5, 1e3), st.floats(1e-3, 1.0))
def test_the_log_of_an_improvement_grows(z, step):
    lower, higher = log_improvement(np.array([z, z + step * max(1.0, abs(z)) / 10]))
    assert np.isfinite([lower, higher]).all()
    assert lower < higher


def test_expected_improvement_is_the_textbooks_times_two_factors():
    belief = normal([0.0, 0.5, 2.0], [1.0, 0.3, 2.0], correlation=0.7, noise=0.2)
    corners = np.eye(3)
    for fidelity, correlation in ((0, 0.7), (1, 1.0)):
        found = improvement(belief, corners, corners, np.full(3, fidelity), 0)
        for row in range(3):
            mean, std = belief.means[row], np.sqrt(belief.joint[row, row])
            # the best mean is 0; `mean` and `std` are bound now
            plain = quad(lambda y, m=mean, s=std: -y * norm.pdf(y, m, s), -12, 0, epsabs=1e-13)[0]
            kept = 1 - np.sqrt(0.2 / (0.2 + std**2))
            assert found[row] == pytest.approx(np.log(plain * correlation * kept), rel=1e-7)


def test_a_fidelity_without_correlation_is_worth_nothing():
    belief, corners, low = normal([0, 1], [1, 1], correlation=0.0), np.eye(2), np.zeros(2, int)
    for score in SCORES.values():
        at_target = score(belief, corners, corners, low + 1, 0)
        assert (score(belief, corners, corners, low, 0) < at_target - 15).all()
    assert (improvement(belief, corners, corners, low, 0) < -600).all()
    assert (entropy(belief, corners, corners, low, 0) < -30).all()


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_what_is_told_of_the_minimum_is_that_of_simulated_outcomes(correlation):
    """The divergence of an outcome's law, given that it is above a minimum, from its law."""
    noise, variance = 0.25, 1.0
    belief = normal([0.3, 0.8], [variance, 1e-8], correlation, noise)
    pool, cell = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])  # the minimum is .8, for certain
    found = np.exp(entropy(belief, pool, cell, np.array([0]), 0)[0])
    rng = np.random.default_rng(0)
    truth = 0.3 + rng.normal(size=2_000_000)
    outcome = 0.3 + correlation * (truth - 0.3)
    outcome += np.sqrt(1 - correlation**2 + noise) * rng.normal(size=len(truth))
    edges = np.linspace(-5, 6, 221)
    every = np.histogram(outcome, edges)[0] / len(truth)
    given_above = np.histogram(outcome[truth >= 0.8], edges)[0] / (truth >= 0.8).sum()
    seen = given_above > 0
    told = np.sum(given_above[seen] * np.log(given_above[seen] / every[seen]))
    assert found == pytest.approx(told, rel=0.01, abs=2e-4)


def test_what_an_exact_target_run_tells_is_the_chance_of_being_above_the_minimum():
    pool, cell = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    for mean in (-4.0, 0.3, 0.8, 2.5):  # the minimum is .8
        belief = normal([mean, 0.8], [1.0, 1e-8], 0.9, noise=0.0)
        found = np.exp(entropy(belief, pool, cell, np.array([1]), 0)[0])
        assert found == pytest.approx(-norm.logsf(0.8, mean), rel=0.03)


@pytest.mark.parametrize("mean", [-2.0, 0.8, 2.0])
@pytest.mark.parametrize("correlation", [0.2, 0.69, 0.71, 0.95, 0.99])
def test_what_is_told_is_the_integral_over_outcomes(mean, correlation):
    belief = normal([mean, 0.8], [1.0, 1e-8], correlation, noise=0.0)
    pool, cell = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    found = np.exp(entropy(belief, pool, cell, np.array([0]), 0)[0])
    g, spread = mean - 0.8, np.sqrt(1 - correlation**2)

    def told(z):
        ratio = norm.logcdf((g + correlation * z) / spread) - norm.logcdf(g)
        return np.exp(norm.logpdf(z) + ratio) * ratio

    step = -g / correlation
    points = [step - spread, step, step + spread]
    expected = quad(told, -12, 12, points=points, limit=500, epsabs=1e-12)[0]
    assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_what_runs_tell_is_never_negative_and_grows_with_less_noise(seed):
    posterior, pool = world(seed)
    posterior, fidelity = posterior.of_law(), np.arange(40) % 2
    told = entropy(posterior, pool, pool, fidelity, seed)
    assert np.isfinite(told).all()
    assert (told >= np.log(1e-300)).all()
    assert told.max() > np.log(1e-6)
    hyper = replace(posterior.hyperparameters, noises=0.3 * posterior.hyperparameters.noises)
    wide = condition(posterior.observations, posterior.structure, hyper)
    same = replace(posterior, hyperparameters=hyper)  # the posterior of before; less noise to come
    assert wide.noise(np.array([1]))[0] == same.noise(np.array([1]))[0]
    worth = np.exp(told) > 1e-6
    assert (entropy(same, pool, pool, fidelity, seed) > told)[worth].all()


@pytest.mark.parametrize("name", SCORES)
def test_the_obvious_best_cell_comes_first(name):
    """The mixture with the lowest mean and the most to learn, at the target."""
    belief = normal([2.0, 1.9, -0.5, 2.0], [0.2, 0.1, 1.5, 0.2], correlation=0.6)
    corners = np.eye(4)
    cells, fidelity = np.vstack([corners, corners]), np.repeat([0, 1], 4)
    worth = SCORES[name](belief, corners, cells, fidelity, 3)
    assert worth.shape == (8,)
    assert worth.argmax() == 6
    assert worth[:4].argmax() == 2


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_the_same_twice_and_of_each_cell_by_itself(name):
    posterior, pool = world()
    fidelity = np.arange(40) % 2
    cells = np.tile(pool, (4, 1))
    worth = SCORES[name](posterior, pool, cells, np.tile(fidelity, 4), 5)
    again = SCORES[name](posterior, pool, cells, np.tile(fidelity, 4), 5)
    np.testing.assert_array_equal(worth, again)
    few = SCORES[name](posterior, pool, pool[:7], fidelity[:7], 5)
    np.testing.assert_allclose(worth[120:127], few, rtol=1e-6)


def test_the_score_of_the_knowledge_gradient_is_its_log():
    posterior, pool = world()
    fidelity = np.ones(40, dtype=int)
    value = KnowledgeGradient(posterior, pool).of_single_runs(pool, fidelity)
    found = SCORES["knowledge_gradient"](posterior, pool, pool, fidelity, 0)
    np.testing.assert_allclose(np.exp(found), value)


def test_improvement_far_below_the_smallest_number_still_ranks():
    belief = normal([0.0, 50.0, 60.0], [1e-4, 1.0, 1.0], 0.9)
    corners = np.eye(3)
    worth = expected_improvement(belief, corners, corners, np.ones(3, dtype=int), 0)
    assert worth[2] < worth[1] < -1000
