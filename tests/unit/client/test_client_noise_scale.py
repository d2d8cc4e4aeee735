"""The gradient noise scale against gradients whose noise is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright_client.noise_scale import Batch, NoiseScale, batches_of, moments, squared_norm

GRADIENT = np.array([1.0, -2.0, 0.5])  # of a quadratic somewhere: 5.25 is its squared norm
DEVIATIONS = np.array([3.0, 1.0, 2.0])  # 14 is the trace of the covariance


def squared(vectors):
    return (vectors**2).sum(axis=-1)


def drawn(rng, size, micro):
    """Small and large batch of gradients of single samples of a noisy quadratic."""
    samples = GRADIENT + DEVIATIONS * rng.normal(size=(size, 3))
    small, large = samples[:micro].mean(axis=0), samples.mean(axis=0)
    return Batch(micro, squared(small)), Batch(size, squared(large))


@pytest.mark.parametrize(("micro", "size"), [(1, 2), (1, 3), (2, 3)])
def test_the_mean_over_all_batches_that_there_can_be_is_exact(micro, size):
    population = np.array([[1.0, 2.0], [-3.0, 0.5], [4.0, 1.0], [0.0, -2.0]])
    gradient, noise = population.mean(axis=0), population.var(axis=0).sum()
    found = [
        moments(
            Batch(micro, squared(batch[:micro].mean(axis=0))),
            Batch(size, squared(batch.mean(axis=0))),
        )
        for batch in map(np.array, itertools.product(population, repeat=size))
    ]
    assert np.mean(found, axis=0) == pytest.approx([squared(gradient), noise], rel=1e-12)


def test_over_many_draws_neither_estimate_is_biased():
    rng = np.random.default_rng(0)
    found = np.array([moments(*drawn(rng, 16, 4)) for _ in range(20_000)])
    error = found.std(axis=0) / math.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - [5.25, 14.0]) < 3 * error).all()


def test_the_scale_converges_and_is_in_the_unit_of_the_sizes():
    rng = np.random.default_rng(1)
    in_samples, in_tokens = NoiseScale(decay=0.9999), NoiseScale(decay=0.9999)
    for _ in range(20_000):
        small, large = drawn(rng, 16, 4)
        in_samples.add(small, large)
        in_tokens.add(
            Batch(512 * small.size, small.squared_norm), Batch(512 * large.size, large.squared_norm)
        )
    assert in_samples.value == pytest.approx(14 / 5.25, rel=0.05)
    assert in_tokens.value == pytest.approx(512 * in_samples.value, rel=1e-9)


def test_the_ratio_of_means_is_taken_and_not_the_mean_of_ratios():
    scale = NoiseScale(decay=0.9)
    scale.add(Batch(1, 10.0), Batch(2, 6.0))  # |g|² 2, tr Σ 8
    scale.add(Batch(1, 6.0), Batch(2, 5.0))  # |g|² 4, tr Σ 2
    assert (scale.squared_norm, scale.trace, scale.value) == pytest.approx((3.0, 5.0, 5 / 3))


def test_later_steps_count_as_the_decay_says():
    scale = NoiseScale(decay=0.5)
    for squared_norm_of_small in (3.0, 5.0, 9.0):
        scale.add(Batch(1, squared_norm_of_small), Batch(2, 3.0))  # tr Σ 0, 4, 12
    assert scale.trace == pytest.approx((0 + 4) / 2 / 2 + 12 / 2)


def test_there_is_no_number_while_noise_hides_the_gradient():
    scale = NoiseScale()
    assert scale.value is None
    scale.add(Batch(1, 10.0), Batch(2, 4.0))  # |g|² -2
    assert scale.value is None
    other = NoiseScale()
    other.add(Batch(1, 1.0), Batch(2, 2.0))  # tr Σ -2
    assert other.value is None


@settings(deadline=None)
@given(
    signal=st.floats(0.01, 1e3),
    noise=st.floats(0, 1e3),
    small=st.integers(1, 1000),
    times=st.integers(2, 100),
)
def test_expected_norms_give_back_what_they_were_made_of(signal, noise, small, times):
    found = moments(
        Batch(small, signal + noise / small), Batch(small * times, signal + noise / small / times)
    )
    assert found == pytest.approx((signal, noise), rel=1e-6, abs=1e-6 * small * signal)


@pytest.mark.parametrize("size", [0, -1, math.nan, math.inf])
def test_sizes_must_be_above_0(size):
    with pytest.raises(ValueError, match="a size of"):
        Batch(size, 1.0)


@pytest.mark.parametrize("norm", [-1, math.nan, math.inf])
def test_norms_must_be_finite(norm):
    with pytest.raises(ValueError, match="squared norm"):
        Batch(1, norm)


@pytest.mark.parametrize(("small", "large"), [(4, 4), (8, 4)])
def test_equal_batches_tell_nothing_and_count_for_nothing(small, large):
    scale = NoiseScale()
    with pytest.raises(ValueError, match="larger one"):
        scale.add(Batch(small, 1.0), Batch(large, 1.0))
    assert (scale.steps, scale.squared_norm, scale.trace) == (0, 0.0, 0.0)


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_must_let_steps_in(decay):
    with pytest.raises(ValueError, match="decay"):
        NoiseScale(decay)


def test_norms_are_those_of_the_gradients_that_parameters_have():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    model.unused = torch.nn.Parameter(torch.zeros(3))
    inputs, n = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), 2
    (model(inputs[:1]).sum() / n).backward()
    assert squared_norm(model.parameters(), divisor=1 / n) == pytest.approx(1 + 4 + 1)
    (model(inputs[1:]).sum() / n).backward()
    assert squared_norm(model.parameters()) == pytest.approx(4 + 0.25 + 1)
    with pytest.raises(ValueError, match="after backward"):
        squared_norm([model.unused])
    with pytest.raises(ValueError, match="divisor"):
        squared_norm(model.parameters(), 0)


def test_rows_of_a_domain_give_what_norm_and_variance_does():
    torch = pytest.importorskip("torch")
    from mixwright_client.gradients import norm_and_variance

    rows = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) + 1.0
    expected = norm_and_variance(rows, 32)
    assert moments(*batches_of(rows, 32)) == pytest.approx(expected, rel=1e-4)
