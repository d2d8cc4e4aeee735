"""PiKE: scales that are chosen, estimates below 0, domains that stay away, batches, moments."""

import numpy as np
import pytest
from gradient_reweighting import begin, told

from mixwright.errors import InvalidInputError
from mixwright.reweighting.pike import balanced, batch_counts, gradient_moments

PRIOR = [0.5, 0.3, 0.2]
SQUARED, VARIANCES = [0.9, 0.4, 1.6], [20.0, 5.0, 60.0]
GIVEN = {"step_size": 0.5, "noise_penalty": 1.0}


def stats(squared=SQUARED, variances=VARIANCES, size=64, **losses):
    numbers = {"batch_size": size}
    return told(numbers=numbers, grad_norms_squared=squared, grad_variances=variances, **losses)


def after(one, **options):
    reweighter, state = begin("pike", PRIOR, **options)
    return reweighter.update(state, one)


def log_steps(state):
    steps = np.log(state.weights / np.array(PRIOR))
    return steps - steps[0]


def test_scales_that_are_not_given_are_chosen_at_the_first_update():
    memory = after(stats()).state.memory
    assert memory["step_size"] * 1.6 == pytest.approx(0.1)
    assert memory["noise_penalty"] * 20.0 / 128 == pytest.approx(0.05)
    reweighter, state = begin("pike", PRIOR)
    state = reweighter.update(state, stats()).state
    later = reweighter.update(state, stats([9, 9, 9], [1, 1, 1])).state
    assert later.memory == memory
    new = reweighter.init(("z", "a"), np.array([0.5, 0.5]), 0)
    assert reweighter.remap(later, new, {"a": "a"}).memory == memory


def test_nothing_is_chosen_while_no_gradient_shows():
    found = after(stats([0, -1, 0])).state
    assert found.memory == {"step_size": None, "noise_penalty": None}
    np.testing.assert_allclose(found.weights, PRIOR, rtol=1e-12)


def test_no_noise_needs_no_penalty():
    found = after(stats(variances=[0, 0, 0])).state
    assert found.memory["noise_penalty"] is None
    np.testing.assert_allclose(log_steps(found), (np.array(SQUARED) - 0.9) / 16, atol=1e-12)


def test_a_penalty_of_zero_is_no_penalty():
    loud = after(stats(), noise_penalty=0.0, step_size=0.5).state
    quiet = after(stats(variances=[0, 0, 0]), **GIVEN).state
    np.testing.assert_array_equal(loud.weights, quiet.weights)


def test_estimates_of_norms_below_zero_count_as_zero():
    np.testing.assert_array_equal(
        after(stats([0.9, -3.0, 1.6]), **GIVEN).state.weights,
        after(stats([0.9, 0.0, 1.6]), **GIVEN).state.weights,
    )


def test_larger_batches_lessen_the_penalty():
    small, large = after(stats(size=8), **GIVEN).state, after(stats(size=512), **GIVEN).state
    assert small.weights[1] > large.weights[1]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (told(grad_norms_squared=SQUARED, grad_variances=VARIANCES), "no batch_size"),
        (stats(size=0), "batch_size is 0"),
        (stats(variances=[1, -1, 1]), "grad_variances are below 0"),
        (stats([None, 1, 1], [1, None, 1]), "too many domains"),
    ],
)
def test_what_must_be_sent_is_said(one, reason):
    found = after(one)
    assert found.state.updates == 0
    assert reason in found.reason


def test_balanced_needs_losses():
    assert "no losses" in after(stats(), temperature=3.0).reason
    assert "losses" in begin("pike", PRIOR, temperature=3.0)[0].requires.fields


def test_balanced_favours_high_losses():
    assert np.nansum(balanced(np.array([2.0, np.nan, 3.0]), 3.0)) == pytest.approx(3.0)
    same = stats([1, 1, 1], [1, 1, 1], losses=[2.0, 3.0, None])
    found = after(same, temperature=3.0, step_size=0.1, noise_penalty=0.0).state
    assert log_steps(found)[1] > 0


def test_a_score_is_reused_ten_times_and_no_more():
    reweighter, state = begin("pike", PRIOR, step_size=0.1, noise_penalty=0.0)
    state = reweighter.update(state, stats([0, 0, 1.0])).state
    for _ in range(10):
        state = reweighter.update(state, stats([0, 0, None])).state
    assert log_steps(state)[2] == pytest.approx(1.1)
    state = reweighter.update(state, stats([0, 0, None])).state
    assert log_steps(state)[2] == pytest.approx(1.1)


def test_every_domain_with_a_weight_has_a_sample():
    np.testing.assert_array_equal(batch_counts(np.array([0.98, 0.01, 0.01]), 8), [6, 1, 1])
    np.testing.assert_array_equal(batch_counts(np.array([0.5, 0.5, 0.0]), 8), [4, 4, 0])
    np.testing.assert_array_equal(batch_counts(np.array([0.5, 0.3, 0.2]), 2), [1, 1, 0])


def test_moments_are_unbiased():
    rng = np.random.default_rng(0)
    gradient, deviation, size, count = np.array([0.3, -0.2]), np.array([1.0, 2.0]), 4, 5
    draws = gradient + deviation * rng.standard_normal((20_000, count, size, 2))
    found = np.array([gradient_moments(one.mean(axis=1), size) for one in draws])
    expected = [gradient @ gradient, np.sum(deviation**2)]
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * error)
    assert (found[:, 0] < 0).any()


def test_one_microbatch_tells_no_noise():
    with pytest.raises(InvalidInputError, match="two microbatches"):
        gradient_moments(np.ones((1, 3)), 8)
