"""Training on documents that θ chooses: windows, common random numbers, resuming, empty choices."""

import dataclasses

import numpy as np
import pytest
import torch
from small_group import NAMES, make_order
from small_scored import (
    META_RATER,
    RATERS,
    SPACE,
    make_documents,
    make_pool,
    make_scored_order,
    make_scored_store,
    run_of,
    theta,
)

from mixwright.corpus.build import build_store
from mixwright.corpus.errors import CorpusError
from mixwright.corpus.selection import Selection
from workers.checkpoint import Checkpoints
from workers.documents import DocumentSampler
from workers.order import OrderError
from workers.reporting import as_result
from workers.train import train_group

CPU = torch.device("cpu")
CONTEXT, ROWS = 16, 32
SOME = [theta(), theta(omega=0.1, epsilon=0.0), theta(low={"omega": 0.0, "epsilon": 0.0})]
NOTHING = theta(omega=0.0, epsilon=0.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_scored_store(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def pool(store):
    return make_pool(store)


def select(pool, parameters, seed=0):
    return pool.select(pool.function(parameters), seed)


def sampler(store, pool, selections, steps=60, seeds=None, **more):
    slots = len(selections)
    shape = {"sequences": ROWS, "context": CONTEXT, "num_steps": steps, **more}
    shards = [store.train(domain) for domain in range(2)]
    return DocumentSampler(shards, pool, selections, seeds or [0] * slots, [0] * slots, **shape)


def laid_out(store, pool, selection, domain):
    """A domain's chosen documents end to end, made by hand."""
    shard, tokens = pool.shards[domain], store.train(domain)
    return b"".join(
        bytes(tokens[start : start + count])
        for turn in range(3)
        for start, count, copies in zip(
            shard.starts, shard.tokens, selection.copies[domain], strict=True
        )
        if copies > turn
    )


def test_windows_are_pieces_of_the_chosen_documents_and_reach_all_of_them(store, pool):
    selections = [select(pool, one) for one in SOME]
    drawn = sampler(store, pool, selections)
    for slot, selection in enumerate(selections):
        rings = [laid_out(store, pool, selection, domain) for domain in range(2)]
        seen = [set(), set()]
        for step in range(60):
            for window in drawn.batch(step)[slot]:
                text = bytes(window.astype(np.uint8))
                found = [ring and (ring + ring[:CONTEXT]).find(text) for ring in rings]
                assert max(place for place in found if place != b"") >= 0
                for domain, place in enumerate(found):
                    if place not in (b"", -1):
                        seen[domain].add(place)
        assert len(seen[1]) > 300
    assert not rings[0]


def test_borders_of_documents_and_the_end_of_all_are_crossed(store, pool):
    copies = [np.zeros(len(shard.ids), dtype=np.int64) for shard in pool.shards]
    copies[0][[3, 8]] = 1, 2
    selection = chosen_by_hand(pool, copies)
    ring = laid_out(store, pool, selection, 0)
    drawn = sampler(store, pool, [selection], steps=100, context=len(ring) // 2)
    seen = set()
    for step in range(100):
        for window in drawn.batch(step)[0]:
            text = bytes(window.astype(np.uint8))
            place = (ring + ring).find(text)
            assert place >= 0
            seen.add(place)
    assert max(seen) > len(ring) // 2 + 10  # such windows end at the beginning


def test_a_selection_smaller_than_a_window_is_repeated_in_it(store, pool):
    copies = [np.zeros(len(shard.ids), dtype=np.int64) for shard in pool.shards]
    copies[1][5] = 1
    selection = chosen_by_hand(pool, copies)
    ring = laid_out(store, pool, selection, 1)
    window = sampler(store, pool, [selection], steps=1, context=3 * len(ring)).batch(0)[0, 0]
    assert bytes(window.astype(np.uint8)) in 5 * ring


def test_every_chosen_token_is_as_likely_as_any_other(store, pool):
    selection = select(pool, theta(omega=0.2, epsilon=0.1))
    steps = 2000
    drawn = sampler(store, pool, [selection], steps=steps)
    shares = drawn.realised_tokens(steps)[0] / (steps * ROWS * CONTEXT)
    np.testing.assert_allclose(shares, selection.tokens / selection.tokens.sum(), atol=0.01)
    starts = np.concatenate([drawn.batch(step)[0, :, 0] for step in range(steps)])
    ring = np.frombuffer(
        b"".join(laid_out(store, pool, selection, domain) for domain in range(2)), dtype=np.uint8
    )
    found, expected = (np.bincount(one, minlength=256) / len(one) for one in (starts, ring))
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_slot_does_not_depend_on_its_siblings(store, pool):
    selections = [select(pool, one) for one in SOME]
    together = sampler(store, pool, selections, seeds=[1, 2, 1])
    alone = sampler(store, pool, selections[1:2], seeds=[2])
    for step in (0, 7, 59):
        np.testing.assert_array_equal(together.batch(step)[1], alone.batch(step)[0])


def test_equal_selections_have_equal_batches_and_rows_move_one_by_one(store, pool):
    shares = np.linspace(0.05, 1.0, 8)
    selections = [
        select(pool, theta(omega=0.0, epsilon=0.5, low={"epsilon": share, "omega": 0.0}))
        for share in [*shares, shares[-1]]
    ]
    drawn = sampler(store, pool, selections)
    for step in range(10):
        batch = drawn.batch(step)
        np.testing.assert_array_equal(batch[-1], batch[-2])
        is_low = (batch[:-1, :, :] < ord("s")).all(axis=2)  # the letters of the other are above
        assert (np.diff(is_low.astype(int), axis=0) >= 0).all()


def chosen_by_hand(pool, copies):
    tokens = [shard.tokens @ some for shard, some in zip(pool.shards, copies, strict=True)]
    distinct = [shard.tokens @ (c > 0) for shard, c in zip(pool.shards, copies, strict=True)]
    return Selection(tuple(copies), np.array(tokens), np.array(distinct))


def train(order, store, folder, stop_after=None, every=3600.0):
    progress = []
    return train_group(
        order,
        store,
        CPU,
        checkpoints=Checkpoints(str(folder), order, every),
        on_step=progress.append,
        on_evaluation=lambda points: None,
        should_stop=lambda: stop_after is not None and len(progress) >= stop_after,
    )


def test_training_by_parameters_is_training_on_the_documents_they_choose(store, pool, tmp_path):
    parameters = theta(omega=0.3, epsilon=0.2, low={"eta": 0.0})
    (result,) = train(make_scored_order(store, [parameters]), store, tmp_path / "a")
    selection = select(pool, parameters)
    by_hand = {
        name: [
            document
            for turn in range(3)
            for document, copies in zip(documents, selection.copies[domain], strict=True)
            if copies > turn
        ]
        for domain, (name, documents) in enumerate(make_documents().items())
    }
    few = build_copied(tmp_path / "few", by_hand, store)
    (expected,) = train(
        make_scored_order(few, [theta(omega=0.0, epsilon=1.0)]), few, tmp_path / "b"
    )
    assert result.metrics == expected.metrics
    assert result.selected_tokens == expected.selected_tokens
    assert result.realised_tokens == expected.realised_tokens


def build_copied(folder, documents, store):
    """A store of just these documents, whose copies no duplicate drops."""
    from mixwright.corpus import build

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build._Seen, "add", lambda *_: True)
        return build_store(
            {name: (lambda some=some: some) for name, some in documents.items()},
            folder,
            raters=RATERS,
            validation={
                name: (lambda d=domain: bytes(store.validation(d)).decode().split("\0")[:-1])
                for domain, name in enumerate(documents)
            },
        )


@pytest.mark.parametrize("stop_after", [5, 8])
def test_a_training_by_parameters_goes_on_to_the_same_bits(store, tmp_path, stop_after):
    order = make_scored_order(store, [*SOME, NOTHING], width=2)
    whole = train(order, store, tmp_path / "a")
    results, turns = None, 0
    while results is None:
        results, turns = train(order, store, tmp_path / "b", stop_after, every=0.0), turns + 1
        assert turns < 10
    assert turns > 2
    assert results == whole


def test_what_was_chosen_and_drawn_is_told(store, pool, tmp_path):
    order = make_scored_order(store, SOME)
    for result, parameters in zip(train(order, store, tmp_path), SOME, strict=True):
        selection = select(pool, parameters)
        assert list(result.selected_tokens.values()) == selection.tokens.tolist()
        assert sum(result.realised_tokens.values()) == order.tokens
        for name, distinct in zip(NAMES, selection.distinct_tokens, strict=True):
            drawn = result.realised_tokens[name]
            assert result.epochs[name] == pytest.approx(drawn / distinct if distinct else 0.0)
        told = as_result(result, {"loss/low", "loss/high"})
        assert told["metadata"]["selected_tokens"] == result.selected_tokens
    assert result.selected_tokens["low"] == 0


def test_parameters_that_choose_nothing_fail_their_run_alone(store, tmp_path):
    order = make_scored_order(store, [SOME[0], NOTHING, SOME[1]])
    results = train(order, store, tmp_path / "three")
    assert [result.state for result in results] == ["succeeded", "empty", "succeeded"]
    told = as_result(results[1], {"loss/low"})
    assert told["reason"].startswith("the parameters select no document of any domain; raise omega")
    assert set(told) == {"run", "reason"}
    two = train(make_scored_order(store, SOME[:2]), store, tmp_path / "two")
    assert [results[0].metrics, results[2].metrics] == [one.metrics for one in two]


BEST = {"mode": "replacement", "max_epochs": None, "pool_tokens": None, "budget_tokens": 6000.0}
WEIGHTS = [{"edu": 1.0, "noise": 0.0}, {"edu": 0.5, "noise": 0.5}, {"edu": 0.0, "noise": 1.0}]


def test_a_training_by_weights_of_raters_is_one_on_the_best_documents(store, tmp_path):
    order = make_scored_order(store, WEIGHTS, space=META_RATER, sampling=BEST)
    pool, losses = make_pool(store, META_RATER), set()
    for result, weights in zip(train(order, store, tmp_path / "a"), WEIGHTS, strict=True):
        selection = pool.select(pool.function(weights, 6000.0), 0)
        assert list(result.selected_tokens.values()) == selection.tokens.tolist()
        assert 6000 <= selection.tokens.sum() < 6500
        marks = theta(omega=0.0, epsilon=1.0)
        documents = {
            name: [one for one, c in zip(some, selection.copies[domain], strict=True) if c]
            for domain, (name, some) in enumerate(make_documents().items())
        }
        few = build_copied(tmp_path / str(len(losses)), documents, store)
        (expected,) = train(make_scored_order(few, [marks]), few, tmp_path / f"b{len(losses)}")
        assert result.metrics == expected.metrics
        losses.add(result.metrics["loss/low"])
    assert len(losses) == 3


def test_a_training_by_weights_of_raters_goes_on_to_the_same_bits(store, tmp_path):
    order = make_scored_order(store, WEIGHTS, space=META_RATER, sampling=BEST, width=2)
    whole = train(order, store, tmp_path / "a")
    results, turns = None, 0
    while results is None:
        results, turns = train(order, store, tmp_path / "b", 5, every=0.0), turns + 1
        assert turns < 10
    assert turns > 2
    assert results == whole


def test_seeds_choose_other_documents(store, tmp_path):
    half = theta(omega=0.0, epsilon=0.5)
    order = make_scored_order(store, [half, half], runs=[run_of(i, half, seed=i) for i in range(2)])
    first, second = train(order, store, tmp_path)
    assert first.selected_tokens != second.selected_tokens


def test_orders_that_do_not_fit_together_are_refused(store):
    weights = [
        {"id": "a", "weights": {}, "seed": 0, "stream": 0, "learning_rate": None},
    ]
    with pytest.raises(OrderError, match="runs/0 needs parameters alone"):
        make_scored_order(store, SOME, runs=weights)
    with pytest.raises(OrderError, match="runs/0 needs weights alone"):
        make_order(store, runs=[run_of(0, SOME[0])])
    epochs = {"mode": "epochs", "max_epochs": None, "pool_tokens": None}
    with pytest.raises(OrderError, match="from no pools") as caught:
        make_scored_order(store, SOME, sampling=epochs)
    assert caught.value.field == "sampling"


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"kind": "quadmix"}, "space cannot be read: 'raters'"),
        ({"kind": "later", "raters": ["edu"]}, "space cannot be read: no space 'later'"),
        ({"kind": "mixture"}, "points of the space 'mixture' choose no documents"),
        ({**SPACE, "normalisation": "minmax"}, "no normalisation 'minmax'"),
        (META_RATER, "sampling/budget_tokens is missing: points of the space 'meta_rater'"),
    ],
)
def test_spaces_that_a_worker_cannot_choose_by_are_refused(store, space, says):
    with pytest.raises(OrderError, match=says):
        make_scored_order(store, SOME, space=space)


def test_scores_that_the_store_lacks_are_missed(store, tmp_path):
    order = make_scored_order(store, SOME)
    other = dataclasses.replace(order, space={**SPACE, "raters": ["edu", "dclm"]})
    with pytest.raises(CorpusError, match="no scores of 'dclm', it has edu, noise"):
        train(other, store, tmp_path)


def test_a_shard_is_read_once_a_batch_for_all_slots(store, pool):
    calls = []

    class Counting(np.ndarray):
        def __getitem__(self, key):
            calls.append(key)
            return super().__getitem__(key)

    selections = [select(pool, SOME[0])] * 16
    shards = [store.train(domain).view(Counting) for domain in range(2)]
    drawn = DocumentSampler(
        shards, pool, selections, [0] * 16, [0] * 16,
        sequences=8, context=CONTEXT, num_steps=1,
    )  # fmt: skip
    drawn.batch(0)
    assert len(calls) == 2
