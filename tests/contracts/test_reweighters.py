"""What holds for every registered reweighter."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reweighter_cases import CASES, DOMAINS, needed_options, observations

from mixwright.errors import InvalidInputError
from mixwright.reweighting import REWEIGHTERS, build_reweighter, describe
from mixwright.reweighting.base import VECTORS, Blocks, Table
from mixwright.reweighting.blocks import Bitmap
from mixwright.reweighting.canonical import canonical, digest, from_document, to_document

PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
every = pytest.mark.parametrize("name", list(REWEIGHTERS))


def begin(name, domains=DOMAINS, weights=PRIOR):
    reweighter = build_reweighter(name, needed_options(name, domains))
    return reweighter, reweighter.init(domains, weights, 7)


def reversed_axes(table):
    return Table(table.rows[::-1], table.columns[::-1], table.values[::-1, ::-1])


def spoilt_at(values, place, bad):
    spoilt = values.copy()
    if spoilt.size:
        spoilt[..., place % spoilt.shape[-1]] = bad
    return spoilt


def fold(reweighter, state, told):
    for one in told:
        state = reweighter.update(state, one).state
    return state


def spoil(one, change):
    """The observation with `change(array)` in place of every array of numbers in it."""
    blocks = one.blocks
    return replace(
        one,
        vectors={key: change(values.copy()) for key, values in one.vectors.items()},
        tables={
            key: Table(table.rows, table.columns, change(table.values.copy()))
            for key, table in one.tables.items()
        },
        blocks=None if blocks is None else Blocks(blocks.ids, change(blocks.losses.copy())),
        scores=dict(
            zip(one.scores, change(np.array(list(one.scores.values()))).tolist(), strict=True)
        ),
    )


def numbers(one):
    """Every array of an observation."""
    tables = [table.values for table in one.tables.values()]
    blocks = [] if one.blocks is None else [one.blocks.ids, one.blocks.losses]
    return [*one.vectors.values(), *tables, *blocks]


def test_all_have_a_case():
    assert set(CASES) == set(REWEIGHTERS)


@every
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_weights_stay_on_the_simplex(name, seed):
    reweighter, state = begin(name)
    for one in observations(name, 6, seed):
        state = reweighter.update(state, one).state
        assert np.isfinite(state.weights).all()
        assert (state.weights >= 0).all()
        assert state.weights.sum() == pytest.approx(1.0, abs=1e-12)


@every
def test_observations_are_applied_and_counted(name):
    reweighter, state = begin(name)
    told = observations(name, 3)
    updates = [reweighter.update(state, told[0])]
    assert updates[0].reason is None
    assert (updates[0].state.updates, updates[0].state.step) == (1, told[0].step)
    assert fold(reweighter, state, told).updates == 3


@every
def test_the_order_of_domains_does_not_matter(name):
    order = np.array([2, 0, 3, 1])
    names = tuple(DOMAINS[index] for index in order)
    reweighter, state = begin(name)
    other, moved = begin(name, names, PRIOR[order])
    for one in observations(name, 5):
        state = reweighter.update(state, one).state
        permuted = {key: values[order] for key, values in one.vectors.items()}
        tables = {key: reversed_axes(table) for key, table in one.tables.items()}
        moved = other.update(moved, replace(one, vectors=permuted, tables=tables)).state
    np.testing.assert_allclose(moved.weights, state.weights[order], rtol=1e-9, atol=1e-12)


@every
def test_a_state_survives_json_bit_by_bit(name):
    reweighter, state = begin(name)
    told = observations(name, 6)
    whole = fold(reweighter, state, told)
    halfway = fold(reweighter, state, told[:3])
    read = from_document(json.loads(canonical(to_document(halfway))))
    assert digest(read) == digest(halfway)
    assert digest(fold(reweighter, read, told[3:])) == digest(whole)


@every
def test_nothing_given_is_changed(name):
    reweighter, state = begin(name)
    before = digest(state)
    one = observations(name, 1)[0]
    kept = [values.copy() for values in numbers(one)]
    reweighter.update(state, one)
    assert digest(state) == before
    for values, after in zip(kept, numbers(one), strict=True):
        np.testing.assert_array_equal(after, values)


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_whole_observation_that_is_not_finite_is_refused(name, bad):
    reweighter, state = begin(name)
    if not reweighter.requires.fields:
        pytest.skip("requires nothing")
    spoilt = spoil(observations(name, 1)[0], lambda values: np.full(values.shape, bad))
    found = reweighter.update(state, spoilt)
    assert found.reason
    assert found.state is state


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_domain_that_is_not_finite_never_spreads(name, bad):
    reweighter, state = begin(name)
    for index, one in enumerate(observations(name, 4)):

        def change(values, index=index):
            return spoilt_at(values, index, bad)

        state = reweighter.update(state, spoil(one, change)).state
        assert np.isfinite(state.weights).all()
        assert state.weights.sum() == pytest.approx(1.0, abs=1e-12)


@every
def test_what_is_required_is_named_when_it_is_missing(name):
    reweighter, state = begin(name)
    one = observations(name, 1)[0]
    if not reweighter.requires.fields:
        pytest.skip("requires nothing")
    empty = replace(one, vectors={}, tables={}, blocks=None, scores={}, numbers={})
    for spoilt in [empty, *without_one(one, reweighter.requires.fields)]:
        found = reweighter.update(state, spoilt)
        assert found.reason
        assert found.state is state


def without_one(one, fields):
    """The observation without each vector, table and number that must be there, in turn."""
    for kind in ("vectors", "tables", "numbers"):
        told = getattr(one, kind)
        for left_out in set(told) & {field for field in fields if isinstance(field, str)}:
            kept = {key: value for key, value in told.items() if key != left_out}
            yield replace(one, **{kind: kept})


@every
def test_domains_come_and_go_by_name(name):
    reweighter, state = begin(name)
    state = fold(reweighter, state, observations(name, 3))
    names = ("web", "math", "code")
    reweighter, new = begin(name, names, np.array([0.5, 0.2, 0.3]))
    moved = reweighter.remap(state, new, {"web": "web", "code": "code"})
    assert moved.domains == names
    assert moved.updates == state.updates
    np.testing.assert_array_equal(moved.weights, new.weights)
    for key, values in moved.vectors.items():
        assert values.shape == (3,), key
    after = fold(reweighter, moved, observations(name, 3, seed=1, domains=names))
    assert after.weights.sum() == pytest.approx(1.0, abs=1e-12)


@every
def test_blocks_are_chosen_without_touching_the_weights_of_domains(name):
    reweighter, state = begin(name)
    if reweighter.requires.acts_on != "blocks":
        pytest.skip("acts on domains")
    for one in observations(name, 3):
        found = reweighter.update(state, one)
        state = found.state
        told = found.diagnostics["blocks"]
        chosen = Bitmap.from_text(told["bitmap"], told["size"])
        assert chosen.count == told["count"] > 0
        assert chosen.to_ids().tolist() == told["ids"]
        assert reweighter.plan(state)["blocks"] == told
    np.testing.assert_array_equal(state.weights, PRIOR)


@every
def test_a_plan_is_json(name):
    reweighter, state = begin(name)
    canonical(dict(reweighter.plan(state)))


def test_everything_is_described():
    for one in describe():
        json.dumps(one)
        assert one["requires"]["acts_on"] in {"domains", "blocks", "samples"}
        for named in one["requires"]["fields"]:
            for known in [named] if isinstance(named, str) else named:
                assert known in {*VECTORS, "gram", "influence", "probe_losses", "scores",
                                 "block_losses", "learning_rate", "batch_size"}  # fmt: skip


def test_unknown_names_and_options_are_refused():
    with pytest.raises(InvalidInputError, match="known: static"):
        build_reweighter("nonesuch", {})
    with pytest.raises(InvalidInputError, match="has no option"):
        build_reweighter("static", {"step_size": 1.0})
