"""DGA: the sign, the step size that is chosen, and mixtures of distributions."""

import numpy as np
import pytest
from gradient_reweighting import begin, told

from mixwright.errors import InvalidInputError
from mixwright.reweighting import build_reweighter

PRIOR = [0.5, 0.3, 0.2]
BASIS = {"one": {"a": 7, "b": 2, "c": 1}, "other": {"a": 0.0, "b": 0.5, "c": 0.5}}


def test_training_on_what_gains_lowers_the_loss_of_the_target():
    """Quadratic losses: the domain with its minimum nearest to the target's is aligned most."""
    minima, target = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([0.9, 0.1])
    place = np.zeros(2)
    gradients = place - minima
    reweighter, state = begin("dga", PRIOR)
    after = reweighter.update(state, told(alignment=gradients @ (place - target))).state

    def loss(weights):
        stepped = place - 0.1 * weights @ gradients
        return np.sum((stepped - target) ** 2)

    assert after.weights[0] > PRIOR[0]
    assert after.weights[2] < PRIOR[2]
    assert loss(after.weights) < loss(state.weights)


def test_no_alignment_leaves_the_weights_and_chooses_nothing():
    reweighter, state = begin("dga", PRIOR)
    state = reweighter.update(state, told(alignment=[0, 0, 0])).state
    np.testing.assert_allclose(state.weights, PRIOR, rtol=1e-12)
    assert state.memory["step_size"] is None
    state = reweighter.update(state, told(alignment=[0, 0, -4.0])).state
    assert state.memory["step_size"] == 0.25


def test_the_step_size_is_chosen_once_and_stays():
    reweighter, state = begin("dga", PRIOR)
    state = reweighter.update(state, told(alignment=[1.0, -2.0, 8.0])).state
    assert state.memory["step_size"] == 0.5
    state = reweighter.update(state, told(alignment=[1e3, 1e3, 1e3])).state
    assert state.memory["step_size"] == 0.5
    new = reweighter.init(("a", "z"), np.array([0.5, 0.5]), 0)
    assert reweighter.remap(state, new, {"a": "a"}).memory["step_size"] == 0.5


def test_the_scale_of_alignments_does_not_matter():
    reweighter, state = begin("dga", PRIOR)
    large = reweighter.update(state, told(alignment=[1e9, -2e9, 8e9])).state
    small = reweighter.update(state, told(alignment=[1e-9, -2e-9, 8e-9])).state
    np.testing.assert_allclose(large.weights, small.weights, rtol=1e-12)


def test_a_domain_that_was_not_seen_counts_as_not_aligned():
    reweighter, state = begin("dga", PRIOR, step_size=1.0)
    missing = reweighter.update(state, told(alignment=[1.0, None, -1.0])).state
    zero = reweighter.update(state, told(alignment=[1.0, 0.0, -1.0])).state
    np.testing.assert_array_equal(missing.weights, zero.weights)


def test_a_given_step_size_of_zero_changes_nothing():
    reweighter, state = begin("dga", PRIOR, step_size=0.0)
    state = reweighter.update(state, told(alignment=[1.0, 2.0, 3.0])).state
    np.testing.assert_allclose(state.weights, PRIOR, rtol=1e-12)


def test_other_weights_become_a_mixture_of_the_basis_a_part_at_a_time():
    reweighter, state = begin("dga", PRIOR, basis=BASIS, ema=0.1)
    state = reweighter.update(state, told(alignment=[0, 0, 0])).state
    middle = np.array([0.35, 0.35, 0.3])
    np.testing.assert_allclose(state.weights, 0.9 * np.array(PRIOR) + 0.1 * middle)
    for _ in range(400):
        state = reweighter.update(state, told(alignment=[0, 0, 0])).state
    np.testing.assert_allclose(state.weights, middle)


def test_a_distribution_is_judged_by_the_domains_that_were_seen():
    reweighter, state = begin("dga", PRIOR, basis=BASIS, step_size=1.0)
    state = reweighter.update(state, told(alignment=[2.0, None, 2.0])).state
    np.testing.assert_allclose(list(state.memory["shares"].values()), 0.5)


def test_shares_of_distributions_outlive_a_change_of_domains():
    reweighter, state = begin("dga", PRIOR, basis=BASIS)
    state = reweighter.update(state, told(alignment=[1.0, 0.0, 0.0])).state
    other = build_reweighter("dga", {"basis": {name: {"z": 1, "a": 1} for name in BASIS}})
    new = other.init(("z", "a"), np.array([0.5, 0.5]), 0)
    assert other.remap(state, new, {"a": "a"}).memory == state.memory
    renamed = build_reweighter("dga", {"basis": {"third": {"z": 1, "a": 1}}})
    new = renamed.init(("z", "a"), np.array([0.5, 0.5]), 0)
    assert renamed.remap(state, new, {"a": "a"}).memory == new.memory


@pytest.mark.parametrize(
    "basis",
    [
        {},
        {"one": {"a": 1.0}},
        {"one": {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}},
        {"one": {"a": 1.0, "b": -1.0, "c": 1.0}},
        {"one": {"a": 0.0, "b": 0.0, "c": 0.0}},
    ],
)
def test_a_basis_that_does_not_fit_is_refused(basis):
    with pytest.raises(InvalidInputError, match="basis"):
        begin("dga", PRIOR, basis=basis)
