"""LFR: which blocks are kept, and when a phase is over."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Blocks, Observation
from mixwright.reweighting.blocks import BlockMemory
from mixwright.reweighting.lfr import keep_hardest

DOMAINS, EVEN = ("a", "b"), np.array([0.5, 0.5])


def begin(**options):
    lfr = build_reweighter("lfr", {"blocks": 4, **options})
    return lfr, lfr.init(DOMAINS, EVEN, 0)


def tell(lfr, state, ids, losses):
    told = Blocks(np.array(ids), np.array(losses, dtype=float))
    return lfr.update(state, Observation(state.updates + 1, blocks=told))


def hardest(losses, dropped):
    return keep_hardest(BlockMemory(np.array(losses, dtype=np.float32)), dropped).to_ids().tolist()


def test_how_many_are_dropped_is_rounded_down():
    assert hardest([3, 2, 1], 66) == [0, 1]
    assert hardest([3, 2, 1], 67) == [0]
    assert hardest([3, 2, 1], 33) == [0, 1, 2]


def test_of_equals_the_first_are_dropped():
    assert hardest([2, 1, 1, 1], 50) == [0, 3]


def test_blocks_without_a_loss_are_kept():
    assert hardest([np.nan, 9, 8, np.nan], 50) == [0, 3]
    assert hardest([np.nan] * 4, 50) == [2, 3]


def test_a_phase_may_be_told_in_parts():
    lfr, state = begin()
    first = tell(lfr, state, [0, 1, 2], [1, 2, 3])
    assert (first.diagnostics["phase"], first.diagnostics["unseen"]) == ("learn", 1)
    second = tell(lfr, first.state, [3], [4])
    assert (second.diagnostics["phase"], second.diagnostics["blocks"]["ids"]) == ("focus", [2, 3])
    third = tell(lfr, second.state, [2], [3])
    assert third.diagnostics["phase"] == "focus"
    assert tell(lfr, third.state, [3], [3]).diagnostics["phase"] == "review"


def test_epochs_make_a_phase_longer():
    lfr, state = begin(learn_epochs=2)
    once = tell(lfr, state, range(4), [1, 2, 3, 4])
    assert once.diagnostics["phase"] == "learn"
    twice = tell(lfr, once.state, range(4), [4, 3, 2, 1])
    assert twice.diagnostics["blocks"]["ids"] == [0, 1]


def test_a_broken_loss_keeps_its_block_and_is_counted():
    lfr, state = begin()
    found = tell(lfr, state, range(4), [np.nan, 2, 3, 4])
    assert found.diagnostics["blocks"]["ids"] == [0, 3]
    assert found.diagnostics["not_finite"] == 1


@pytest.mark.parametrize(
    ("every", "expected"), [(1, "lfrfrfrf"), (2, "lfrffrf"), (0, "lfrfff"), (9, "lfrfff")]
)
def test_reviews_come_between_later_focuses(every, expected):
    lfr, _ = begin(repetitions=3, review_every=every)
    assert "".join(phase.name[0] for phase in lfr.phases()) == expected


def test_the_last_focus_stays():
    lfr, state = begin(repetitions=0)
    for _ in range(3):
        state = tell(lfr, state, range(4), [1, 2, 3, 4]).state
    assert lfr.plan(state)["phase"] == "focus"
    assert lfr.plan(state)["blocks"]["ids"] == [2, 3]


def test_a_forgotten_block_comes_back_after_a_review():
    lfr, state = begin(refocus_dropped=50.0)
    for losses in ([1, 2, 3, 4], [1, 2, 3, 4], [5, 2, 3, 4]):
        found = tell(lfr, state, range(4), losses)
        state = found.state
    assert found.diagnostics["blocks"]["ids"] == [0, 3]


def test_blocks_outlive_a_change_of_domains():
    lfr, state = begin()
    state = tell(lfr, state, range(4), [1, 2, 3, 4]).state
    moved = lfr.remap(state, lfr.init(("b", "c"), EVEN, 0), {"b": "b"})
    assert moved.memory == state.memory
    assert moved.domains == ("b", "c")


def test_how_many_blocks_there_are_must_be_told():
    with pytest.raises(InvalidInputError, match="'blocks' is needed"):
        build_reweighter("lfr", {}).init(DOMAINS, EVEN, 0)
