import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright_client.counter_random import key_of, permute, uniforms
from mixwright_client.ledger import Entry, Ledger
from mixwright_client.sampler import DRAWS, BatchPlan, MixtureBatchSampler, drawn_domains

SIZES = {"web": 200, "code": 60, "books": 7}
BATCH = 24


def weights_of(*parts):
    return {name: part / sum(parts) for name, part in zip(SIZES, parts)}


def make_ledger(switches):
    ledger = Ledger(tuple(SIZES), Entry(0, 0, weights_of(5, 3, 2)))
    for version, (step, parts) in enumerate(switches, 1):
        ledger.add(Entry(version, step, weights_of(*parts)))
    return ledger


def make_sampler(ledger, steps=None, **plan):
    plan = BatchPlan(**{"global_batch": BATCH, "seed": 3, **plan})
    return MixtureBatchSampler(SIZES, lambda step: ledger.at(step).weights, plan, steps)


def all_batches(ledger, count, **plan):
    sampler = make_sampler(ledger, **plan)
    return [sampler.next_batch().tolist() for _ in range(count)]


ledgers = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.tuples(*[st.integers(0, 9) for _ in SIZES]).filter(any),
    ),
    max_size=4,
).map(make_ledger)
draws = st.sampled_from(DRAWS)


@settings(max_examples=30, deadline=None)
@given(ledgers, draws, st.sampled_from([2, 3, 4]), st.sampled_from([1, 2]))
def test_every_world_plans_the_same_batches(ledger, draw, world, micro_batches):
    alone = all_batches(ledger, 12, draw=draw)
    shares = []
    for rank in range(world):
        plan = {"draw": draw, "rank": rank, "world": world, "micro_batches": micro_batches}
        found = list(make_sampler(ledger, steps=12, **plan))
        assert len(found) == 12 * micro_batches
        shares.append(np.array(found).reshape(12, -1))
    interleaved = np.stack(shares, axis=-1).reshape(12, BATCH)
    assert interleaved.tolist() == alone


@settings(max_examples=30, deadline=None)
@given(ledgers, draws, st.integers(0, 20), st.integers(0, 5), st.sampled_from([1, 4]))
def test_resuming_at_any_step_gives_the_same_batches(ledger, draw, step, ahead, world):
    whole = all_batches(ledger, 25, draw=draw)
    first = make_sampler(ledger, draw=draw, world=world)
    for _ in range(step + ahead):  # a data loader is ahead of the trainer
        first.next_batch()
    state = json.loads(json.dumps(first.state_dict(step)))
    second = make_sampler(ledger, draw=draw)
    second.load_state_dict(state)
    assert [second.next_batch().tolist() for _ in range(step, 25)] == whole[step:]


@settings(max_examples=30, deadline=None)
@given(ledgers, draws, st.integers(1, 15))
def test_a_switch_that_comes_late_is_as_if_it_had_been_known(ledger, draw, step):
    growing = make_ledger([])
    sampler = make_sampler(growing, draw=draw)
    before = [sampler.next_batch().tolist() for _ in range(step)]
    known = make_ledger([])
    for version, entry in enumerate(ledger.to_json()[1:], 1):
        late = Entry(version, max(entry["effective_step"], step), entry["weights"])
        growing.add(late)
        known.add(late)
    after = [sampler.next_batch().tolist() for _ in range(step, 25)]
    assert before + after == all_batches(known, 25, draw=draw)
    assert before == all_batches(make_ledger([]), step, draw=draw)


@settings(max_examples=30, deadline=None)
@given(ledgers, draws, st.integers(1, 25))
def test_all_rows_of_a_domain_come_before_any_comes_again(ledger, draw, count):
    sampler = make_sampler(ledger, draw=draw)
    rows = np.concatenate([sampler.next_batch() for _ in range(count)])
    start = 0
    for name, size in SIZES.items():
        drawn = rows[(rows >= start) & (rows < start + size)]
        assert len(drawn) == sampler.counts(count)[name]
        for epoch in range(0, len(drawn), size):
            seen = drawn[epoch : epoch + size]
            assert len(set(seen.tolist())) == len(seen)
        start += size


@settings(max_examples=200)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-3),
    st.integers(1, 300),
    st.integers(0, 1000),
)
def test_low_discrepancy_is_within_one_row_of_every_share(parts, batch, step):
    weights = np.array(parts) / sum(parts)
    drawn = drawn_domains(weights, BatchPlan(batch, seed=1), step)
    counts = np.bincount(drawn, minlength=len(weights))
    assert np.abs(counts - batch * weights).max() < 1 + 1e-9
    assert counts[weights == 0].sum() == 0


def test_both_draws_reach_the_shares_and_low_discrepancy_is_the_closer():
    weights = np.array([0.5, 0.3, 0.137, 0.063])
    errors = {}
    for draw in DRAWS:
        plan = BatchPlan(64, seed=5, draw=draw)
        drawn = np.concatenate([drawn_domains(weights, plan, step) for step in range(200)])
        errors[draw] = np.abs(np.bincount(drawn, minlength=4) / len(drawn) - weights).max()
    assert errors["iid"] < 0.02  # four standard errors
    assert errors["low_discrepancy"] < 0.002


def test_domains_are_spread_over_the_ranks():
    plan = BatchPlan(1024, seed=2)
    drawn = drawn_domains(np.array([0.5, 0.5]), plan, 0)
    assert [int(drawn[rank::4].sum()) for rank in range(4)] == pytest.approx([128] * 4, abs=32)


def permuted(size, key):
    places = np.arange(size)
    keys = np.full(size, key, dtype=np.uint64)
    return permute(places, np.full(size, size), keys).tolist()


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_a_permutation_takes_every_place_once(size, key):
    assert sorted(permuted(size, key)) == list(range(size))


def test_permutations_of_epochs_domains_and_seeds_differ():
    keys = [key_of(seed, "rows", name, 1) for seed in (1, 11) for name in ("a", "b")]
    keys += [key_of(1, "rows", "a", 0), key_of("1", "rows", "a", 1)]
    assert len({tuple(permuted(50, key)) for key in keys}) == len(keys)


def test_uniforms_fill_their_range():
    numbers = uniforms(key_of(1, "x"), 20_000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(2000, abs=200)


def test_batches_do_not_depend_on_the_process():
    code = (
        "from mixwright_client.sampler import *;"
        "s = MixtureBatchSampler({'web': 200, 'code': 60, 'books': 7},"
        "lambda step: {'web': .5, 'code': .3, 'books': .2}, BatchPlan(24, seed=3));"
        "print([s.next_batch().tolist() for _ in range(3)])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert json.loads(found.stdout) == all_batches(make_ledger([]), 3)


def test_a_data_loader_takes_it():
    torch_data = pytest.importorskip("torch.utils.data")
    sampler = make_sampler(make_ledger([]), steps=4, micro_batches=2)
    loader = torch_data.DataLoader(range(267), batch_sampler=sampler)
    found = [batch.tolist() for batch in loader]
    assert len(found) == len(loader) == 8
    assert found[0] + found[1] == all_batches(make_ledger([]), 1)[0]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="shared out evenly"):
        BatchPlan(10, world=4)
    with pytest.raises(ValueError, match="rank 4"):
        BatchPlan(8, rank=4, world=4)
    with pytest.raises(ValueError, match="'random' is unknown"):
        BatchPlan(8, draw="random")
    with pytest.raises(ValueError, match="without rows"):
        MixtureBatchSampler({"a": 0}, lambda step: {"a": 1.0}, BatchPlan(8))
    with pytest.raises(TypeError, match="never ends"):
        len(make_sampler(make_ledger([])))


def test_a_state_of_other_data_is_refused():
    sampler = make_sampler(make_ledger([]))
    state = sampler.state_dict(0)
    with pytest.raises(ValueError, match="other data"):
        sampler.load_state_dict({**state, "sizes": list({**SIZES, "web": 100}.items())})
    with pytest.raises(ValueError, match="other data"):
        sampler.load_state_dict({**state, "sizes": state["sizes"][::-1]})
    with pytest.raises(ValueError, match="of seed 4"):
        sampler.load_state_dict({**state, "seed": 4})
    with pytest.raises(ValueError, match="outside of what is remembered"):
        sampler.state_dict(1)
