"""What a run shows beyond the law: luck, or its mixture's own."""

import numpy as np
import pytest

from mixwright.bayesopt.acquisition import KnowledgeGradient
from mixwright.bayesopt.botorch_model import to_botorch
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.learning import learn
from mixwright.bayesopt.model import fit
from mixwright.bayesopt.observations import Observations

TWO = OneFactor(2, 1)
TARGET = 1


def make_runs(count=40, beyond=0.3, replicates=1, own=0.0):
    """Runs of a law, and beyond it a deviation of which the share `own` is the mixture's."""
    rng = np.random.default_rng(4)
    mixtures, fidelity = rng.dirichlet(np.ones(3), count), np.arange(count) % 2
    of_mixture = np.sqrt(own) * rng.normal(size=count)
    rows = np.repeat(np.arange(count), replicates)
    luck = np.sqrt(1.0 - own) * rng.normal(size=len(rows))
    values = mixtures[rows] @ [0.0, 1.0, 2.0] + beyond * (of_mixture[rows] + luck)
    return Observations.of(mixtures[rows], fidelity[rows], values)


def at(fidelity, mixtures):
    return mixtures, np.full(len(mixtures), fidelity)


def test_without_replicates_half_of_what_a_run_shows_is_its_mixtures_own():
    runs = make_runs()
    posterior = fit(runs, TWO)
    assert posterior.hyperparameters.roughness == pytest.approx(0.5, abs=1e-6)
    law = posterior.of_law()
    of_law = law.mean(runs.mixtures, runs.fidelity)
    found = posterior.mean(runs.mixtures, runs.fidelity)
    np.testing.assert_allclose(found, 0.5 * (of_law + runs.values), rtol=1e-5)


def test_other_mixtures_and_fidelities_have_the_law_alone():
    runs = make_runs()
    posterior = fit(runs, TWO)
    new = np.random.default_rng(0).dirichlet(np.ones(3), 6)
    for cells in (at(TARGET, new), at(TARGET, runs.mixtures[::2])):
        np.testing.assert_allclose(posterior.mean(*cells), posterior.of_law().mean(*cells))
    of_a_run = posterior.variance(*at(TARGET, new)) + posterior.noise(np.full(6, TARGET))
    by_law = posterior.of_law()
    expected = by_law.variance(*at(TARGET, new)) + by_law.noise(np.full(6, TARGET))
    np.testing.assert_allclose(of_a_run, expected)


@pytest.mark.parametrize(("own", "low", "high"), [(0.95, 0.8, 1.0), (0.0, 0.0, 0.2)])
def test_replicates_tell(own, low, high):
    runs = make_runs(count=60, replicates=3, own=own)
    found = learn(runs, TWO).posterior
    assert low <= found.hyperparameters.roughness <= high


def test_a_run_that_was_added_is_known_as_one_that_was_there():
    runs = make_runs(41)
    first = fit(runs.take(np.arange(40)), TWO)
    last = runs.take(np.array([40]))
    added = first.given(last.mixtures, last.fidelity, last.values)
    step = added.mean(last.mixtures, last.fidelity) - added.of_law().mean(
        last.mixtures, last.fidelity
    )
    beyond = last.values - added.of_law().mean(last.mixtures, last.fidelity)
    np.testing.assert_allclose(step, 0.5 * beyond, rtol=1e-6)


def test_the_more_runs_differ_beyond_the_law_the_more_target_runs_are_worth():
    runs = make_runs()
    posterior = fit(runs, TWO)
    pool = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    worth = KnowledgeGradient(posterior, pool).of_single_runs(*at(TARGET, pool))
    by_law = KnowledgeGradient(posterior.of_law(), pool).of_single_runs(*at(TARGET, pool))
    assert (worth > by_law).all()


def test_botorch_is_told():
    import torch

    posterior = fit(make_runs(), TWO)
    runs = posterior.observations
    cells = np.column_stack([runs.mixtures, runs.fidelity])[:6]
    told = to_botorch(posterior).posterior(torch.from_numpy(cells))
    mean = posterior.mean(runs.mixtures[:6], runs.fidelity[:6])
    np.testing.assert_allclose(-told.mean[:, 0].detach().numpy(), mean, rtol=1e-5)
    variance = posterior.variance(runs.mixtures[:6], runs.fidelity[:6])
    np.testing.assert_allclose(told.variance[:, 0].detach().numpy(), variance, rtol=1e-4)
