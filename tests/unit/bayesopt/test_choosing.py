import numpy as np
import pytest

from mixwright.bayesopt.acquisition import KnowledgeGradient
from mixwright.bayesopt.choosing import (
    Cells,
    choose,
    choose_by_score,
    left_below_target,
    recommend,
)
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.model import fit
from mixwright.bayesopt.observations import Observations
from mixwright.errors import InvalidInputError


def world(correlation, seed=0, runs=40, targets=4, noise=0.02):
    """What is known after runs of two fidelities, the target's last."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(4), runs)
    fidelity = np.where(np.arange(runs) < runs - targets, 0, 1)
    shared, own = (rng.normal(size=4) for _ in range(2))
    low = correlation * shared + np.sqrt(1 - correlation**2) * own
    rooted = np.sqrt(mixtures)
    values = np.where(fidelity == 1, rooted @ shared, rooted @ low) + noise * rng.normal(size=runs)
    posterior = fit(Observations.of(mixtures, fidelity, values), OneFactor(2, 1))
    return KnowledgeGradient(posterior, rng.dirichlet(np.ones(4), 30))


def cells_of(value):
    pool = value.target_pool
    return Cells(np.vstack([pool, pool]), np.repeat([0, 1], len(pool)))


def test_the_value_of_a_run_is_that_of_simulated_outcomes():
    value = world(0.9, noise=0.3)
    posterior, pool, fidelity = value.belief, value.target_pool, np.ones(1, dtype=int)
    at_target = np.ones(len(pool), dtype=int)
    mean = posterior.mean(pool, at_target)
    singles = value.of_single_runs(pool, at_target)
    for cell in (int(singles.argmax()), 3):
        one = pool[[cell]]
        slope = posterior.covariance(pool, at_target, one, fidelity)[:, 0]
        variance = (posterior.variance(one, fidelity) + posterior.noise(fidelity))[0]
        draws = np.random.default_rng(0).normal(0, np.sqrt(variance), 100_000)
        draws = np.concatenate([draws, -draws])
        best = (mean[:, None] + slope[:, None] * draws / variance).min(axis=0).mean()
        assert singles[cell] == pytest.approx(mean.min() - best, rel=0.15, abs=1e-5)
    assert singles.max() > 1e-3


def test_variances_are_those_of_the_posterior():
    value = world(0.9)
    posterior, pool = value.belief, value.target_pool
    fidelity = np.arange(len(pool)) % 2
    exact = np.diag(posterior.covariance(pool, fidelity, pool, fidelity))
    np.testing.assert_allclose(posterior.variance(pool, fidelity), exact, rtol=1e-6)


def test_a_block_of_one_is_a_single_run():
    value = world(0.9, noise=0.3)
    pool, at_target = value.target_pool, np.ones(30, dtype=int)
    best = [int(value.of_single_runs(pool, at_target).argmax())]
    single = value.of_single_runs(pool[best], at_target[best])[0]
    blocks = [value.of_block(pool[best], at_target[best], seed) for seed in range(8)]
    assert np.mean(blocks) == pytest.approx(single, rel=0.2)
    assert single > 1e-3


def test_more_runs_are_worth_more_up_to_knowing_everything():
    value = world(0.9, runs=8, noise=0.3)
    pool = value.target_pool
    values = [value.of_block(pool[:size], np.zeros(size, dtype=int), 0) for size in (1, 4, 16)]
    assert values[0] < values[1] < values[2]
    assert values[2] < value.of_block(pool, np.ones(len(pool), dtype=int), seed=0)


def test_cheap_runs_are_chosen_where_they_tell_and_left_where_they_do_not():
    chosen = {}
    for correlation in (0.99, 0.05):
        picks = []
        for seed in range(6):
            value = world(correlation, seed, runs=24, targets=12, noise=0.2)
            choice = choose(value, cells_of(value), np.array([0.05, 1.0]), seed)
            picks.append(choice.gains[0] / (choice.gains[1] + 1e-12))
        chosen[correlation] = np.median(picks)
    assert chosen[0.99] > chosen[0.05]
    assert chosen[0.05] < 1


def test_the_hedge_bounds_what_is_spent_below_the_target():
    value = world(0.99, runs=20, targets=2)  # 18 cheap runs of .2, two of 1
    costs = np.array([0.2, 1.0])
    assert left_below_target(value.ran, costs, 1) == pytest.approx(-0.6)
    choice = choose(value, cells_of(value), costs, 0)
    assert choice.index >= len(value.target_pool)
    assert np.isnan(choice.gains[0])
    assert choice.gain == choice.gains[1]
    only_cheap = Cells(value.target_pool, np.zeros(len(value.target_pool), dtype=int))
    assert choose(value, only_cheap, costs, 0).gains[0] >= 0


def test_points_of_loss_curves_cost_nothing():
    costs = np.array([0.2, 1.0])
    assert left_below_target(np.array([0, 2, 3, 1, 4, 5]), costs, 1) == pytest.approx(
        left_below_target(np.array([0, 1]), costs, 1)
    )


def test_a_twentieth_of_a_target_run_goes_to_the_cheapest_first():
    costs = np.array([0.001, 1.0])
    value = world(0.9, runs=40, targets=4)  # 36 cheap runs cost .036
    choice = choose(value, cells_of(value), costs, 0)
    assert choice.index < len(value.target_pool)
    assert np.isnan(choice.gains[1])
    value = world(0.9, runs=64, targets=4)  # 60 cost .06
    assert not np.isnan(choose(value, cells_of(value), costs, 0).gains[1])


def test_the_same_seed_gives_the_same_choice():
    value = world(0.9)
    costs = np.array([0.001, 1.0])
    first, again = (choose(value, cells_of(value), costs, 5) for _ in range(2))
    assert first.index == again.index
    np.testing.assert_array_equal(first.gains, again.gains)


def test_the_recommendation_is_the_lowest_mean_at_the_target():
    value = world(0.9, runs=80, targets=30)
    mean = value.belief.mean(value.target_pool, np.ones(30, dtype=int))
    assert recommend(value.belief, value.target_pool) == int(mean.argmin())


def test_a_score_is_compared_by_its_cost():
    value = world(0.9)
    cells, pool = cells_of(value), value.target_pool
    worth = np.linspace(0.0, 1.0, len(cells.fidelity))

    def score(belief, target_pool, mixtures, fidelity, seed):
        assert belief is value.belief
        assert target_pool is pool
        assert seed == 7
        return np.log(worth[: len(mixtures)] + 0.1)

    for costs in (np.array([0.2, 1.0]), np.array([1.0, 1.0])):
        by_cost = (worth + 0.1) / costs[cells.fidelity]
        found = choose_by_score(score, value.belief, pool, cells, costs, 7)
        assert found == int(by_cost.argmax())


def test_without_cells_there_is_nothing_to_choose():
    value = world(0.9)
    nothing = Cells(np.empty((0, 4)), np.empty(0, dtype=int))
    with pytest.raises(InvalidInputError, match="no cell"):
        choose(value, nothing, np.array([0.1, 1.0]), 0)
    with pytest.raises(InvalidInputError, match="no cell"):
        choose_by_score(None, value.belief, value.target_pool, nothing, np.array([0.1, 1.0]), 0)
