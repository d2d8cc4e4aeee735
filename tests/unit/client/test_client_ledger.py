import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mixwright_client.ledger import Entry, Ledger, LedgerError

DOMAINS = ("a", "b", "c")


def make_ledger(**options):
    return Ledger(DOMAINS, Entry(0, 0, {"a": 0.5, "b": 0.3, "c": 0.2}), **options)


def weights_of(*parts):
    total = sum(parts)
    return {name: part / total for name, part in zip(DOMAINS, parts)}


arrivals = st.lists(
    st.tuples(
        st.integers(0, 8), st.integers(0, 50), st.tuples(*[st.integers(1, 9) for _ in DOMAINS])
    ),
    max_size=12,
)


@given(arrivals, st.integers(0, 60))
def test_versions_count_up_whatever_arrives_and_the_past_stays(found, now):
    ledger = make_ledger()
    for version, lead, parts in found:
        before = [ledger.at(step) for step in range(now + 1)]
        is_new = version > ledger.newest.version
        assert ledger.add(Entry(version, now + 1 + lead, weights_of(*parts))) == is_new
        assert [ledger.at(step) for step in range(now + 1)] == before
    versions = [entry["version"] for entry in ledger.to_json()]
    assert versions == sorted(set(versions))


@given(arrivals)
def test_a_second_delivery_changes_nothing(found):
    once, again = make_ledger(), make_ledger()
    for version, step, parts in found:
        entry = Entry(version, step, weights_of(*parts))
        once.add(entry)
        again.add(entry)
        assert not again.add(entry)
    assert once.to_json() == again.to_json()


@given(arrivals, st.integers(0, 60))
def test_json_and_back(found, step):
    ledger = make_ledger(max_step=0.9)
    for version, effective_step, parts in found:
        try:
            ledger.add(Entry(version, effective_step, weights_of(*parts)))
        except LedgerError:
            assume(False)
    back = Ledger.from_json(DOMAINS, json.loads(json.dumps(ledger.to_json())), 0.9)
    assert back.to_json() == ledger.to_json()
    assert back.at(step) == ledger.at(step)


def test_weights_hold_from_their_step_on_and_the_newest_wins():
    ledger = make_ledger()
    ledger.add(Entry(1, 20, weights_of(1, 1, 1)))
    ledger.add(Entry(4, 10, weights_of(1, 2, 1)))
    assert [ledger.at(step).version for step in (0, 9, 10, 19, 20, 999)] == [0, 0, 4, 4, 4, 4]
    with pytest.raises(LedgerError, match="begins after step -1"):
        ledger.at(-1)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"a": float("nan"), "b": 0.5, "c": 0.5}, "'a' is nan"),
        ({"a": float("inf"), "b": 0.5, "c": 0.5}, "'a' is inf"),
        ({"a": -0.1, "b": 0.6, "c": 0.5}, "'a' is -0.1"),
        ({"a": 0.5, "b": 0.5}, "'c' is missing"),
        ({"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.1}, "'d' is unknown"),
        ({"a": 0.5, "b": 0.3, "c": 0.1}, "sum to 0.9"),
        ({"a": 0.0, "b": 0.8, "c": 0.2}, "moves 0.5"),
    ],
)
def test_what_is_not_valid_is_refused_and_changes_nothing(weights, reason):
    ledger = make_ledger(max_step=0.4)
    before = ledger.to_json()
    with pytest.raises(LedgerError, match=reason):
        ledger.add(Entry(1, 5, weights))
    assert ledger.to_json() == before
    assert ledger.add(Entry(1, 5, weights_of(4, 3, 3)))


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {"version": 1, "effective_step": 0},
        {"version": "1", "effective_step": 0, "weights": {}},
        {"version": True, "effective_step": 0, "weights": {}},
        {"version": 1, "effective_step": -1, "weights": {}},
        {"version": 1, "effective_step": 0, "weights": {"a": "1"}},
        {"version": 1, "effective_step": 0, "weights": [1.0]},
    ],
)
def test_json_that_is_no_entry_is_refused(found):
    with pytest.raises(LedgerError, match="no entry"):
        Entry.from_json(found)


def test_a_ledger_out_of_order_is_refused():
    entries = [Entry(version, 0, weights_of(1, 1, 1)).to_json() for version in (2, 1)]
    with pytest.raises(LedgerError, match="version 1 comes after"):
        Ledger.from_json(DOMAINS, entries)
    with pytest.raises(LedgerError, match="first entry"):
        Ledger.from_json(DOMAINS, [])


def test_frozen_weights_stay():
    ledger = make_ledger()
    ledger.add(Entry(1, 10, weights_of(1, 1, 1)))
    ledger.add(Entry(2, 20, weights_of(1, 2, 1)))
    assert ledger.frozen_at(15).at(1000).version == 1
    assert ledger.at(1000).version == 2
