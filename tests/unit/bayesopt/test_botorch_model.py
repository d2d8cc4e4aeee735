import warnings
from dataclasses import replace

import numpy as np
import pytest

from mixwright.bayesopt.fidelities import OneFactor, OverScale
from mixwright.bayesopt.model import fit
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.robust import fit_robustly
from mixwright.bayesopt.sparse import condition_sparsely
from mixwright.errors import InvalidInputError

pytest.importorskip("botorch")

import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.optim import optimize_acqf
from botorch.sampling import SobolQMCNormalSampler

from mixwright.bayesopt.botorch_model import to_botorch

NEW, AT = np.random.default_rng(9).dirichlet(np.ones(3), 8), np.arange(8) % 2


def make_runs(count=30, seed=0, unit=1.0):
    rng = np.random.default_rng(seed)
    mixtures, fidelity = rng.dirichlet(np.ones(3), count), np.arange(count) % 3 // 2
    values = np.sqrt(mixtures) @ [1.0, 0.2, 0.6] + fidelity + 0.05 * rng.normal(size=count)
    return Observations(
        mixtures, fidelity, unit * values, rng.uniform(0.5, 2.0, count), np.arange(count)
    )


def inputs(mixtures, fidelity):
    return torch.from_numpy(np.column_stack([mixtures, fidelity]))


def moments(model, mixtures, fidelity):
    """Mean and covariance, as `mixwright` has them: lower is better."""
    with torch.no_grad():
        posterior = model.posterior(inputs(mixtures, fidelity))
    return -posterior.mean[:, 0].numpy(), posterior.distribution.covariance_matrix.numpy()


def assert_same(model, posterior, mixtures=NEW, fidelity=AT):
    mean, covariance = moments(model, mixtures, fidelity)
    unit = posterior.unit
    np.testing.assert_allclose(mean, posterior.mean(mixtures, fidelity), atol=1e-5 * unit)
    expected = posterior.covariance(mixtures, fidelity, mixtures, fidelity)
    np.testing.assert_allclose(covariance, expected, atol=1e-5 * unit**2)
    np.testing.assert_allclose(
        np.diag(covariance), posterior.variance(mixtures, fidelity), rtol=1e-4
    )


@pytest.mark.parametrize("structure", [OneFactor(2, 1), OverScale(np.array([[-2, -1], [0, 0]]), 1)])
@pytest.mark.parametrize("unit", [1.0, 0.02])
def test_it_has_the_moments_of_the_posterior(structure, unit):
    posterior = fit(make_runs(unit=unit), structure)
    model = to_botorch(posterior)
    assert_same(model, posterior)
    corners, at = np.eye(3), np.array([0, 1, 1])  # shares of zero
    assert_same(model, posterior, corners, at)
    assert_same(model, posterior, posterior.observations.mixtures, posterior.observations.fidelity)


def test_a_batch_of_sets_has_the_moments_of_each():
    posterior = fit(make_runs(), OneFactor(2, 1))
    model = to_botorch(posterior)
    with torch.no_grad():
        found = model.posterior(inputs(NEW, AT).reshape(4, 2, 4))
    for index in range(4):
        rows = slice(2 * index, 2 * index + 2)
        mean, covariance = moments(model, NEW[rows], AT[rows])
        np.testing.assert_allclose(-found.mean[index, :, 0].numpy(), mean, rtol=1e-8)
        np.testing.assert_allclose(
            found.distribution.covariance_matrix[index].numpy(), covariance, atol=1e-10
        )


def test_noise_smaller_than_gpytorch_likes_is_kept():
    runs = make_runs(unit=0.005)
    posterior = fit(replace(runs, noisiness=np.full(30, 0.1)), OneFactor(2, 1))
    noise = posterior.noise(runs.fidelity) * 0.1
    assert noise.max() < 1e-6
    model = to_botorch(posterior)
    np.testing.assert_allclose(model.likelihood.noise.numpy(), noise, rtol=1e-9)
    mean, _ = moments(model, NEW, AT)
    np.testing.assert_allclose(mean, posterior.mean(NEW, AT), atol=1e-4 * posterior.unit)


def test_outliers_have_no_weight_in_it():
    runs = make_runs(40)
    values = runs.values.copy()
    values[6] = 1e6
    posterior, outliers = fit_robustly(replace(runs, values=values), OneFactor(2, 1))
    assert len(outliers) == 1
    assert_same(to_botorch(posterior), posterior)


def test_runs_that_were_added_are_in_it():
    posterior = fit(make_runs(), OneFactor(2, 1))
    grown = posterior.given(NEW[:3], AT[:3], np.array([0.5, 1.5, 0.7]))
    assert_same(to_botorch(grown), grown)


def test_conditioning_in_botorch_is_conditioning_here():
    posterior = fit(make_runs(), OneFactor(2, 1))
    model = to_botorch(posterior)
    moments(model, NEW, AT)  # BoTorch conditions what has predicted
    values = np.array([0.5, 1.5, 0.7])
    with torch.no_grad():
        conditioned = model.condition_on_observations(
            inputs(NEW[:3], AT[:3]),
            torch.from_numpy(-values).unsqueeze(-1),
            noise=torch.from_numpy(posterior.noise(AT[:3])).unsqueeze(-1),
        )
    assert_same(conditioned, posterior.given(NEW[:3], AT[:3], values))


def test_fantasies_have_the_mean_of_the_posterior_and_less_variance():
    posterior = fit(make_runs(), OneFactor(2, 1))
    model = to_botorch(posterior)
    sampler = SobolQMCNormalSampler(torch.Size([256]), seed=0)
    with torch.no_grad():
        fantasies = model.fantasize(inputs(NEW[:2], AT[:2]), sampler)
        found = fantasies.posterior(inputs(NEW, AT))
    assert found.mean.shape == (256, 8, 1)
    deviations = np.sqrt(posterior.variance(NEW, AT))
    mean = -found.mean.mean(dim=0)[:, 0].numpy()
    np.testing.assert_allclose(mean, posterior.mean(NEW, AT), atol=0.05 * deviations.max())
    assert (found.variance[0, :, 0].numpy() < posterior.variance(NEW, AT)).all()


def test_means_and_variances_have_gradients_by_the_mixture():
    posterior = fit(make_runs(), OneFactor(2, 1))
    model = to_botorch(posterior)
    point = inputs(NEW[:1], AT[:1]).requires_grad_()
    for of, expected in (
        (lambda x: -model.posterior(x).mean.sum(), posterior.mean),
        (lambda x: model.posterior(x).variance.sum(), posterior.variance),
    ):
        (gradient,) = torch.autograd.grad(of(point), point)
        step = 1e-6
        for domain, unit in enumerate(np.eye(3)):
            ahead = expected(NEW[:1] + step * unit, AT[:1])[0]
            behind = expected(NEW[:1] - step * unit, AT[:1])[0]
            slope = (ahead - behind) / (2 * step)
            assert gradient[0, domain].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_the_gradient_is_finite_at_a_run_and_at_a_corner():
    posterior = fit(make_runs(), OneFactor(2, 1))
    model = to_botorch(posterior)
    runs = posterior.observations
    for mixtures in (runs.mixtures[:2], np.eye(3)[:2]):
        point = inputs(mixtures, runs.fidelity[:2]).requires_grad_()
        model.posterior(point).mean.sum().backward()
        assert torch.isfinite(point.grad).all()


@pytest.mark.slow
def test_botorch_optimises_over_the_simplex_at_the_target():
    posterior = fit(make_runs(), OneFactor(2, 1))
    model = to_botorch(posterior)
    pool = np.random.default_rng(3).dirichlet(np.ones(3), 300)
    at_target = np.ones(300, dtype=int)
    best = posterior.mean(pool, at_target).min()
    score = LogExpectedImprovement(model, best_f=-best)
    shares = torch.arange(3)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of BoTorch's own searches that stop early
        torch.default_generator.manual_seed(0)
        found, value = optimize_acqf(
            score,
            bounds=torch.tensor([[0.0, 0, 0, 1], [1, 1, 1, 1]], dtype=torch.double),
            q=1,
            num_restarts=2,
            raw_samples=16,
            equality_constraints=[(shares, torch.ones(3, dtype=torch.double), 1.0)],
            fixed_features={3: 1.0},
        )
    mixture = found[0, :3].numpy()
    assert found[0, 3] == 1.0
    assert mixture.sum() == pytest.approx(1.0, abs=1e-6)
    assert (mixture >= -1e-9).all()
    with torch.no_grad():
        at_pool = score(inputs(pool, at_target).unsqueeze(1)).max()
    assert value >= at_pool - 0.05


def test_an_approximation_has_no_botorch_model():
    runs = make_runs()
    exact = fit(runs, OneFactor(2, 1))
    sparse = condition_sparsely(runs, OneFactor(2, 1), exact.hyperparameters, 10)
    with pytest.raises(InvalidInputError, match="approximation"):
        to_botorch(sparse)
