"""Loss-based reweighting: the schedule that is told, and batches at the edge."""

from dataclasses import replace

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.reweighting.base import Observation
from mixwright.reweighting.loss_reweighting import STRATEGIES, LossReweighting, sample_weights

DOMAINS = ("a", "b")
WEIGHTS = np.array([0.7, 0.3])
LOSSES = np.array([2.0, 2.4, 3.0, 3.9, 4.4])
every = pytest.mark.parametrize("strategy", STRATEGIES)


def in_force(reweighter, step):
    state = replace(reweighter.init(DOMAINS, WEIGHTS, 0), step=step)
    found = reweighter.plan(state)["in_force"]
    return found["strategy"], found["temperature"]


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_left_out(strategy, bad):
    found = sample_weights(np.insert(LOSSES, 2, bad), strategy, 1.0, 0.4)
    assert found[2] == 0
    np.testing.assert_array_equal(np.delete(found, 2), sample_weights(LOSSES, strategy, 1.0, 0.4))


@every
def test_a_batch_of_one_weighs_one(strategy):
    np.testing.assert_array_equal(sample_weights(np.array([3.0]), strategy, 1.0, 0.4), [1.0])


@every
def test_losses_that_hardly_differ_weigh_nearly_the_same(strategy):
    found = sample_weights(3.0 + np.array([0.0, 1e-12, 2e-12]), strategy, 1.0, 0.4)
    np.testing.assert_allclose(found, 1 / 3, atol=1e-5)


@every
def test_a_large_temperature_is_uniform(strategy):
    np.testing.assert_allclose(sample_weights(LOSSES, strategy, 1.0, 1e9), 0.2, atol=1e-8)


@every
def test_only_the_place_between_least_and_largest_counts(strategy):
    found = sample_weights(10 * LOSSES + 7, strategy, 1.0, 0.4)
    np.testing.assert_allclose(found, sample_weights(LOSSES, strategy, 1.0, 0.4), atol=1e-12)


@pytest.mark.parametrize(
    ("losses", "strategy", "delta", "temperature"),
    [
        (np.array([]), "linupper", 1.0, 1.0),
        (np.array([np.nan]), "linupper", 1.0, 1.0),
        (LOSSES, "nonesuch", 1.0, 1.0),
        (LOSSES, "linupper", 0.0, 1.0),
        (LOSSES, "linupper", 1.0, 0.0),
        (LOSSES, "linupper", 1.0, np.nan),
    ],
)
def test_batches_without_weights_are_refused(losses, strategy, delta, temperature):
    with pytest.raises(InvalidInputError):
        sample_weights(losses, strategy, delta, temperature)


def test_burn_in_then_decay_then_constant():
    reweighter = LossReweighting(
        strategy="extremes",
        temperature=0.4,
        initial_temperature=2.0,
        decay_steps=100,
        burn_in_steps=1000,
    )
    assert in_force(reweighter, None)[0] == in_force(reweighter, 999)[0] == "uniform"
    assert in_force(reweighter, 1000) == ("extremes", pytest.approx(2.0))
    assert in_force(reweighter, 1050) == ("extremes", pytest.approx(1.2))
    assert in_force(reweighter, 1100) == ("extremes", pytest.approx(0.4))
    assert in_force(reweighter, 10**6) == ("extremes", pytest.approx(0.4))


def test_stages_cover_every_step_once():
    reweighter = LossReweighting(decay_steps=100)
    stages = reweighter.plan(reweighter.init(DOMAINS, WEIGHTS, 0))["stages"]
    assert [(one["start_step"], one["end_step"]) for one in stages] == [
        (0, 1000),
        (1000, 1100),
        (1100, None),
    ]


def test_without_burn_in_the_strategy_holds_from_the_start():
    reweighter = LossReweighting(burn_in_steps=0, temperature=0.4)
    assert in_force(reweighter, None) == ("linupper", pytest.approx(0.4))


def test_weights_of_domains_stay():
    reweighter = LossReweighting()
    state = reweighter.init(DOMAINS, WEIGHTS, 0)
    told = Observation(5, vectors={"losses": np.array([9.0, 1.0])})
    np.testing.assert_array_equal(reweighter.update(state, told).state.weights, WEIGHTS)
    assert reweighter.requires.acts_on == "samples"
