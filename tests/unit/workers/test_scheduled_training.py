"""Training under schedules: steps, rates, mixtures and documents by stage, averages, resuming."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from small_group import NAMES, make_order, make_store
from small_scored import make_scored_store

from mixwright.corpus.store import CorpusError
from mixwright.errors import InvalidInputError
from mixwright.schedules import Budget, Schedule, Stage
from mixwright.schedules.averaging import Averaging
from mixwright.schedules.curves import Curve
from mixwright.schedules.selecting import selected
from workers import train as module
from workers.checkpoint import Checkpoints
from workers.order import GroupOrder, OrderError
from workers.pace import pace_of
from workers.reporting import as_result
from workers.staged import StagedSampler
from workers.step import averaged
from workers.train import train_group

CPU = torch.device("cpu")
CONTEXT, BATCH, TOKENS, RATE = 16, 8 * 16, 12 * 8 * 16, 0.01
BUDGET = Budget(TOKENS, CONTEXT, BATCH, RATE)
EVEN = {"low": 0.5, "high": 0.5}
LOW, HIGH = {"low": 1.0, "high": 0.0}, {"low": 0.0, "high": 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    return make_scored_store(tmp_path_factory.mktemp("scored"))


def schedule(*parts, budget=BUDGET):
    """A schedule of stages: (tokens, data) or (tokens, data, changes)."""
    stages, start = [], 0
    for index, (tokens, data, *changes) in enumerate(parts):
        stage = Stage(
            f"stage {index}",
            start,
            start + tokens,
            Curve.constant(budget.batch_tokens, budget.tokens),
            Curve.constant(budget.peak_learning_rate, budget.tokens),
            **({"weights": data} if set(data) <= {*NAMES, "web"} else {"selection": data}),
        )
        stages.append(dataclasses.replace(stage, **(changes[0] if changes else {})))
        start += tokens
    return Schedule(budget, tuple(stages))


def order_of(store, *schedules, seeds=(0,), **changes):
    runs = [
        {
            "id": f"run_{index}",
            "seed": seed,
            "stream": 0,
            "learning_rate": None,
            "schedule": one.to_json(),
        }
        for index, (seed, one) in enumerate(itertools.product(seeds, schedules))
    ]
    return make_order(store, runs=runs, **{"width": len(runs), **changes})


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


def sampler(store, *schedules, seed=0):
    return StagedSampler(store, NAMES, schedules, [(seed, 0)] * len(schedules), CONTEXT)


def batches(store, one, steps, seed=0):
    drawn = sampler(store, one, seed=seed)
    return np.concatenate([drawn.batch(step)[0] for step in range(steps)])


def test_one_constant_stage_trains_bit_for_bit_like_no_schedule(store, tmp_path):
    plain = make_order(store, count=1)
    optimizer = dataclasses.replace(plain.optimizer, schedule="constant", warmup=0.0)
    plain = dataclasses.replace(plain, optimizer=optimizer)
    runs = (dataclasses.replace(plain.runs[0], weights={"low": 0.3, "high": 0.7}),)
    (expected,) = train(dataclasses.replace(plain, runs=runs), store, tmp_path / "plain")
    order = order_of(store, schedule((TOKENS, {"low": 0.3, "high": 0.7})))
    (found,) = train(order, store, tmp_path / "scheduled")
    assert found == dataclasses.replace(expected, width=1, run_id="run_0")


def test_batches_and_rates_of_each_step_are_those_of_the_stages(store, tmp_path, monkeypatch):
    seen, real = [], module.train_step

    def watched(state, model, windows, optimizer, rates, *rest, **more):
        seen.append((windows.shape[1], rates.tolist()))
        return real(state, model, windows, optimizer, rates, *rest, **more)

    monkeypatch.setattr(module, "train_step", watched)
    half = TOKENS // 2
    ramp = {
        "batch": Curve.constant(2 * BATCH, TOKENS),
        "rate": Curve(half, TOKENS, RATE, 0.0, "linear"),
    }
    one = schedule((half, EVEN), (half, EVEN, ramp))
    fast = schedule((half, LOW, {"rate": Curve.constant(0.02, TOKENS)}), (half, LOW, ramp))
    train(order_of(store, one, fast), store, tmp_path)
    assert [count for count, _ in seen] == [8] * 6 + [16] * 3
    falling = [RATE, RATE * 2 / 3, RATE / 3]
    np.testing.assert_allclose([r[0] for _, r in seen], [RATE] * 6 + falling, rtol=1e-6)
    np.testing.assert_allclose([r[1] for _, r in seen], [0.02] * 6 + falling, rtol=1e-6)


def test_schedules_with_the_same_data_have_the_same_sequences_whatever_their_batches(store):
    half = TOKENS // 2
    small = {"batch": Curve.constant(BATCH / 4, TOKENS)}
    one = schedule((half, EVEN), (half, LOW))
    other = schedule((half, EVEN, small), (half, HIGH, small))
    first, second = batches(store, one, 12), batches(store, other, 48)
    np.testing.assert_array_equal(first[:48], second[:48])
    is_low = [(some < ord("s")).all(axis=1) for some in (first, second)]
    assert is_low[0][48:].all()
    assert not is_low[1][48:].any()
    assert 0.2 < is_low[0][:48].mean() < 0.8


def test_realised_tokens_are_counted_over_stages(store, tmp_path):
    quarter = TOKENS // 4
    order = order_of(store, schedule((quarter, HIGH), (3 * quarter, LOW)))
    (result,) = train(order, store, tmp_path)
    assert result.realised_tokens == {"low": 3 * quarter, "high": quarter}
    whole = dict(zip(store.domains, store.train_tokens.tolist(), strict=True))
    assert result.epochs == {name: result.realised_tokens[name] / whole[name] for name in NAMES}


def bucket(above=None, up_to=None, **more):
    limits = {"above": above, "up_to": up_to}
    condition = {name: value for name, value in limits.items() if value is not None}
    return {"where": [{"column": "edu", **condition}], **more}


def chosen_text(store, selection):
    """The documents of each domain that a selection chooses, end to end, made by hand."""
    found = []
    for domain in range(2):
        table, tokens = store.scored(domain, ["edu", "noise"]), store.train(domain)
        is_chosen = selected(selection, dict(zip(("edu", "noise"), table.scores.T, strict=True)))
        pieces = zip(table.starts, table.tokens, is_chosen, strict=True)
        found.append(b"".join(bytes(tokens[a : a + n]) for a, n, here in pieces if here))
    return found


def test_a_selection_shows_each_of_its_blocks_once_before_any_comes_again(scored):
    low = bucket(up_to=0.0)
    texts = chosen_text(scored, low)
    blocks = [
        text[start : start + CONTEXT + 1]
        for text in texts
        for start in range(0, len(text) - CONTEXT, CONTEXT + 1)
    ]
    steps = -(-2 * len(blocks) // 8)
    budget = dataclasses.replace(BUDGET, tokens=steps * BATCH)
    windows = batches(scored, schedule((steps * BATCH, low), budget=budget), steps)
    shown = [bytes(window.astype(np.uint8)) for window in windows]
    once, again = shown[: len(blocks)], shown[len(blocks) : 2 * len(blocks)]
    assert sorted(once) == sorted(again) == sorted(blocks)
    assert once != again


def subset(low, high, **more):
    """A selection of so many blocks of each domain."""
    blocks = {"low": float(low), "high": float(high)}
    return {"subset_tokens": (low + high) * (CONTEXT + 1), "tokens": blocks, **more}


def epochs_of(drawn, count, slot=0):
    """The sequences of whole steps as texts, in epochs of so many blocks."""
    steps = len(drawn._ends) - 1
    windows = np.concatenate([drawn.batch(step)[slot] for step in range(steps)])
    shown = [bytes(window.astype(np.uint8)) for window in windows]
    return [shown[start : start + count] for start in range(0, len(shown), count)]


def test_a_subset_shows_the_best_documents_of_each_domain_in_its_shares(scored):
    drawn, expected = sampler(scored, schedule((TOKENS, subset(8, 24, best_by="edu")))), []
    found = epochs_of(drawn, 32)
    for domain, count in enumerate((8, 24)):
        table, tokens = scored.scored(domain, ["edu"]), scored.train(domain)
        ranked, length = np.argsort(-table.scores[:, 0]), count * (CONTEXT + 1)
        few = 1 + int(np.searchsorted(np.cumsum(table.tokens[ranked]), length))
        places = [(table.starts[row], table.tokens[row]) for row in sorted(ranked[:few])]
        text = b"".join(bytes(tokens[start : start + size]) for start, size in places)
        expected += [text[at : at + CONTEXT + 1] for at in range(0, length, CONTEXT + 1)]
    assert [sorted(epoch) for epoch in found] == [sorted(expected)] * 3
    assert found[0] != found[1]
    assert drawn.pool_sizes.tolist() == [[8 * 17, 24 * 17]]


def test_a_subset_without_scores_is_the_same_for_all_proxies_and_comes_epoch_after_epoch(store):
    one = schedule((TOKENS, subset(8, 24)))
    drawn = StagedSampler(store, NAMES, [one, one], [(0, 0), (7, 1)], CONTEXT)
    first, second = (epochs_of(drawn, 32, slot) for slot in range(2))
    assert [sorted(epoch) for epoch in (*first, *second)] == [sorted(first[0])] * 6
    assert first[0] != second[0]
    assert sum(max(text) < ord("s") for text in first[0]) == 8
    whole = b"".join(bytes(store.train(domain)) for domain in range(2))
    assert all(text in whole for text in first[0])
    np.testing.assert_array_equal(drawn.pool_sizes, [[8 * 17, 24 * 17]] * 2)
    assert (drawn.realised_tokens(12)[0] / CONTEXT).tolist() == [24, 72]


def test_what_follows_a_subset_is_what_would_have_come_without_it(scored):
    half = TOKENS // 2
    with_one = schedule((half, subset(10, 10, best_by="edu")), (half, EVEN))
    found, plain = batches(scored, with_one, 12), batches(scored, schedule((TOKENS, EVEN)), 12)
    np.testing.assert_array_equal(found[48:], plain[48:])
    assert (found[:48] != plain[:48]).any()


def test_stages_of_other_subsets_have_their_own_blocks(scored):
    drawn, best, half = subset(12, 12), subset(12, 12, best_by="edu"), TOKENS // 2
    found = batches(scored, schedule((half, drawn), (half, best)), 12)
    for part, one in zip((found[:48], found[48:]), (drawn, best), strict=True):
        np.testing.assert_array_equal(part, batches(scored, schedule((TOKENS, one)), 6))


def test_documents_that_stages_share_are_counted_once(scored):
    good, half = bucket(above=0.0), TOKENS // 2
    united = schedule((half, subset(8, 24, best_by="edu")), (half, good))
    drawn = sampler(scored, united, schedule((TOKENS, good)))
    np.testing.assert_array_equal(*drawn.pool_sizes)


def test_stages_of_one_selection_go_on_where_the_one_before_ended(scored):
    half = TOKENS // 2
    whole = batches(scored, schedule((TOKENS, bucket())), 12)
    parts = batches(scored, schedule((half, bucket()), (half, bucket(ascending=True))), 12)
    np.testing.assert_array_equal(whole, parts)


def test_a_difference_of_columns_is_a_condition_and_nan_is_on_no_side():
    columns = {"strong": np.array([1.0, 3.0, np.nan]), "weak": np.array([2.0, 3.0, 1.0])}
    condition = {"column": "1 - strong / weak", "above": 0.2}
    assert selected({"where": [condition]}, columns).tolist() == [True, False, False]
    assert selected({"where": [{"column": "weak", "up_to": 2.0}]}, columns).tolist() == [
        True, False, True,
    ]  # fmt: skip


def test_a_handover_exchanges_places_and_keeps_every_stage_its_size(scored):
    half = TOKENS // 2

    def is_good(width):
        parts = [
            (half, bucket(up_to=0.0, handover=width)),
            (half, bucket(above=0.0, handover=width)),
        ]
        drawn = sampler(scored, schedule(*parts))
        return drawn._plans[0][1] == 1

    hard, soft = is_good(0.0), is_good(0.05)
    assert hard.tolist() == [False] * 48 + [True] * 48
    assert soft.sum() == 48
    assert 0 < soft[:48].sum() < 24
    assert soft[:24].sum() < soft[24:48].sum()


def test_a_handover_has_the_shares_that_it_states(scored):
    """At progress u, stage k has σ((u - b_k-1) / τ) - σ((u - b_k) / τ) of what there is."""
    part, width = 8_000, 0.03
    limits = [{"up_to": -0.5}, {"above": -0.5, "up_to": 0.0}, {"above": 0.0, "up_to": 0.5}]
    stages = [bucket(**one, handover=width) for one in (*limits, {"above": 0.5})]
    tokens = part * BATCH // 8
    budget = dataclasses.replace(BUDGET, tokens=4 * tokens)
    drawn = sampler(scored, schedule(*((tokens, one) for one in stages), budget=budget))
    stage, borders = drawn._plans[0][1], np.arange(5) / 4
    for progress in (0.2, 0.5, 0.6):
        place = int(progress * 4 * part)
        near = stage[place - 400 : place + 400]
        rises = 1 / (1 + np.exp(-(progress - borders) / width))
        expected = (rises[:-1] - rises[1:]) / (rises[0] - rises[-1])
        np.testing.assert_allclose(np.bincount(near, minlength=4) / 800, expected, atol=0.07)


def test_an_average_is_the_weighted_mean_of_checkpoints(store, tmp_path, monkeypatch):
    seen, ends, real = [], [], module.train_step

    def watched(state, *rest, **more):
        loss = real(state, *rest, **more)
        seen.append({name: p.clone() for name, p in state.parameters.items()})
        return loss

    def evaluated(task, runs, state, validation):
        ends.append(state.parameters)
        return evaluate(task, runs, state, validation)

    evaluate = module._evaluate
    monkeypatch.setattr(module, "train_step", watched)
    monkeypatch.setattr(module, "_evaluate", evaluated)
    averaging = Averaging("linear", checkpoints=3, share=0.5)
    one = schedule((TOKENS, EVEN, {"averaging": averaging}))
    order = order_of(store, one, schedule((TOKENS, EVEN)))
    result, plain = train(order, store, tmp_path)
    for name, found in ends[-1].items():
        expected = (1 * seen[7][name][0] + 2 * seen[9][name][0] + 3 * seen[11][name][0]) / 6
        torch.testing.assert_close(found[0], expected)
        torch.testing.assert_close(found[1], seen[11][name][1], rtol=0, atol=0)
    assert result.last_metrics == plain.metrics
    assert result.metrics != plain.metrics
    assert plain.last_metrics == {}
    told = as_result(result, set(result.metrics))["metadata"]["last_metrics"]
    assert told == plain.metrics


@pytest.mark.parametrize("stop_after", [5, 8])
def test_a_scheduled_training_that_was_stopped_goes_on_to_the_same_bits(
    scored, tmp_path, stop_after
):
    third, step = TOKENS // 3, BATCH
    ramp = {"batch": Curve(third, TOKENS, BATCH / 2, BATCH, "geometric")}
    last = {**ramp, "averaging": Averaging("exponential", checkpoints=4, share=0.9)}
    first = ((step, EVEN), (step, subset(3, 5)), (2 * step, subset(5, 3, best_by="edu")))
    one = schedule(*first, (third, bucket(up_to=0.0), ramp), (third, bucket(above=0.0), last))
    order = order_of(scored, one, seeds=(0, 1, 2), width=2)
    whole = train(order, scored, tmp_path / "a")
    results, turns = None, 0
    while results is None:
        results, turns = train(order, scored, tmp_path / "b", stop_after, every=0.0), turns + 1
        assert turns < 20
    assert turns > 2
    assert results == whole
    assert all(result.last_metrics for result in results)


def test_a_proxy_under_a_schedule_does_not_depend_on_its_siblings(scored, tmp_path):
    half = TOKENS // 2
    one, other = schedule((half, LOW), (half, HIGH)), schedule((half, bucket()), (half, EVEN))
    together = train(order_of(scored, one, other, seeds=(0, 3)), scored, tmp_path / "a")
    alone = train(order_of(scored, other, seeds=(3,)), scored, tmp_path / "b")
    assert together[3].metrics == alone[0].metrics


def refused(store, one, match, error=OrderError, tmp_path=None, **changes):
    with pytest.raises(error, match=match):
        train(order_of(store, one, **changes), store, tmp_path)


def test_schedules_that_cannot_be_trained_are_refused_with_the_reason(store, scored, tmp_path):
    web = {"web": 1.0}
    refused(store, schedule((TOKENS, web)), "domain 'web', which is not one of low, high")
    refused(scored, schedule((TOKENS, bucket(above=99.0))), "documents of 0 tokens, less than")
    best = {**bucket(), "best_first": True}
    refused(scored, schedule((TOKENS, best)), "selection by 'best_first'", InvalidInputError)
    refused(store, schedule((TOKENS, {"where": []})), "build it with --score")
    refused(store, schedule((TOKENS, subset(8, 10**5))), "subset of 1700000 tokens of 'high', and")
    refused(scored, schedule((TOKENS, subset(10**5, 8, best_by="edu"))), "of 'low', and there are")
    unknown = schedule((TOKENS, subset(8, 8, best_by="dclm")))
    refused(scored, unknown, "no scores of 'dclm'", CorpusError)
    both = schedule((TOKENS, {**subset(8, 8), "where": []}))
    refused(scored, both, "selection by 'where'", InvalidInputError)
    no_shares = schedule((TOKENS, {**subset(8, 8), "tokens": {}}))
    refused(scored, no_shares, "needs the `tokens` of each domain", InvalidInputError)
    refused(store, schedule((TOKENS, EVEN)), "1536 tokens in sequences of 16", tokens=10**4)
    short = schedule((TOKENS - 8, EVEN), (8, LOW))
    refused(store, short, "8 tokens of stage 'stage 1' are less than a step", InvalidInputError)
    early = {"averaging": Averaging()}
    within = schedule((TOKENS // 2, LOW, early), (TOKENS // 2, EVEN))
    refused(store, within, "within the training", InvalidInputError)
    within = schedule((TOKENS, LOW, early))
    refused(store, within, "6 checkpoints within fewer steps", InvalidInputError)


def test_runs_of_a_group_with_other_batches_are_refused(store):
    small = {"batch": Curve.constant(BATCH / 2, TOKENS)}
    order = order_of(store, schedule((TOKENS, EVEN)), schedule((TOKENS, EVEN, small)))
    with pytest.raises(OrderError, match="differ in their batches"):
        pace_of(order, order.shape(256), order.runs)


def test_a_run_has_weights_or_a_schedule_and_schedules_have_no_pools(store):
    one = schedule((TOKENS, EVEN))
    plain = make_order(store, count=1)
    mixed = dataclasses.replace(plain.runs[0], schedule=one)
    with pytest.raises(OrderError, match="runs/0 needs schedule alone"):
        make_order(store, runs=[{**dataclasses.asdict(mixed), "schedule": one.to_json()}])
    with pytest.raises(OrderError, match="from no pools"):
        order_of(store, one, sampling={"mode": "epochs", "max_epochs": None, "pool_tokens": None})


def test_an_order_with_schedules_is_read_from_json(store):
    order = order_of(store, schedule((TOKENS, EVEN, {"averaging": Averaging("linear", 3)})))
    assert isinstance(order, GroupOrder)
    assert order.runs[0].schedule == schedule((TOKENS, EVEN, {"averaging": Averaging("linear", 3)}))


def test_averages_of_slots_without_one_are_their_parameters():
    state = module.begin({"norm": torch.arange(4.0).view(2, 2)}, torch.ones(2, dtype=torch.bool))
    module.add_to_average(state, torch.tensor([0.0, 0.25]))
    module.add_to_average(state, torch.tensor([0.0, 0.75]))
    torch.testing.assert_close(averaged(state)["norm"], state.parameters["norm"])
