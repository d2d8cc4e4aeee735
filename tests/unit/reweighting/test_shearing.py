"""Dynamic batch loading: targets by name, losses that are missing, clips."""

import numpy as np
import pytest
from gradient_reweighting import begin, told

from mixwright.errors import InvalidInputError
from mixwright.reweighting import build_reweighter

PRIOR = [0.5, 0.3, 0.2]
TARGETS = {"c": 3.0, "a": 1.0, "b": 2.0}


def after(losses, **options):
    reweighter, state = begin("shearing", PRIOR, target_losses=TARGETS, **options)
    return reweighter.update(state, told(losses=losses))


def test_targets_go_by_name():
    found = after([1.0, 2.0, 3.0], smoothing=0.0)
    np.testing.assert_allclose(found.state.weights, PRIOR, rtol=1e-12)
    assert after([1.0, 2.0, 3.5]).state.weights[2] > PRIOR[2]
    assert after([1.5, 2.0, 3.0]).diagnostics["above_target"] == {"a": 0.5, "b": 0.0, "c": 0.0}


def test_a_domain_without_a_loss_counts_as_at_its_target():
    np.testing.assert_array_equal(
        after([1.5, None, 3.1]).state.weights, after([1.5, 2.0, 3.1]).state.weights
    )


def test_below_all_targets_the_nearest_gains_unless_clipped():
    losses = [0.9, 1.5, 2.0]
    assert after(losses).state.weights[0] > PRIOR[0]
    np.testing.assert_allclose(after(losses, clip=True, smoothing=0.0).state.weights, PRIOR)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (None, "is needed"),
        ({"a": 1.0, "b": 2.0}, "'c' is missing"),
        ({**TARGETS, "d": 1.0}, "'d' is unknown"),
    ],
)
def test_every_domain_needs_a_target(targets, said):
    with pytest.raises(InvalidInputError, match=said):
        begin("shearing", PRIOR, target_losses=targets)


def test_targets_of_new_domains_are_those_of_the_options():
    reweighter, state = begin("shearing", PRIOR, target_losses=TARGETS)
    state = reweighter.update(state, told(losses=[1.0, 2.0, 4.0])).state
    other = build_reweighter("shearing", {"target_losses": {"z": 5.0, "c": 1.0}, "smoothing": 0.0})
    new = other.init(("z", "c"), np.array([0.5, 0.5]), 0)
    moved = other.remap(state, new, {"c": "c"})
    found = other.update(moved, told(losses=[5.0, 1.0])).state
    np.testing.assert_allclose(found.weights, 0.5)
