import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from workers.sampler import Sampler, thresholds

CONTEXT, ROWS, SIZES = 4, 8, (500, 90, 60)
# Every token names its domain and place, so that a batch tells where it comes from.
SHARDS = [
    np.arange(size, dtype=np.uint32) + 10_000 * index for index, size in enumerate((500, 90, 60))
]
WEIGHTS = np.array([[0.5, 0.3, 0.2], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])


def sampler(weights=WEIGHTS, seeds=None, streams=None, steps=50, **more):
    slots = len(weights)
    return Sampler(
        SHARDS,
        np.asarray(weights, dtype=float),
        seeds or [0] * slots,
        streams or [0] * slots,
        sequences=ROWS,
        context=CONTEXT,
        num_steps=steps,
        **more,
    )


MODES = [{}, {"mode": "epochs"}, {"pool_tokens": [100, 40, None]},
         {"mode": "epochs", "pool_tokens": [100, 40, 40]}]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_windows_are_pieces_of_one_domain(mode):
    found = np.concatenate([sampler(**mode).batch(step) for step in range(20)], axis=1)
    assert found.shape == (3, 20 * ROWS, CONTEXT + 1)
    assert (np.diff(found, axis=2) == 1).all()
    assert (found[..., 0] // 10_000 == found[..., -1] // 10_000).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_slot_does_not_depend_on_its_siblings(mode):
    together = sampler(seeds=[1, 2, 1], streams=[0, 0, 5], **mode)
    alone = sampler(WEIGHTS[1:2], seeds=[2], streams=[0], **mode)
    for step in (0, 7, 49):
        np.testing.assert_array_equal(together.batch(step)[1], alone.batch(step)[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_depends_on_seed_stream_and_step_alone(mode):
    weights = WEIGHTS[[0, 0, 0]]
    first = sampler(weights, seeds=[3, 4, 3], streams=[0, 0, 1], **mode)
    later = sampler(weights, seeds=[3, 4, 3], streams=[0, 0, 1], **mode)
    later.batch(11)
    np.testing.assert_array_equal(first.batch(5), later.batch(5))
    batches = first.batch(5)
    assert not np.array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], batches[2])
    assert not np.array_equal(first.batch(5), first.batch(6))


@pytest.mark.parametrize("mode", MODES)
def test_realised_tokens_are_those_of_the_batches(mode):
    drawn = sampler(**mode)
    counted = np.zeros((3, 3), dtype=int)
    for step in range(50):
        domain = drawn.batch(step)[..., 0] // 10_000
        for slot in range(3):
            counted[slot] += np.bincount(domain[slot], minlength=3) * CONTEXT
    np.testing.assert_array_equal(drawn.realised_tokens(50), counted)
    assert counted[2].tolist() == [50 * ROWS * CONTEXT, 0, 0]


def test_frequencies_are_the_weights():
    steps = 4000
    shares = sampler(steps=steps).realised_tokens(steps) / (steps * ROWS * CONTEXT)
    np.testing.assert_allclose(shares, WEIGHTS, atol=0.01)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda w: sum(w) > 1e-6))
def test_thresholds_ascend_to_the_end_and_leave_no_room_for_a_weight_of_0(weights):
    ends = thresholds(np.array(weights))
    ranges = np.diff([0, *ends.astype(np.int64)])
    assert ends[-1] == 2**32
    assert (ranges >= 0).all()
    assert all(size == 0 for size, weight in zip(ranges, weights, strict=True) if weight == 0)


def test_rows_move_to_a_domain_one_by_one_as_its_weight_rises():
    shares = np.linspace(0, 1, 21)
    weights = np.column_stack([shares, 1 - shares, 0 * shares])
    drawn = sampler(weights, steps=10)
    for step in range(10):
        is_first = drawn.batch(step)[..., 0] < 10_000  # (slots, rows)
        assert (np.diff(is_first.astype(int), axis=0) >= 0).all()


def test_an_epoch_shows_every_block_once_before_any_comes_again():
    drawn = sampler([[0.0, 0.0, 1.0]], mode="epochs", steps=6)  # 12 blocks of 5 tokens; 48 rows
    starts = np.concatenate([drawn.batch(step)[0, :, 0] for step in range(6)]) - 20_000
    blocks = (starts // 5).reshape(4, 12)
    for epoch in blocks:
        assert sorted(epoch.tolist()) == list(range(12))
    assert not np.array_equal(blocks[0], blocks[1])


def test_a_domain_that_is_used_up_gives_its_rows_to_the_others_in_proportion():
    steps = 30  # 240 rows; the 18 blocks of the second domain may be seen twice
    drawn = sampler([[0.4, 0.5, 0.1]], mode="epochs", max_epochs=2.0, steps=steps)
    rows = drawn.realised_tokens(steps)[0] / CONTEXT
    assert rows[1] == 36
    assert rows.sum() == 240
    domain = np.concatenate([drawn.batch(step)[0, :, 0] // 10_000 for step in range(steps)])
    last = int(np.flatnonzero(domain == 1)[-1])
    assert np.bincount(domain[:last], minlength=3)[1] == 35
    after = np.bincount(domain[last + 1 :], minlength=3)
    assert after[0] > 2 * after[2]


def test_when_all_domains_are_used_up_it_is_said_before_training():
    with pytest.raises(InvalidInputError, match="all domains are used up after"):
        sampler(mode="epochs", max_epochs=0.5, steps=50)


def test_pools_are_a_fixed_part_of_a_domain_for_every_proxy():
    drawn = sampler(WEIGHTS[[0, 0]], seeds=[1, 2], pool_tokens=[50, None, None], steps=400)
    assert drawn.pool_sizes.tolist() == [50, 90, 60]
    seen = [set(), set()]
    for step in range(400):
        for slot, rows in enumerate(drawn.batch(step)[..., 0]):
            seen[slot] |= {int(start) for start in rows if start < 10_000}
    assert seen[0] == seen[1]
    assert len(seen[0]) == 10
