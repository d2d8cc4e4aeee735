"""DoReMi: domains that stay away, the mean of the weights, and new domains."""

import numpy as np
import pytest
from gradient_reweighting import begin, told


def repeat(reweighter, state, one, times):
    for _ in range(times):
        state = reweighter.update(state, one).state
    return state


def test_a_score_is_reused_100_times_and_no_more():
    reweighter, state = begin("doremi", [0.5, 0.5], smoothing=0.0, step_size=0.01)
    state = reweighter.update(state, told(excess_losses=[1.0, 0.0])).state
    away = told(excess_losses=[None, 0.0])
    last = repeat(reweighter, state, away, 100)
    assert last.weights[0] == pytest.approx(1 / (1 + np.exp(-1.01)))
    np.testing.assert_allclose(repeat(reweighter, last, away, 3).weights, last.weights)
    back = reweighter.update(last, told(excess_losses=[1.0, 0.0])).state
    assert back.weights[0] > last.weights[0]


def test_a_domain_that_is_better_than_the_reference_scores_nothing():
    reweighter, state = begin("doremi", [0.5, 0.5])
    state = reweighter.update(state, told(excess_losses=[-3.0, 0.0])).state
    np.testing.assert_allclose(state.weights, 0.5)


def test_a_constant_added_to_all_scores_changes_nothing():
    reweighter, state = begin("doremi", [0.7, 0.2, 0.1])
    low = reweighter.update(state, told(excess_losses=[0.1, 0.2, 0.3])).state
    high = reweighter.update(state, told(excess_losses=[5.1, 5.2, 5.3])).state
    np.testing.assert_allclose(low.weights, high.weights, rtol=1e-12)


def test_the_mean_of_a_new_domain_begins_with_it():
    reweighter, state = begin("doremi", [0.5, 0.5])
    state = repeat(reweighter, state, told(excess_losses=[1.0, 0.0]), 4)
    new = reweighter.init(("z", "renamed"), np.array([0.3, 0.7]), 0)
    moved = reweighter.remap(state, new, {"renamed": "a"})
    np.testing.assert_array_equal(moved.vectors["counted"], [0, 4])
    np.testing.assert_array_equal(moved.vectors["mean"], [0.3, state.vectors["mean"][0]])
    assert moved.vectors["scores"][0] == state.vectors["scores"].mean()
    update = reweighter.update(moved, told(excess_losses=[0.2, 0.2]))
    assert update.state.vectors["mean"][0] == update.state.weights[0]
    assert sum(update.diagnostics["recommendation"].values()) == pytest.approx(1.0)
