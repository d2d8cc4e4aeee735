"""MATES: labels, predictions and the draw."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Blocks, Observation, Table
from mixwright.reweighting.blocks import gumbel

DOMAINS, EVEN = ("a", "b"), np.array([0.5, 0.5])


def begin(seed=0, **options):
    mates = build_reweighter("mates", options)
    return mates, mates.init(DOMAINS, EVEN, seed)


def tell(mates, state, ids, losses, numbers=None):
    blocks = Blocks(np.array(ids), np.array(losses, dtype=float))
    tables = {} if numbers is None else {"probe_losses": numbers}
    return mates.update(state, Observation(state.updates + 1, blocks=blocks, tables=tables))


def chosen(found):
    return found.diagnostics["blocks"]["ids"]


def test_a_low_temperature_selects_the_lowest_losses():
    mates, state = begin(blocks=5, share=0.4, temperature=1e-6)
    assert chosen(tell(mates, state, range(5), [5, 1, 4, 2, 3])) == [1, 3]


def test_blocks_without_a_prediction_count_as_average():
    mates, state = begin(blocks=6, share=0.5, temperature=1e-6)
    found = tell(mates, state, [5, 0], [1, 3])
    assert 5 in chosen(found)
    assert 0 not in chosen(found)
    assert found.diagnostics["unpredicted"] == 4


def test_of_a_block_told_twice_the_last_finite_loss_counts():
    mates, state = begin(blocks=3, share=0.4, temperature=1e-6)
    found = tell(mates, state, [0, 1, 2, 0, 1], [1, 2, 3, 9, np.nan])
    assert chosen(found) == [1]
    assert found.state.memory["mean"] == pytest.approx((9 + 2 + 3) / 3)


def test_equal_losses_skip_the_stage():
    mates, state = begin(blocks=4, share=0.5)
    state = tell(mates, state, range(4), [1, 2, 3, 4]).state
    found = tell(mates, state, range(4), [2, 2, 2, 2])
    assert "skipped" in found.reason
    assert found.state is state


def test_the_order_in_which_blocks_are_told_does_not_matter():
    losses = np.random.default_rng(0).normal(size=100)
    order = np.random.default_rng(1).permutation(100)
    mates, state = begin(blocks=100)
    assert chosen(tell(mates, state, range(100), losses)) == chosen(
        tell(mates, state, order, losses[order])
    )


def test_stages_and_seeds_draw_afresh():
    losses = np.random.default_rng(0).normal(size=100)
    mates, state = begin(blocks=100)
    first = tell(mates, state, range(100), losses)
    second = tell(mates, first.state, range(100), losses)
    other = tell(mates, mates.init(DOMAINS, EVEN, 1), range(100), losses)
    assert chosen(first) != chosen(second)
    assert chosen(first) != chosen(other)


@pytest.mark.parametrize("reference_code", [False, True])
def test_only_ours_draws_in_proportion(reference_code):
    """Of one block the exact draw is a softmax; the published code's is not."""
    mates, _ = begin(blocks=3, share=0.34, temperature=0.5, reference_code=reference_code)
    scores = np.array([-1.0, 0.0, 1.0])
    noise = gumbel(3 * 20_000, 0, 0).reshape(-1, 3)
    counts = np.mean([mates.select(scores, one) for one in noise], axis=0)
    softmax = np.exp(-scores / 0.5) / np.exp(-scores / 0.5).sum()
    assert (np.abs(counts - softmax).max() < 0.01) is not reference_code


def features(rng, losses, noise):
    values = np.column_stack([losses + noise * rng.normal(size=len(losses)), np.ones(len(losses))])
    return Table(tuple(map(str, range(len(losses)))), ("probe", "bias"), values)


def test_predictions_reach_blocks_that_were_not_measured():
    rng = np.random.default_rng(0)
    losses = rng.normal(3.0, 1.0, 200)
    mates, state = begin(blocks=200, share=0.1, temperature=1e-6, ridge=1e-6)
    found = tell(mates, state, range(60), losses[:60], features(rng, losses, 0.0))
    assert found.diagnostics["prediction"] == "ridge"
    assert chosen(found) == sorted(np.argsort(losses)[:20].tolist())


@pytest.mark.parametrize(("measured", "noise"), [(60, 1e9), (29, 0.0)])
def test_predictions_that_foretell_nothing_are_not_used(measured, noise):
    rng = np.random.default_rng(1)
    losses = rng.normal(3.0, 1.0, 200)
    mates, state = begin(blocks=200, share=0.1)
    found = tell(mates, state, range(measured), losses[:measured], features(rng, losses, noise))
    assert found.diagnostics["prediction"] == "none: uniform"
    assert chosen(found) == sorted(np.argsort(-gumbel(200, 0, 0))[:20].tolist())


@pytest.mark.parametrize(
    ("rows", "value", "reason"),
    [(("0", "9"), 1.0, "ids of the 4 blocks"), (("0", "web"), 1.0, "ids"), (("0",), np.nan, "all")],
)
def test_numbers_that_fit_no_block_are_refused(rows, value, reason):
    mates, state = begin(blocks=4)
    numbers = Table(rows, ("probe",), np.full((len(rows), 1), value))
    found = tell(mates, state, range(4), [1, 2, 3, 4], numbers)
    assert reason in found.reason
    assert found.state is state


def test_how_many_blocks_there_are_must_be_told():
    with pytest.raises(InvalidInputError, match="'blocks' is needed"):
        begin()
