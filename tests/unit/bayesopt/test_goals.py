from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("botorch")

from mixwright.bayesopt import kernel
from mixwright.bayesopt.acquisition import KnowledgeGradient
from mixwright.bayesopt.belief import WeightedSum
from mixwright.bayesopt.choosing import Cells, choose
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.goals import Bounded, GoalGradient, Pareto, WorstCase, target_means
from mixwright.bayesopt.hypervolume import boxes, hypervolume, improvement, is_on_front
from mixwright.bayesopt.model import fit
from mixwright.bayesopt.observations import Observations

ONES = np.ones(2)


def posteriors(seed=0, runs=24, noise=0.2, metrics=2, targets=3):
    """Metrics that pull in different directions, every `targets`-th run at the target."""
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(3), runs)
    fidelity = (np.arange(runs) % targets == 0).astype(int)
    slopes = np.array([[1.0, 0.2, 0.6], [0.1, 1.0, 0.5], [0.5, 0.6, 0.0]])[:metrics]
    parts = []
    for slope in slopes:
        values = np.sqrt(mixtures) @ slope + 0.3 * fidelity + noise * rng.normal(size=runs)
        parts.append(fit(Observations.of(mixtures, fidelity, values), OneFactor(2, 1)))
    return tuple(parts), rng.dirichlet(np.ones(3), 25)


def gradient(goal, parts, pool, seed=0):
    return GoalGradient(goal, parts, pool, parts[0].ran, seed)


def goals_of(parts, pool):
    """One of each kind, with a corner that much of the pool is better than."""
    means, spread = target_means(parts, pool), np.array([part.unit for part in parts])
    weights = np.ones(len(parts)) / len(parts)
    bounds = np.full(len(parts), np.inf)
    bounds[-1] = np.median(means[:, -1])
    return {
        "worst case": WorstCase(means.mean(axis=0), spread),
        "bounded": Bounded(weights, bounds, spread),
        "pareto": Pareto(weights, means.max(axis=0), spread),
    }


def brute_force_volume(points, draws=200_000):
    """The share of a box below the origin that some point dominates, times the box."""
    low = points.min(axis=0)
    u = np.random.default_rng(0).uniform(0, 1, (draws, points.shape[1])) * low
    dominated = np.zeros(draws, dtype=bool)
    for point in points:
        dominated |= (point <= u).all(axis=1)
    return dominated.mean() * np.prod(-low)


def test_the_worst_of_deviations_from_a_reference_is_what_counts():
    goal = WorstCase(np.array([2.0, 10.0]), np.array([1.0, 5.0]))
    metrics = np.array([[3.0, 10.0], [2.0, 17.5], [1.0, 0.0]])
    np.testing.assert_allclose(goal.of_mixtures(metrics), [1.0, 1.5, -1.0])
    assert goal.of_set(metrics) == -1.0
    np.testing.assert_allclose(goal.of_set(np.stack([metrics, metrics + 5.0])), [-1.0, 4.0])


def test_no_sum_makes_up_for_a_bound_that_is_missed_by_much():
    goal = Bounded(np.array([1.0, 0.0]), np.array([np.inf, 2.0]), np.array([0.1, 0.5]))
    within, on, beyond = goal.of_mixtures(np.array([[3.0, 0.0], [3.0, 2.0], [2.5, 3.0]]))
    assert within == on == 3.0
    assert beyond == pytest.approx(2.5 + 10.0 * 0.1 * 2.0)
    assert goal.of_set(np.array([[3.0, 2.0], [2.5, 3.0]])) == 3.0
    free = Bounded(np.array([1.0, 0.5]), np.full(2, np.inf), np.array([0.1, 0.5]))
    np.testing.assert_allclose(free.of_mixtures(np.array([[1.0, 2.0]])), [2.0])


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 10_000))
def test_the_front_is_what_no_other_is_better_than(metrics, count, seed):
    points = np.random.default_rng(seed).normal(size=(count, metrics))
    expected = [
        not any((other <= point).all() and (other < point).any() for other in points)
        for point in points
    ]
    np.testing.assert_array_equal(is_on_front(points), expected)


@pytest.mark.parametrize("metrics", [1, 2, 3])
def test_the_volume_is_what_some_point_dominates(metrics):
    points = np.random.default_rng(3).normal(size=(9, metrics)) - 0.7
    below = points[(points < 0).all(axis=1)]
    assert 1 < len(below) < 9
    assert hypervolume(points) == pytest.approx(brute_force_volume(below), rel=0.02)
    assert hypervolume(np.abs(points)) == 0.0
    assert hypervolume(np.full((1, metrics), -2.0)) == pytest.approx(2.0**metrics)


@pytest.mark.parametrize("metrics", [1, 2, 3])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 12), away=st.floats(-2.0, 2.0))
def test_an_improvement_is_the_difference_of_volumes(metrics, seed, count, away):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, metrics)) + away
    more = rng.normal(size=(2, 3, metrics)) + away
    found = improvement(boxes(points), more)
    for index in np.ndindex(2, 3):
        after = hypervolume(np.vstack([points, more[index]]))
        assert found[index] == pytest.approx(after - hypervolume(points), abs=1e-9)


def test_a_front_counts_volume_in_spreads_from_its_corner():
    goal = Pareto(np.array([1.0, 3.0]), np.array([5.0, 50.0]), np.array([1.0, 10.0]))
    metrics = np.array([[4.0, 30.0], [3.0, 40.0], [4.5, 45.0], [6.0, 0.0]])
    assert goal.of_set(metrics) == pytest.approx(-3.0)
    np.testing.assert_array_equal(goal.front(metrics), [0, 1, 3])
    np.testing.assert_allclose(goal.of_mixtures(metrics), metrics @ [1.0, 3.0])
    assert goal.of_set(np.stack([metrics, metrics + 100])).tolist() == pytest.approx([-3.0, 0.0])
    added = goal.improvements(metrics, np.array([[3.0, 30.0], [9.0, 99.0]]))
    np.testing.assert_allclose(added, [1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("kind", ["worst case", "bounded", "pareto"])
@pytest.mark.parametrize("metrics", [1, 2, 3])
def test_single_runs_are_worth_something_and_never_less_than_nothing(kind, metrics):
    parts, pool = posteriors(3, runs=9, noise=0.4, metrics=metrics)
    value = gradient(goals_of(parts, pool)[kind], parts, pool)
    cells = np.vstack([pool, pool, pool])  # more than are valued at once
    fidelity = np.repeat([0, 1, 1], len(pool))
    worth = value.of_single_runs(cells, fidelity)
    assert worth.shape == (75,)
    assert (worth > 0).all()
    assert worth.max() > 1e-4
    np.testing.assert_allclose(worth[25:50], worth[50:], atol=1e-12)
    assert value.of_block(cells[:4], fidelity[:4], 0) >= 0
    assert (value.target, len(value.ran)) == (1, 9)


@pytest.mark.parametrize("kind", ["worst case", "bounded"])
def test_the_value_of_a_run_is_that_of_simulated_outcomes_of_all_metrics(kind):
    parts, pool = posteriors()
    goal = goals_of(parts, pool)[kind]
    at_target, cell = np.ones(len(pool), dtype=int), np.array([1])
    singles = gradient(goal, parts, pool).of_single_runs(pool, at_target)
    best = int(singles.argmax())
    rng, moves = np.random.default_rng(5), []
    for part in parts:
        slope = part.covariance(pool, at_target, pool[[best]], cell)[:, 0]
        variance = (part.variance(pool[[best]], cell) + part.noise(cell))[0]
        moves.append(rng.normal(size=(20_000, 1)) * slope / np.sqrt(variance))
    now = target_means(parts, pool)
    expected = goal.of_set(now) - goal.of_set(now + np.stack(moves, axis=-1)).mean()
    blocks = [gradient(goal, parts, pool).of_block(pool[[best]], cell, seed) for seed in range(12)]
    assert singles[best] == pytest.approx(expected, rel=0.35)
    assert np.mean(blocks) == pytest.approx(expected, rel=0.2)


def test_what_a_run_adds_to_a_front_is_that_of_simulated_means():
    parts, pool = posteriors()
    goal = goals_of(parts, pool)["pareto"]
    singles = gradient(goal, parts, pool).of_single_runs(pool, np.ones(len(pool), dtype=int))
    best, cell = int(singles.argmax()), np.array([1])
    now, rng = target_means(parts, pool), np.random.default_rng(5)
    variances = np.array([part.variance(pool[[best]], cell)[0] for part in parts])
    noises = np.array([part.noise(cell)[0] for part in parts])
    moved = now[best] + rng.normal(size=(400, 2)) * variances / np.sqrt(variances + noises)
    expected = np.mean([goal.of_set(now) - goal.of_set(np.vstack([now, one])) for one in moved])
    assert singles[best] == pytest.approx(expected, rel=0.3)


def test_a_goal_that_is_one_metric_is_worth_what_the_knowledge_gradient_says():
    """A sum of one metric without bounds: 64 draws against quadrature."""
    for seed in range(3):
        (part,), pool = posteriors(seed, runs=9, noise=0.4, metrics=1)
        goal = Bounded(np.ones(1), np.array([np.inf]), np.array([part.unit]))
        plain, goals = KnowledgeGradient(part, pool), gradient(goal, (part,), pool)
        fidelity = np.arange(len(pool)) % 2
        draws = [gradient(goal, (part,), pool, s).of_single_runs(pool, fidelity) for s in range(24)]
        found, expected = np.mean(draws, axis=0), plain.of_single_runs(pool, fidelity)
        worth = expected > 0.3 * expected.max()
        np.testing.assert_allclose(found[worth], expected[worth], rtol=0.15)
        assert np.corrcoef(found, expected)[0, 1] > 0.99
        blocks = [goals.of_block(pool[:12], fidelity[:12], draw) for draw in range(60)]
        exact = [plain.of_block(pool[:12], fidelity[:12], draw) for draw in range(20)]
        assert np.mean(blocks) == pytest.approx(np.mean(exact), rel=0.15)


@pytest.mark.parametrize("kind", ["worst case", "bounded"])
def test_runs_that_cannot_change_the_choice_are_worth_nothing_together(kind):
    """Means that move are no gain by themselves: draws come in pairs that cancel."""
    parts, pool = posteriors(noise=0.3)
    goal = goals_of(parts, pool[:1])[kind]
    alone = gradient(goal, parts[:1], pool[:1])
    one = replace(
        alone,
        goal=WorstCase(goal.reference[:1], goal.spread[:1])
        if kind == "worst case"
        else Bounded(goal.weights[:1], np.array([np.inf]), goal.spread[:1]),
    )
    fidelity = np.zeros(len(pool), dtype=int)
    assert one.of_block(pool, fidelity, 3) == pytest.approx(0.0, abs=1e-12)


def test_metrics_that_are_copies_are_one_metric():
    parts, pool = posteriors(metrics=1)
    twice = WeightedSum(parts * 2, np.array([0.5, 0.5]), parts[0].ran)
    fidelity = np.arange(len(pool)) % 2
    np.testing.assert_allclose(twice.mean(pool, fidelity), parts[0].mean(pool, fidelity))
    goals = [WorstCase(np.zeros(copies), np.full(copies, parts[0].unit)) for copies in (1, 2)]
    means = [target_means(parts * copies, pool) for copies in (1, 2)]
    np.testing.assert_allclose(goals[0].of_mixtures(means[0]), goals[1].of_mixtures(means[1]))


def test_a_sum_of_metrics_is_the_process_of_the_sum(monkeypatch):
    """Metrics with equal hyperparameters: means add up, and so do variances, being independent."""
    monkeypatch.setattr(kernel, "_WORSE", 0.0)  # a sum of metrics with weights 2 and -3 has none
    parts, pool = posteriors()
    first, second = parts
    hyper = first.hyperparameters
    one, other = (
        replace(part, hyperparameters=hyper, unit=first.unit, factor=first.factor)
        for part in (first, second)
    )
    belief = WeightedSum((one, other), np.array([2.0, -3.0]), first.ran)
    fidelity = np.arange(len(pool)) % 2
    summed = replace(
        one,
        location=2 * one.location - 3 * other.location,
        whitened=2 * one.whitened - 3 * other.whitened,
    )
    np.testing.assert_allclose(belief.mean(pool, fidelity), summed.mean(pool, fidelity))
    both = 4 + 9
    np.testing.assert_allclose(belief.variance(pool, fidelity), both * one.variance(pool, fidelity))
    np.testing.assert_allclose(
        belief.covariance(pool, fidelity, pool[:3], fidelity[:3]),
        both * one.covariance(pool, fidelity, pool[:3], fidelity[:3]),
    )
    np.testing.assert_allclose(belief.noise(fidelity), both * one.noise(fidelity))
    believing = belief.believing(pool[:2], fidelity[:2])
    np.testing.assert_allclose(believing.mean(pool, fidelity), belief.mean(pool, fidelity))
    assert (believing.variance(pool, fidelity) < belief.variance(pool, fidelity)).all()
    assert len(believing.ran) == len(belief.ran) + 2
    assert belief.target == 1


@pytest.mark.parametrize("kind", ["worst case", "bounded", "pareto"])
def test_a_run_is_chosen_for_every_goal_and_the_same_twice(kind):
    parts, pool = posteriors()
    goal = goals_of(parts, pool)[kind]
    cells = Cells(np.vstack([pool, pool]), np.repeat([0, 1], len(pool)))
    costs = np.array([0.1, 1.0])
    choices = [choose(gradient(goal, parts, pool, 4), cells, costs, 4) for _ in range(2)]
    assert choices[0].index == choices[1].index
    assert (choices[0].gains >= 0).all()
