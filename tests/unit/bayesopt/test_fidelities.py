from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.bayesopt.fidelities import MEAN_VARIANCE, OneFactor, OverScale
from mixwright.bayesopt.kernel import Hyperparameters, features
from mixwright.bayesopt.likelihood import Problem, cost_and_gradient, noise_covariance, unpack
from mixwright.bayesopt.model import fit
from mixwright.bayesopt.observations import Observations

SCALES = np.array([[-2.0, -1.0], [-1.0, -1.5], [-1.0, -0.5], [0.0, 0.0]])
STRUCTURES = [OneFactor(4, 3), OneFactor(4, 0), OverScale(SCALES, 3), OverScale(-SCALES, 3)]
seeds = st.integers(0, 2**32 - 1)


def make_problem(structure, seed, runs=16, shared=False):
    """Runs at random fidelities; if `shared`, about three points of each run's loss curve."""
    rng = np.random.default_rng(seed)
    rooted = features(rng.dirichlet(np.ones(3), runs))
    return Problem(
        rooted=rooted,
        centre=rooted.mean(axis=0),
        fidelity=rng.integers(0, 4, runs),
        values=rng.normal(size=runs),
        noisiness=rng.uniform(0.3, 3.0, runs),
        run=rng.integers(0, runs // 3, runs) if shared else np.arange(runs),
        structure=structure,
    )


def theta_of(ranges, seed, width=1.0):
    """A draw from the priors, within the bounds."""
    draws = np.random.default_rng(seed).normal(size=len(ranges.median))
    return np.clip(ranges.median + width * ranges.spread * draws, ranges.low, ranges.high)


def hyperparameters(signal, noises):
    return Hyperparameters(np.full(3, 0.5), np.ones(3), 1.0, signal, noises)


@pytest.mark.parametrize("kind", ["runs", "curves", "replicates"])
@pytest.mark.parametrize("structure", [STRUCTURES[1], STRUCTURES[2]])
@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_the_gradient_is_that_of_the_cost_in_either_structure(structure, kind, seed):
    problem = make_problem(structure, seed, shared=kind == "curves")
    if kind == "replicates":
        twice = np.repeat(np.arange(len(problem.run))[::2], 2)
        same = {"rooted": problem.rooted[twice], "fidelity": problem.fidelity[twice]}
        problem = replace(problem, **same)
        assert problem.is_replicate is not None
    ranges = problem.ranges
    theta = theta_of(ranges, seed, 0.5)
    _, gradient = cost_and_gradient(theta, problem, ranges)
    step = 1e-4
    for i, unit in enumerate(np.eye(len(theta))):
        ahead = cost_and_gradient(theta + step * unit, problem, ranges)[0]
        behind = cost_and_gradient(theta - step * unit, problem, ranges)[0]
        assert gradient[i] == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("structure", STRUCTURES)
@given(seed=seeds)
def test_the_covariance_of_fidelities_is_positive_semidefinite_within_all_bounds(structure, seed):
    ranges = structure.ranges
    theta = np.random.default_rng(seed).uniform(ranges.low, ranges.high)
    signal, noises = structure.unpack(theta)
    np.testing.assert_array_equal(signal, signal.T)
    roots = np.sqrt(np.diag(signal))
    assert np.linalg.eigvalsh(signal / np.outer(roots, roots)).min() > -1e-9
    assert (noises > 0).all()
    assert np.linalg.eigvalsh(structure.means).min() > -1e-9 * MEAN_VARIANCE


@given(seed=seeds, common=st.floats(0.0, 1.0))
def test_noise_that_points_of_a_run_share_is_positive_semidefinite(seed, common):
    problem = make_problem(STRUCTURES[2], seed, shared=True)
    hyper = replace(unpack(problem.ranges.median, problem), common=common)
    noise = noise_covariance(hyper, problem)
    variances = hyper.noises[problem.fidelity] * problem.noisiness
    np.testing.assert_allclose(np.diag(noise), variances)
    assert np.linalg.eigvalsh(noise).min() > -1e-9 * variances.max()
    correlations = noise / np.sqrt(np.outer(variances, variances))
    same = problem.run[:, None] == problem.run[None]
    np.testing.assert_allclose(correlations[~same], 0.0)
    np.testing.assert_allclose(correlations[same & ~np.eye(16, dtype=bool)], common, atol=1e-12)


@pytest.mark.parametrize("target", [0, 2])
@given(seed=seeds)
def test_one_factor_survives_packing(target, seed):
    structure = OneFactor(3, target)
    theta = theta_of(structure.ranges, seed)
    signal, noises = structure.unpack(theta)
    found = structure.pack(hyperparameters(signal, noises))
    again = structure.unpack(found)
    np.testing.assert_allclose(again[0], signal, rtol=1e-6)
    np.testing.assert_allclose(again[1], noises, rtol=1e-6)
    for own in (found[1:4], found[7:10]):  # beside what scales, and noises, have in common
        assert abs(own.mean()) < 1e-9
    np.testing.assert_allclose(np.sqrt(np.diag(signal)), np.exp(theta[0] + theta[1:4]))
    correlations = signal[:, target] / np.sqrt(np.diag(signal) * signal[target, target])
    assert correlations[target] == 1.0


@settings(deadline=None)
@given(seed=seeds)
def test_laws_over_scale_survive_packing(seed):
    structure = OverScale(SCALES, 3)
    theta = theta_of(structure.ranges, seed)
    signal, noises = structure.unpack(theta)
    found = structure.pack(hyperparameters(signal, noises))
    again = structure.unpack(found)
    np.testing.assert_allclose(again[0], signal, rtol=1e-3)
    np.testing.assert_allclose(again[1], noises, rtol=1e-8)


@pytest.mark.parametrize("decades", [[[-1.0, -1.0], [0.0, 0.0]], [[0.0, -2.0], [0.0, 0.0]]])
def test_what_fidelities_leave_open_is_packed_as_the_prior_has_it(decades):
    """Tokens and parameters that grow together, or parameters that never change."""
    structure = OverScale(np.array(decades), 1)
    theta = theta_of(structure.ranges, 1)
    signal, noises = structure.unpack(theta)
    found = structure.pack(hyperparameters(signal, noises))
    np.testing.assert_allclose(structure.unpack(found)[0], signal, rtol=1e-5)
    if decades[0][0] == 0.0:
        unknown = [1, 3, 6]
        np.testing.assert_allclose(found[unknown], structure.ranges.median[unknown], atol=1e-6)
    else:
        assert found[3] == pytest.approx(found[4], abs=1e-6)


def test_correlation_over_scale_falls_with_every_decade_between():
    decades = np.array([[-2.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    structure = OverScale(decades, 3)
    theta = structure.ranges.median.copy()
    theta[3:5] = np.log([0.3, 0.1])
    hyper = hyperparameters(*structure.unpack(theta))
    assert hyper.correlation(0, 3) == pytest.approx(np.exp(-0.6))
    assert hyper.correlation(1, 3) == pytest.approx(np.exp(-0.3))
    assert hyper.correlation(2, 3) == pytest.approx(np.exp(-0.1))
    assert hyper.correlation(0, 2) == pytest.approx(np.exp(-0.7))


def test_means_of_near_fidelities_go_together_over_scale():
    means = OverScale(SCALES, 3).means
    np.testing.assert_allclose(np.diag(means), MEAN_VARIANCE)
    assert means[0, 3] < means[1, 3] < means[2, 3] < MEAN_VARIANCE
    np.testing.assert_array_equal(OneFactor(3, 0).means, MEAN_VARIANCE * np.eye(3))


def scaling_world(seed=0, seen=(0, 1, 2), runs=40):
    """Losses that fall by .5 a decade, over mixtures that matter the less alike the further."""
    decades = np.array([[-3.0, 0.0], [-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    rng = np.random.default_rng(seed)
    mixtures, fidelity = rng.dirichlet(np.ones(3), runs), rng.choice(seen, runs)
    shared, own = rng.normal(size=3), rng.normal(size=3)

    def outcome(mixtures, fidelity):
        away = -decades[fidelity, 0]
        turned = np.sqrt(mixtures) @ shared + 0.15 * away * (np.sqrt(mixtures) @ own)
        return 3 + 0.5 * away + 0.1 * turned

    values = outcome(mixtures, fidelity) + 0.005 * rng.normal(size=runs)
    new = rng.dirichlet(np.ones(3), 30)
    return Observations.of(mixtures, fidelity, values), decades, new, outcome


def test_the_level_of_a_fidelity_without_a_run_is_extrapolated_along_the_scale():
    for seed in range(3):
        observations, decades, new, outcome = scaling_world(seed)
        posterior = fit(observations, OverScale(decades, 3))
        at_target = np.full(30, 3)
        truth, mean = outcome(new, at_target), posterior.mean(new, at_target)
        assert abs(mean.mean() - truth.mean()) < 0.15  # .5 from the nearest that was run
        assert np.corrcoef(mean, truth)[0, 1] > 0.8
        flat = fit(observations, OneFactor(4, 3)).mean(new, at_target)
        assert abs(flat.mean() - truth.mean()) > 0.7


def test_what_is_known_of_a_fidelity_without_a_run_falls_with_its_distance():
    observations, decades, new, _ = scaling_world(seen=(2, 3))
    posterior = fit(observations, OverScale(decades, 3))
    hyper = posterior.hyperparameters
    correlations = [hyper.correlation(fidelity, 3) for fidelity in range(4)]
    assert correlations == sorted(correlations)
    assert correlations[0] < correlations[2] < correlations[3] == 1.0
    uncertain = [posterior.variance(new, np.full(30, fidelity)).mean() for fidelity in (0, 1, 2)]
    assert uncertain[0] > uncertain[1] > uncertain[2]


def test_a_level_is_only_extrapolated_where_more_than_one_scale_was_seen():
    structure = OverScale(SCALES, 3)
    medians = np.array([5.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(structure.locate(medians, np.array([0])), 5.0)
    medians = np.array([5.0, 4.0, 3.5, 3.2])
    np.testing.assert_array_equal(structure.locate(medians, np.arange(4)), medians)
    plane = 3.0 - SCALES @ np.array([0.5, 0.2])
    seen = np.where(np.arange(4) < 3, plane, 0.0)
    np.testing.assert_allclose(structure.locate(seen, np.arange(3)), plane)
    found = OneFactor(3, 2).locate(np.array([4.0, 5.0, 0.0]), np.array([0, 1]))
    np.testing.assert_array_equal(found, [4.0, 5.0, 4.5])
