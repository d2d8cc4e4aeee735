import numpy as np
import pytest

from mixwright.bayesopt.acquisition import value_of_block, values_of_single_runs, variances
from mixwright.bayesopt.choosing import Cells, choose, recommend, spending_below_target
from mixwright.bayesopt.model import Observations, fit
from mixwright.errors import InvalidInputError


def world(correlation, seed=0, runs=40, targets=4, noise=0.02):
    """A posterior after runs of two fidelities, the target's last."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(4), runs)
    fidelity = np.where(np.arange(runs) < runs - targets, 0, 1)
    shared, own = (rng.normal(size=4) for _ in range(2))
    low = correlation * shared + np.sqrt(1 - correlation**2) * own
    rooted = np.sqrt(mixtures)
    values = np.where(fidelity == 1, rooted @ shared, rooted @ low) + noise * rng.normal(size=runs)
    return fit(Observations(mixtures, fidelity, values), 2, 1), rng.dirichlet(np.ones(4), 30)


def cells_of(pool):
    return Cells(np.vstack([pool, pool]), np.repeat([0, 1], len(pool)))


def test_the_value_of_a_run_is_that_of_simulated_outcomes():
    posterior, pool = world(0.9)
    fidelity = np.ones(1, dtype=int)
    value = values_of_single_runs(posterior, pool, pool[:1], fidelity)[0]
    at_target = np.ones(len(pool), dtype=int)
    mean = posterior.mean(pool, at_target)
    slope = posterior.covariance(pool, at_target, pool[:1], fidelity)[:, 0]
    outcome_variance = variances(posterior, pool[:1], fidelity)[0]
    draws = np.random.default_rng(0).normal(0, np.sqrt(outcome_variance), 200_000)
    best = (mean[:, None] + slope[:, None] * draws / outcome_variance).min(axis=0).mean()
    assert value == pytest.approx(mean.min() - best, rel=0.05, abs=1e-5)


def test_variances_are_those_of_the_posterior_and_noise():
    posterior, pool = world(0.9)
    fidelity = np.arange(len(pool)) % 2
    exact = np.diag(posterior.covariance(pool, fidelity, pool, fidelity))
    np.testing.assert_allclose(
        variances(posterior, pool, fidelity), exact + posterior.noise(fidelity), rtol=1e-6
    )


def test_a_block_of_one_is_a_single_run():
    posterior, pool = world(0.9)
    single = values_of_single_runs(posterior, pool, pool[3:4], np.array([1]))[0]
    block = value_of_block(posterior, pool, pool[3:4], np.array([1]), seed=1)
    assert block == pytest.approx(single, rel=0.2, abs=1e-4)


def test_more_runs_are_worth_more_up_to_knowing_everything():
    posterior, pool = world(0.9, runs=8, noise=0.3)
    values = [
        value_of_block(posterior, pool, pool[:size], np.zeros(size, dtype=int), seed=0)
        for size in (1, 4, 16)
    ]
    assert values[0] < values[1] < values[2]
    everything = value_of_block(posterior, pool, pool, np.ones(len(pool), dtype=int), seed=0)
    assert values[2] < everything


def test_cheap_runs_are_chosen_where_they_tell_and_left_where_they_do_not():
    chosen = {}
    for correlation in (0.99, 0.05):
        picks = []
        for seed in range(6):
            posterior, pool = world(correlation, seed, runs=24, targets=12, noise=0.2)
            choice = choose(posterior, cells_of(pool), np.array([0.05, 1.0]), pool, seed)
            picks.append(choice.gains[0] / (choice.gains[1] + 1e-12))
        chosen[correlation] = np.median(picks)
    assert chosen[0.99] > chosen[0.05]
    assert chosen[0.05] < 1


def test_the_hedge_bounds_what_is_spent_below_the_target():
    posterior, pool = world(0.99, runs=20, targets=2)  # 18 cheap runs of .2, two of 1
    costs = np.array([0.2, 1.0])
    assert spending_below_target(posterior.observations, costs, 1) == pytest.approx(-0.6)
    choice = choose(posterior, cells_of(pool), costs, pool, 0)
    assert choice.index >= len(pool)
    assert np.isnan(choice.gains[0])
    only_cheap = Cells(pool, np.zeros(len(pool), dtype=int))
    assert choose(posterior, only_cheap, costs, pool, 0).gains[0] >= 0


def test_a_twentieth_of_a_target_run_goes_to_the_cheapest_first():
    costs = np.array([0.001, 1.0])
    posterior, pool = world(0.9, runs=40, targets=4)  # 36 cheap runs cost .036
    choice = choose(posterior, cells_of(pool), costs, pool, 0)
    assert choice.index < len(pool)
    assert np.isnan(choice.gains[1])
    posterior, pool = world(0.9, runs=64, targets=4)  # 60 cost .06
    assert not np.isnan(choose(posterior, cells_of(pool), costs, pool, 0).gains[1])


def test_the_same_seed_gives_the_same_choice():
    posterior, pool = world(0.9)
    costs = np.array([0.001, 1.0])
    first, again = (choose(posterior, cells_of(pool), costs, pool, 5) for _ in range(2))
    assert first.index == again.index
    np.testing.assert_array_equal(first.gains, again.gains)


def test_the_recommendation_is_the_lowest_mean_at_the_target():
    posterior, pool = world(0.9, runs=80, targets=30)
    mean = posterior.mean(pool, np.ones(len(pool), dtype=int))
    assert recommend(posterior, pool) == int(mean.argmin())


def test_without_cells_there_is_nothing_to_choose():
    posterior, pool = world(0.9)
    nothing = Cells(np.empty((0, 4)), np.empty(0, dtype=int))
    with pytest.raises(InvalidInputError, match="no cell"):
        choose(posterior, nothing, np.array([0.1, 1.0]), pool, 0)
