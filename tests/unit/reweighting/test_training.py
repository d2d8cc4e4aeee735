"""Where a training stands is a function of its log, whatever the network does to it."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwright.errors import InvalidInputError
from mixwright.reweighting.base import Observation, Table
from mixwright.reweighting.canonical import canonical
from mixwright.reweighting.doremi import DoReMi
from mixwright.reweighting.guards import Guards, total_variation
from mixwright.reweighting.ledger import (
    Approve,
    Observe,
    Remap,
    Resume,
    Rollback,
    standing_document,
    standing_from,
)
from mixwright.reweighting.static import Static
from mixwright.reweighting.told import RefusedObservationError
from mixwright.reweighting.training import (
    ContradictionError,
    History,
    Rules,
    apply,
    begin,
    fold,
    is_repeated,
)

ABC = ("a", "b", "c")
GIVEN = np.array([0.5, 0.3, 0.2])
NO_GUARDS = Guards(floor=0.0)
RULES = Rules(DoReMi(), NO_GUARDS)


def excess(step, *values, **more):
    return Observe({"step": step, "excess_losses": dict(zip(ABC, values, strict=True)), **more})


def told(count, seed=0, every=10):
    rng = np.random.default_rng(seed)
    return [excess(every * (n + 1), *rng.uniform(0, 1, 3).tolist()) for n in range(count)]


def start(rules=RULES, weights=GIVEN):
    return begin(rules, ABC, weights, 7)


def run(events, rules=RULES, begun=None):
    return fold(rules, begun or start(rules), events)


def bits(standing):
    return canonical(standing_document(standing))


def lines(ledger):
    return [(e.version, e.effective_step, e.weights.tolist(), e.fate) for e in ledger]


def test_what_is_served_is_the_algorithms_own_where_no_guard_acts():
    standing, ledger = run(told(3))
    state = DoReMi().init(ABC, GIVEN, 7)
    for event in told(3):
        values = np.array(list(event.told["excess_losses"].values()))
        state = (
            DoReMi()
            .update(state, Observation(event.told["step"], vectors={"excess_losses": values}))
            .state
        )
    assert standing.served.weights.tolist() == state.weights.tolist()
    assert [entry.version for entry in ledger] == [0, 1, 2, 3]
    assert [entry.effective_step for entry in ledger] == [0, 10, 20, 30]


def test_weights_take_effect_no_sooner_than_the_lead():
    _, ledger = run(told(2), replace(RULES, lead_steps=25))
    assert [entry.effective_step for entry in ledger] == [0, 35, 45]


def test_given_weights_are_served_as_they_are_until_the_algorithm_moves_them():
    rules = Rules(Static(), Guards(floor=0.1))
    standing, ledger = run([Observe({"step": 1, "losses": {"a": 1.0, "b": 1.0}})], rules)
    assert len(ledger) == 1
    assert standing.position == 1
    assert standing.served.weights.tolist() == GIVEN.tolist()


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_duplicates_and_lost_answers_leave_the_undisturbed_ledger(data):
    undisturbed = told(60)
    seed = data.draw(st.integers(0, 2**32))
    rng, deliveries = np.random.default_rng(seed), []
    for index, event in enumerate(undisturbed):
        deliveries.append(event)
        for _ in range(rng.integers(0, 3)):  # copies of anything so far, in any order
            deliveries.append(undisturbed[rng.integers(0, index + 1)])
    disturbed, ledger = run(deliveries)
    standing, undisturbed_ledger = run(undisturbed)
    assert bits(disturbed) == bits(standing)
    assert lines(ledger) == lines(undisturbed_ledger)


def test_thousands_of_observations_with_duplicates_leave_the_undisturbed_ledger():
    undisturbed, rng = told(3000, seed=3), np.random.default_rng(0)
    deliveries = []
    for index, event in enumerate(undisturbed):
        deliveries += [event, undisturbed[rng.integers(max(0, index - 50), index + 1)]]
    standing, ledger = run(deliveries)
    assert bits(standing) == bits(run(undisturbed)[0])
    assert len(ledger) == 3001


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(8)))
def test_in_any_order_the_ledger_is_that_of_the_steps_that_were_not_late(order):
    events = told(8)
    highest, in_time = -1, []
    for index in order:
        if index > highest:
            highest = index
            in_time.append(events[index])
    standing, ledger = run([events[index] for index in order])
    expected, expected_ledger = run(in_time)
    assert bits(standing) == bits(expected)
    assert lines(ledger) == lines(expected_ledger)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.integers(0, 2**32))
def test_a_standing_that_was_written_and_read_goes_on_bit_by_bit(choices, seed):
    """Every kind of event, with the standing through JSON before each."""
    rng = np.random.default_rng(seed)
    guards = Guards(floor=1e-3, max_step=0.03, min_interval=15)
    rules = Rules(DoReMi(), guards, lead_steps=7, needs_approval=bool(seed % 2))
    begun = start(rules)
    past, standing, log = History([begun], {0: begun.served}), begun, []
    for choice in choices:
        event = an_event(choice, standing, past, rng)
        try:
            if isinstance(event, Observe) and is_repeated(past, event):
                continue
            read = standing_from(json.loads(bits(standing)))
            outcome = apply(rules, read, event, past)
        except (ContradictionError, InvalidInputError):
            continue
        past.keep(event, outcome)
        log.append(event)
        standing = outcome.standing
        assert standing.served.weights.sum() == pytest.approx(1.0, abs=1e-12)
        assert past.ledger[standing.served.version].fate == "published"
        assert max(past.ledger) == standing.last_version
    folded, ledger = run(log, rules)
    assert bits(folded) == bits(standing)
    assert lines(ledger) == lines(past.ledger.values())


def an_event(choice, standing, past, rng):
    versions = list(past.ledger)
    if choice < 70:
        step = standing.position + int(rng.integers(-5, 20))
        names = standing.domains
        return Observe(
            {"step": max(step, 0), "excess_losses": {name: float(rng.uniform()) for name in names}}
        )
    if choice < 80:
        step = int(rng.integers(0, standing.position + 1))
        return Resume(step, past.standing_at(step).served.version)
    if choice < 90:
        return Rollback(int(rng.choice(versions)))
    if choice < 95:
        return Approve(int(rng.choice(versions)))
    return Remap(("a", "c", f"new{choice}"))


def test_a_resumed_training_goes_on_as_if_nothing_had_come_after():
    before, after = told(3), told(6, seed=1)[3:]
    twice = told(6)
    standing, ledger = run([*before, *twice[3:], Resume(30, 3), *after])
    expected, _ = run([*before, *after])
    assert standing.state.weights.tolist() == expected.state.weights.tolist()
    assert standing.served.weights.tolist() == expected.served.weights.tolist()
    assert [(e.version, e.fate) for e in ledger[3:]] == [
        (3, "published"), (4, "void"), (5, "void"), (6, "void"),
        (7, "published"), (8, "published"), (9, "published"),
    ]  # fmt: skip


def test_a_trainer_that_resumes_without_the_newest_version_is_given_it_anew():
    rules = replace(RULES, lead_steps=15)
    standing, ledger = run([*told(3), Resume(25, 1)], rules)
    assert [(e.version, e.fate) for e in ledger] == [
        (0, "published"), (1, "published"), (2, "void"), (3, "void"), (4, "published"),
    ]  # fmt: skip
    assert standing.served.weights.tolist() == ledger[2].weights.tolist()
    assert standing.served.effective_step == 40


def test_resuming_before_the_first_observation_begins_again():
    standing, ledger = run([*told(3), Resume(0, 0)])
    assert standing.state.updates == 0
    assert standing.served.version == 0
    assert [e.fate for e in ledger] == ["published", "void", "void", "void"]
    assert [e.version for e in run([*told(3), Resume(0, 0), *told(1)])[1]] == [0, 1, 2, 3, 4]


def test_a_void_version_cannot_be_resumed_from_nor_one_that_never_was():
    with pytest.raises(ContradictionError, match="void"):
        run([*told(3), Resume(10, 1), Resume(20, 2)])
    with pytest.raises(InvalidInputError, match="no version 9"):
        run([*told(3), Resume(10, 9)])


def test_other_content_for_a_step_contradicts_until_the_training_is_resumed_before_it():
    other = excess(30, 0.0, 0.0, 1.0)
    with pytest.raises(ContradictionError, match="step 30"):
        run([*told(3), other])
    assert run([*told(3), Resume(20, 2), other])[0].position == 30


def test_what_came_late_is_kept_and_not_applied():
    late = excess(15, 1.0, 0.0, 0.0)
    assert bits(run([*told(3), late])[0]) == bits(run(told(3))[0])
    with pytest.raises(ContradictionError):
        run([*told(3), late, excess(15, 0.0, 1.0, 0.0)])


def test_rolling_back_publishes_old_weights_and_goes_on_from_them():
    standing, ledger = run([*told(3), Rollback(1)])
    assert (standing.served.version, standing.served.effective_step) == (4, 30)
    assert standing.served.weights.tolist() == ledger[1].weights.tolist()
    assert standing.state.weights == pytest.approx(ledger[1].weights, abs=1e-15)
    assert [e.fate for e in ledger] == ["published"] * 5


def test_proposals_are_not_served_until_approved():
    rules = replace(RULES, needs_approval=True, lead_steps=5)
    standing, ledger = run(told(3), rules)
    assert standing.served.version == 0
    assert [e.fate for e in ledger] == ["published", *["proposed"] * 3]
    standing, ledger = run([*told(3), Approve(2)], rules)
    assert (standing.served.version, standing.served.effective_step) == (2, 35)
    assert [e.fate for e in ledger] == ["published", "proposed", "published", "proposed"]
    with pytest.raises(ContradictionError, match="older"):
        run([*told(3), Approve(2), Approve(1)], rules)
    assert run([*told(3), Approve(2), Approve(2)], rules)[0].served.version == 2


def test_a_step_limit_is_made_up_for_later():
    rules = Rules(DoReMi(step_size=5.0), Guards(floor=0.0, max_step=0.05))
    events = [excess(10, 1.0, 0.0, 0.0), *[excess(10 * n, 0.0, 0.0, 0.0) for n in range(2, 12)]]
    standing, ledger = run(events, rules)
    steps = [
        total_variation(one.weights, other.weights) for one, other in itertools.pairwise(ledger)
    ]
    assert max(steps) <= 0.05 + 1e-12
    assert len(steps) > 5
    assert total_variation(standing.served.weights, standing.state.weights) < 0.05


def test_nothing_changes_in_the_warm_up_nor_too_soon():
    rules = Rules(DoReMi(), Guards(warmup_steps=25, min_interval=30))
    standing, ledger = run(told(9), rules)
    assert [e.effective_step for e in ledger] == [0, 30, 60, 90]
    assert standing.state.updates == 7
    past = History([start(rules)], {})
    assert apply(rules, start(rules), told(1)[0], past).reason == (
        "weights are left alone until step 25"
    )


def test_pinned_domains_are_out_of_the_algorithms_sight():
    rules = Rules(DoReMi(), Guards(floor=0.0, pinned={"b": 0.25}))
    standing, _ = run([excess(1, 0.5, 99.0, 0.1, weights_version=0)], rules)
    assert standing.state.domains == ("a", "c")
    assert standing.served.weights[1] == 0.25
    alone = DoReMi().init(("a", "c"), np.array([5, 2]) / 7, 7)
    alone = DoReMi().update(alone, Observation(1, vectors={"excess_losses": np.array([0.5, 0.1])}))
    np.testing.assert_allclose(standing.state.weights, alone.state.weights, atol=1e-15)


class Sampled(Static):
    """Notes what the batch was drawn with."""

    def update(self, state, observation):
        noted = None if observation.sampled is None else observation.sampled.tolist()
        return replace(super().update(state, observation), diagnostics={"sampled": noted})


def test_an_algorithm_is_told_what_the_batch_was_drawn_with():
    rules = Rules(Sampled(), Guards(pinned={"c": 0.2}))
    begun = start(rules)
    past = History([begun], {0: begun.served})
    losses = {"losses": {"a": 1.0, "b": 1.0, "c": 1.0}}
    found = apply(rules, begun, Observe({"step": 1, **losses, "weights_version": 0}), past)
    np.testing.assert_allclose(found.diagnostics["sampled"], [0.625, 0.375])
    assert apply(rules, begun, Observe({"step": 1, **losses}), past).diagnostics["sampled"] is None
    with pytest.raises(RefusedObservationError, match="no published version 4"):
        apply(rules, begun, Observe({"step": 1, **losses, "weights_version": 4}), past)


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ({"excess_losses": {"x": 1.0}}, ("excess_losses", "x")),
        ({"excess_losses": {"a": float("nan")}}, ("excess_losses", "a")),
        ({"excess_losses": {"a": float("inf")}}, ("excess_losses", "a")),
        ({"excess_losses": {"a": 1e16}}, ("excess_losses", "a")),
        ({"losses": {"a": 1.0, "b": 1.0, "c": 1.0}}, ("excess_losses",)),
        ({}, ("excess_losses",)),
        ({"excess_losses": {"a": 1.0}}, ("excess_losses",)),
        ({"excess_losses": {"a": None, "b": None, "c": None}}, ("excess_losses",)),
        ({"gram": {"rows": ["a"], "columns": ["a"], "values": []}}, ("gram", "values")),
        ({"gram": {"rows": ["a"], "columns": [], "values": [[1.0]]}}, ("gram", "values", 0)),
        ({"gram": {"rows": ["a", "a"], "columns": [], "values": [[], []]}}, ("gram", "rows")),
        ({"block_losses": {"ids": [1], "losses": []}}, ("block_losses", "losses")),
        ({"learning_rate": float("nan")}, ("learning_rate",)),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(told, path):
    begun = start()
    with pytest.raises(RefusedObservationError) as refused:
        apply(RULES, begun, Observe({"step": 1, **told}), History([begun], {}))
    assert refused.value.wrong[0][0] == path


def test_half_of_the_domains_may_be_missing():
    two = begin(RULES, ("a", "b"), np.array([0.5, 0.5]), 0)
    event = Observe({"step": 1, "excess_losses": {"a": 1.0, "b": None}})
    assert apply(RULES, two, event, History([two], {})).applied


def test_nothing_but_missing_numbers_is_refused_even_where_nothing_is_needed():
    begun = start(Rules(Static()))
    event = Observe({"step": 1, "losses": {"a": None, "b": None, "c": None}})
    with pytest.raises(RefusedObservationError):
        apply(Rules(Static()), begun, event, History([begun], {}))


def test_domains_come_and_go_by_an_explicit_map():
    standing, ledger = run([*told(2), Remap(("c", "new", "a"))])
    old = ledger[2].named()
    assert standing.served.named()["new"] == pytest.approx(1 / 3)
    assert standing.served.named()["a"] == pytest.approx(2 / 3 * old["a"] / (old["a"] + old["c"]))
    assert standing.state.domains == ("c", "new", "a")
    assert standing.state.updates == 2
    with pytest.raises(ContradictionError, match="other domains"):
        run([*told(2), Remap(("c", "new", "a")), Rollback(1)])
    with pytest.raises(RefusedObservationError, match="'b' is not a domain"):
        run([*told(2), Remap(("c", "new", "a")), excess(30, 1.0, 1.0, 1.0)])
    back, _ = run([*told(2), Remap(("c", "new", "a")), Resume(10, 1), told(2)[1]])
    assert back.served.weights.tolist() == ledger[2].weights.tolist()


def test_a_domain_may_be_renamed_split_or_begun_anew():
    standing, _ = run([Remap(("a1", "a2", "b", "c"), {"a1": "a", "a2": "a", "b": None})])
    weights = standing.served.named()
    assert weights["a1"] == weights["a2"]
    assert weights["b"] == pytest.approx(0.25)
    assert weights["a1"] * 2 / weights["c"] == pytest.approx(0.5 / 0.2)
    given = run([Remap(("a", "z"), {"z": "c"}, {"a": 0.9, "z": 0.1})])[0]
    assert given.served.weights.tolist() == [0.9, 0.1]


@pytest.mark.parametrize("origin", [{"x": "a"}, {"a": "x"}])
def test_a_map_of_names_that_are_not_there_is_refused(origin):
    with pytest.raises(InvalidInputError, match="'x' is not"):
        run([Remap(("a", "b"), origin)])


def test_pins_of_domains_that_went_are_forgotten():
    rules = Rules(DoReMi(), Guards(floor=0.0, pinned={"b": 0.0}))
    standing, _ = run([excess(1, 1.0, 1.0, 0.5), Remap(("a", "c", "d"))], rules)
    assert standing.served.weights.sum() == pytest.approx(1.0)
    kept, _ = run([Remap(("a", "b", "d"))], rules)
    assert kept.served.named()["b"] == 0.0


def test_a_table_is_read_by_its_names():
    class Grams(Static):
        def update(self, state, observation):
            table = observation.tables["gram"]
            assert isinstance(table, Table)
            return replace(
                super().update(state, observation),
                diagnostics={"gram": table.arranged(("a", "b"), ("a", "b")).tolist()},
            )

    rules = Rules(Grams())
    begun = start(rules)
    gram = {"rows": ["b", "a"], "columns": ["a", "b"], "values": [[3.0, 4.0], [1.0, 2.0]]}
    event = Observe({"step": 1, "gram": gram})
    found = apply(rules, begun, event, History([begun], {}))
    assert found.diagnostics["gram"] == [[1.0, 2.0], [3.0, 4.0]]
