"""Sets of blocks, their losses, and the noise that selects them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.reweighting.base import Blocks, Observation
from mixwright.reweighting.blocks import Bitmap, BlockMemory, gumbel, lowest, told_blocks


@given(members=st.lists(st.booleans(), min_size=1, max_size=40))
def test_sets_survive_being_written(members):
    size, bitmap = len(members), Bitmap(np.array(members))
    for other in (
        Bitmap.from_text(bitmap.to_text(), size),
        Bitmap.from_memory(bitmap.to_memory(), size),
        Bitmap.from_ids(bitmap.to_ids(), size),
    ):
        assert other.members.tolist() == members


def test_bits_lie_as_numpy_packs_them():
    assert Bitmap.from_ids(np.array([0, 9]), 10).to_memory() == "gEA="  # 0b10000000, 0b01000000


def test_a_message_names_blocks_only_where_they_are_few():
    assert Bitmap.from_ids(np.array([3, 5]), 2000).message()["ids"] == [3, 5]
    everything = Bitmap(np.ones(2000, dtype=bool)).message()
    assert (everything["count"], everything["size"]) == (2000, 2000)
    assert "ids" not in everything


def test_the_last_loss_of_a_block_counts_in_32_bits():
    told = Blocks(np.array([1, 3, 1, 0]), np.array([9.0, np.inf, 0.1, 1e300]))
    memory = BlockMemory.empty(5).after(Blocks(np.array([3]), np.array([2.0]))).after(told)
    expected = np.array([np.nan, 0.1, np.nan, np.nan, np.nan], dtype=np.float32)
    np.testing.assert_array_equal(memory.losses, expected)
    read = BlockMemory.from_memory(memory.to_memory())
    assert read.losses.tobytes() == memory.losses.tobytes()


@given(
    values=st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]), min_size=1, max_size=12),
    count=st.integers(-1, 13),
)
def test_lowest_is_a_stable_sort(values, count):
    expected = sorted(np.argsort(values, kind="stable")[: max(count, 0)])
    assert np.flatnonzero(lowest(np.array(values), count)).tolist() == expected


def test_noise_of_a_block_knows_nothing_of_other_blocks():
    noise = gumbel(70_001, 5, 2)  # more than are drawn at once, and odd
    np.testing.assert_array_equal(gumbel(40_000, 5, 2), noise[:40_000])
    assert (gumbel(100, 5, 3) != noise[:100]).all()
    assert (gumbel(100, 5 + 2**40, 2) != noise[:100]).all()
    assert len(np.unique(noise)) == len(noise)


def test_noise_is_gumbel():
    noise = gumbel(200_000, 0, 0)
    assert np.isfinite(noise).all()
    for quantile in (0.1, 0.5, 0.9):
        assert (noise < -np.log(-np.log(quantile))).mean() == pytest.approx(quantile, abs=0.005)


@pytest.mark.parametrize(
    ("ids", "losses", "reason"),
    [
        ([], [], "no block_losses"),
        ([4], [1.0], "block 4 is not one of the 4 blocks"),
        ([-1], [1.0], "block -1 is not"),
        ([0, 1, 2], [np.nan, np.inf, 1.0], "most blocks"),
    ],
)
def test_what_cannot_be_used_is_refused(ids, losses, reason):
    blocks = Blocks(np.array(ids, dtype=np.int64), np.array(losses))
    assert reason in told_blocks(Observation(1, blocks=blocks), 4)
