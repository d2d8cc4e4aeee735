import numpy as np
import pytest
from geometry_cases import SEEDS
from hypothesis import given

from mixwright.repetition import count_epochs, effective_tokens, unimax


def test_epochs_are_tokens_seen_over_tokens_there_are():
    epochs = count_epochs(np.array([0.25, 0.75]), np.array([1e9, np.nan]), 1e10)
    np.testing.assert_array_equal(epochs, [2.5, np.nan])


@given(SEEDS)
def test_effective_tokens_rise_with_training_up_to_a_ceiling(seed):
    rng = np.random.default_rng(seed)
    unique = 10 ** rng.uniform(0, 12)
    trained = unique * np.sort(10 ** rng.uniform(-3, 4, 20))
    effective = effective_tokens(unique, trained)
    assert (np.diff(effective) >= 0).all()
    assert (effective <= 16.387756 * unique * (1 + 1e-12)).all()
    fresh = trained <= unique
    np.testing.assert_array_equal(effective[fresh], trained[fresh])


@given(SEEDS)
def test_unimax_gives_every_domain_below_its_cap_the_same(seed):
    rng = np.random.default_rng(seed)
    sizes, budget = rng.exponential(size=8), rng.uniform(0.01, 20)
    allocation = unimax(sizes, budget, 4.0)
    assert (allocation <= 4.0 * sizes * (1 + 1e-12)).all()
    below = allocation < 4.0 * sizes * (1 - 1e-9)
    if below.any():
        assert allocation.sum() == pytest.approx(budget)
        np.testing.assert_allclose(allocation[below], allocation.max(), rtol=1e-9)
    else:
        np.testing.assert_allclose(allocation, 4.0 * sizes)
