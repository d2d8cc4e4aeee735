"""ODM: exploration, importance weights, and what was not seen."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mixwright.reweighting.base import Observation
from mixwright.reweighting.odm import ODM

DOMAINS = ("a", "b", "c")
EVEN = np.full(3, 1 / 3)
UNEVEN = np.array([0.5, 0.3, 0.2])


def told(step, *rewards, sampled=None):
    vectors = {"rewards": np.array(rewards, dtype=float)}
    return Observation(step, vectors=vectors, sampled=sampled)


def begun(weights=EVEN, count=3):
    return ODM().init(DOMAINS[:count], weights, 0)


@pytest.mark.parametrize(("count", "last"), [(3, 3), (7, 13), (22, 68)])
def test_weights_are_uniform_at_first(count, last):
    domains = tuple(str(index) for index in range(count))
    state = ODM().init(domains, np.full(count, 1 / count), 0)
    rewards = np.linspace(1.0, 9.0, count)
    for step in (1, last):
        state = ODM().update(state, told(step, *rewards)).state
        np.testing.assert_allclose(state.weights, 1 / count, rtol=0, atol=1e-15)
    state = ODM().update(state, told(last + 1, *rewards)).state
    assert state.weights[-1] > state.weights[0]


def test_exploration_follows_the_trainers_step_and_bounds_the_weights():
    state = begun()
    for step in (10, 1000):
        state = ODM().update(state, told(step, 9.0, 1.0, 1.0)).state
        assert state.weights.min() >= math.sqrt(math.log(3) / (3 * step)) - 1e-15


def test_rewards_are_divided_by_the_weights_that_produced_the_batch():
    sampled = np.array([0.2, 0.4, 0.4])
    found = ODM().update(begun(UNEVEN), told(10, 4.0, 4.0, 4.0, sampled=sampled)).state
    np.testing.assert_allclose(found.vectors["rewards"], 0.4 / sampled, atol=1e-12)
    newest = ODM().update(begun(UNEVEN), told(10, 4.0, 4.0, 4.0)).state
    np.testing.assert_allclose(newest.vectors["rewards"], 0.4 / UNEVEN, atol=1e-12)


def test_losses_are_taken_where_there_are_no_rewards():
    losses = Observation(10, vectors={"losses": np.array([4.0, 2.0, 1.0])})
    found = ODM().update(begun(), losses).state
    np.testing.assert_array_equal(
        found.vectors["rewards"],
        ODM().update(begun(), told(10, 4.0, 2.0, 1.0)).state.vectors["rewards"],
    )
    both = replace(losses, vectors={**losses.vectors, "rewards": np.array([1.0, 2.0, 4.0])})
    np.testing.assert_allclose(
        ODM().update(begun(), both).state.vectors["rewards"], [0.3, 0.6, 1.2], atol=1e-12
    )


def test_one_domain_in_a_batch_is_enough():
    found = ODM().update(begun(), told(10, np.nan, 4.0, np.nan))
    assert found.reason is None
    assert ODM().requires.most_missing == 1.0
    np.testing.assert_allclose(found.state.vectors["rewards"], [0, 1.2, 0], atol=1e-12)


def test_a_domain_without_weight_is_never_divided_by():
    nothing = np.array([0.0, 0.5, 0.5])
    found = ODM().update(begun(nothing), told(10, 4.0, 4.0, np.nan)).state
    np.testing.assert_allclose(found.vectors["rewards"], [0, 0.8, 0], atol=1e-12)
    alone = ODM().update(begun(nothing), told(10, 4.0, np.nan, np.nan))
    assert "no weight" in alone.reason
    tiny = np.array([1e-12, 0.5, 0.5])
    found = ODM().update(begun(tiny), told(10, 4.0, 4.0, 4.0)).state
    assert found.vectors["rewards"][0] == pytest.approx(0.4e6)


def test_large_sums_of_rewards_do_not_overflow():
    state = ODM().update(begun(), told(100, 1e7, 1e6, 1e6)).state
    state = ODM().update(state, told(101, 1e7, 1e6, 1e6)).state
    assert np.isfinite(state.weights).all()
    assert state.weights.argmax() == 0


def test_steps_count_from_one():
    assert "from 1" in ODM().update(begun(), told(0, 1.0, 1.0, 1.0)).reason


def test_a_single_domain_keeps_all():
    state = begun(np.ones(1), count=1)
    for step in (1, 2):
        state = ODM().update(state, told(step, 3.0)).state
        np.testing.assert_array_equal(state.weights, [1.0])


def test_a_new_domain_has_the_mean_reward_and_exploration_goes_on():
    state = ODM().update(begun(), told(1000, 3.0, 2.0, 1.0)).state
    new = ODM().init(("b", "c", "x"), EVEN, 0)
    moved = ODM().remap(state, new, {"b": "b", "c": "c"})
    rewards = state.vectors["rewards"]
    np.testing.assert_allclose(moved.vectors["rewards"], [*rewards[1:], rewards.mean()])
    assert moved.memory["exploration"] == state.memory["exploration"] < 0.1
