import dataclasses

import numpy as np
import pytest

from mixwright.surrogates import build_surrogate
from mixwright.surrogates.blending import Coverage, blend, error_weights, faded_weights
from mixwright.surrogates.ensemble import DEFAULT_MEMBERS, Trial


def make_runs(count, seed=0, noise=0.01):
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.ones(4), count)
    losses = 1 + (mixtures @ [1.0, 0.4, 0.1, 0.05]) ** -0.4
    return mixtures, losses[:, None] + rng.normal(0, noise, (count, 1))


def test_weights_fall_with_the_square_of_the_mean_squared_error():
    errors = np.array([[[1.0], [1.0]], [[2.0], [np.nan]], [[4.0], [4.0]]])  # (s, n, m)
    expected = np.array([[1.0], [1 / 4], [1 / 16]])
    np.testing.assert_allclose(expected / expected.sum(), error_weights(errors))


def test_a_member_without_error_leaves_nothing_to_the_others():
    weights = error_weights(np.array([[[0.0]], [[1.0]]]))
    np.testing.assert_allclose([[1.0], [0.0]], weights, atol=1e-12)


def test_members_without_any_error_share_alike():
    np.testing.assert_allclose([[0.5], [0.5]], error_weights(np.zeros((2, 3, 1))))


def test_reach_counts_excess_in_units_of_the_range_covered():
    coverage = Coverage(np.array([0.1, 0.2]), np.array([0.3, 0.6]))
    reach, slope = coverage.reach(np.array([[0.2, 0.3], [0.5, 0.1], [0.3, 0.8]]))
    np.testing.assert_allclose([0.0, 1.0 + 0.25, 0.5], reach)
    np.testing.assert_allclose([[0, 0], [5, -2.5], [0, 2.5]], slope)


def test_what_a_fading_member_loses_the_others_take():
    weights = np.array([[0.5], [0.5]])
    faded = faded_weights(weights, np.array([0.0, 1.0]), np.array([0.0, np.log(3.0)]))
    np.testing.assert_allclose([[0.5, 0.75], [0.5, 0.25]], faded[:, :, 0])


def test_a_lone_fading_member_keeps_its_weight_however_far():
    faded = faded_weights(np.ones((1, 1)), np.ones(1), np.array([1e4]))
    np.testing.assert_array_equal([[[1.0]]], faded)


def test_the_blend_has_mean_and_spread_of_the_mixture_of_members():
    means, stds = np.array([[[0.0]], [[2.0]]]), np.array([[[1.0]], [[1.0]]])
    prediction = blend(means, stds, np.full((2, 1, 1), 0.5))
    assert prediction.mean[0, 0] == 1.0
    assert prediction.std[0, 0] == pytest.approx(np.sqrt(2.0))


def test_the_better_member_weighs_more():
    mixtures, values = make_runs(80)
    recipe = build_surrogate("ensemble", {"members": ["linear", "share_power"]})
    fitted = recipe.fit(mixtures, values, 0)
    assert fitted.weights[1, 0] > 0.99
    linear, power = fitted.choice().candidates
    assert linear.cv_error > power.cv_error


def test_far_from_the_runs_the_laws_alone_predict():
    mixtures, values = make_runs(120)
    near = mixtures[:, 3] < 0.1
    recipe = build_surrogate("ensemble", {"members": ["share_power", "gp"]})
    fitted = recipe.fit(mixtures[near], values[near], 0)
    far = np.array([[0.0, 0.0, 0.0, 1.0]])
    law = fitted.members[0].predict_mean(far)
    np.testing.assert_allclose(law, fitted.predict_mean(far), rtol=1e-3)
    assert abs(fitted.members[1].predict_mean(far) - law).max() > 1e-2


def test_the_blend_is_differentiable_across_the_edge_of_what_is_covered():
    mixtures, values = make_runs(60)
    fitted = build_surrogate("auto", {}).fit(mixtures, values, 0)
    beyond = np.array([[1.2, -0.05, 0.0, -0.15]]) + 0.15  # reach above 0 on both sides
    assert fitted.coverage.reach(beyond)[0] > 0.1
    step = 1e-6
    slopes = [
        (fitted.predict_mean(beyond + shift) - fitted.predict_mean(beyond - shift)) / (2 * step)
        for shift in np.eye(4) * step
    ]
    np.testing.assert_allclose(
        np.array(slopes)[:, 0, 0], fitted.gradient(beyond)[0, 0], rtol=1e-4, atol=1e-6
    )


class TestAuto:
    def test_with_few_runs_only_the_stiff_law_is_left_and_said_to_be(self):
        fewest = build_surrogate("auto", {}).min_runs(4)
        fitted = build_surrogate("auto", {}).fit(*make_runs(fewest), 0)
        assert fitted.names == ("share_power",)
        assert "more runs" in fitted.choice().reason

    def test_with_runs_enough_every_member_is_tried_and_reported(self):
        choice = build_surrogate("auto", {}).fit(*make_runs(40), 0).choice()
        assert tuple(one.surrogate for one in choice.candidates) == DEFAULT_MEMBERS
        assert "share_power" in choice.reason
        assert "0.50" in choice.reason

    def test_the_share_set_aside_goes_to_the_stiff_law(self):
        runs = make_runs(40)
        without, with_half = (
            build_surrogate("auto", {"stiff_share": share}).fit(*runs, 0) for share in (0.0, 0.5)
        )
        expected = without.weights / 2
        expected[0] += 0.5
        np.testing.assert_allclose(expected, with_half.weights)

    def test_a_run_is_predicted_with_weights_from_the_errors_of_other_folds(self):
        mixtures, values = make_runs(40)
        folds = np.arange(40) % 4
        trial = Trial.of(("share_power", "linear"), mixtures, values, folds, 0)
        before = trial.out_of_fold(error_weights)
        means = trial.means.copy()
        means[0, folds == 0] += 5.0  # the law's predictions of this fold become nonsense
        after = dataclasses.replace(trial, means=means).out_of_fold(error_weights)
        np.testing.assert_allclose(after.mean[folds == 0] - before.mean[folds == 0], 5.0, rtol=0.05)
        linear = trial.means[1, folds == 1]
        np.testing.assert_allclose(linear, after.mean[folds == 1], atol=0.01)
