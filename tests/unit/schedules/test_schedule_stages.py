"""Curves, stages, steps, checks and composition of schedules."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.schedules import Budget, Problem, Schedule, Stage, build_planner
from mixwright.schedules.averaging import Averaging, weights_for
from mixwright.schedules.checks import require_caps, require_constraints, warnings_of
from mixwright.schedules.composing import compose
from mixwright.schedules.curves import SHAPES, Curve, wsd
from mixwright.schedules.selecting import subset_of
from mixwright.schedules.steps import spans_of, stage_steps, steps_of
from mixwright.schedules.training import averaged
from mixwright.study import Domain, Fidelity, LinearConstraint, Metric, Repetition, Study

BUDGET = Budget(tokens=100_000, sequence_length=10, batch_tokens=1000, peak_learning_rate=1e-3)


def stage(name, start, end, weights=None, **changed):
    flat = Curve.constant(BUDGET.batch_tokens, BUDGET.tokens)
    rate = Curve.constant(BUDGET.peak_learning_rate, BUDGET.tokens)
    weights = {"a": 0.5, "b": 0.5} if weights is None else weights
    return replace(Stage(name, start, end, flat, rate, weights), **changed)


def halves(first=None, second=None):
    return Schedule(BUDGET, (stage("one", 0, 50_000, first), stage("two", 50_000, 100_000, second)))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_curve_begins_and_ends_where_it_says(shape):
    end = 2.0 if shape == "constant" else 0.5
    curve = Curve(100, 200, 2.0, end, shape)
    assert curve.at(0) == curve.at(100) == pytest.approx(2.0)
    assert curve.at(200) == curve.at(999) == pytest.approx(end)
    assert Curve.from_json(curve.to_json()) == curve


def test_a_warm_up_is_read_at_the_end_of_a_step_and_a_decay_at_its_beginning():
    rises, falls = wsd(total=100, peak=1.0, warmup=0.1, decay=0.9)
    assert rises.of_step(0, 1) == pytest.approx(0.1)
    assert rises.of_step(9, 1) == pytest.approx(1.0)
    assert falls.of_step(10, 1) == 1.0
    assert falls.of_step(99, 1) == pytest.approx(1 / 90)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": "round"},
        {"shape": "constant", "end": 1.0},
        {"shape": "geometric", "end": 0.0},
        {"start": -1.0},
        {"end": float("nan")},
        {"end_token": 100},
    ],
)
def test_a_curve_that_is_none_is_refused(wrong):
    right = {"start_token": 100, "end_token": 200, "start": 2.0, "end": 0.5, "shape": "linear"}
    with pytest.raises(InvalidInputError):
        Curve(**{**right, **wrong})


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"tokens": 999}, "tokens"),
        ({"batch_tokens": 5}, "batch_tokens"),
        ({"peak_learning_rate": 0}, "peak_learning_rate"),
        ({"sequence_length": 0}, "sequence_length"),
        ({"batch_multiple": 200}, "batch_tokens"),
    ],
)
def test_a_budget_that_trains_nothing_is_refused(wrong, field):
    with pytest.raises(InvalidInputError) as caught:
        replace(BUDGET, **wrong)
    assert caught.value.field == f"budget/{field}"


def test_stages_have_no_gap_no_overlap_and_no_name_twice():
    first, second = halves().stages
    for wrong in (
        (first,),
        (second, first),
        (first, replace(second, start_token=60_000)),
        (first, replace(second, name="one")),
        (),
    ):
        with pytest.raises(InvalidInputError):
            Schedule(BUDGET, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"a": 0.5, "b": 0.6}},
        {"weights": {"a": 1.5, "b": -0.5}},
        {"weights": {}},
        {"weights": None},
        {"selection": {"where": []}},
        {"end_token": 0},
    ],
)
def test_a_stage_without_data_or_tokens_is_refused(wrong):
    with pytest.raises(InvalidInputError):
        replace(stage("one", 0, 50_000), **wrong)


def test_stages_come_back_from_json():
    averaged = stage("one", 0, 100_000, averaging=Averaging("exponential", 4, 0.1, 0.7))
    assert Stage.from_json(averaged.to_json()) == averaged
    selected = replace(averaged, weights=None, selection={"where": [], "tokens": {"a": 1.0}})
    assert Stage.from_json(selected.to_json()) == selected


def test_shares_and_epochs_are_those_of_all_stages_together():
    schedule = halves({"a": 0.9, "b": 0.1}, {"a": 0.3, "b": 0.7})
    assert schedule.effective_weights == pytest.approx({"a": 0.6, "b": 0.4})
    assert schedule.epochs({"a": 30_000, "b": None}) == {"a": pytest.approx(2.0), "b": None}


def test_caps_hold_for_the_sum_of_stages_though_no_stage_alone_breaks_them():
    schedule = halves({"a": 0.9, "b": 0.1}, {"a": 0.8, "b": 0.2})
    unique = {"a": 20_000, "b": None}
    with pytest.raises(InfeasibleError, match=r"'a' 4\.25 times and 4 are allowed") as caught:
        require_caps(schedule, unique, 4.0)
    require_caps(schedule, unique, 4.25)
    assert caught.value.largest_target_tokens == pytest.approx(100_000 * 4 / 4.25)


def test_a_token_belongs_to_one_stage():
    schedule = halves()
    assert schedule.stage_at(49_999).name == "one"
    assert schedule.stage_at(50_000).name == "two"
    for token in (-1, 100_000):
        with pytest.raises(InvalidInputError):
            schedule.stage_at(token)


def one_after_the_other(schedule):
    """Batches of all steps, each asked for by itself."""
    token, batches = 0, []
    for stage in schedule.stages:
        while token < stage.end_token:
            size = schedule.budget.batch_tokens
            batch = schedule.budget.rounded(stage.batch.of_step(token, size))
            if token + batch > schedule.budget.tokens:
                return batches
            batches.append(batch)
            token += batch
    return batches


@given(
    tokens=st.integers(5_000, 200_000),
    batch=st.integers(1, 40),
    multiple=st.integers(1, 4),
    end=st.floats(0.1, 8.0),
    shape=st.sampled_from(["linear", "geometric", "cosine"]),
    border=st.floats(0.1, 0.9),
)
def test_batches_sum_to_the_budget_within_one_batch(tokens, batch, multiple, end, shape, border):
    size = 10 * multiple * batch
    budget = Budget(tokens, 10, size, 1e-3, multiple)
    ramp = Curve(border * tokens, tokens, size, end * size, shape)
    flat, rate = Curve.constant(size, tokens), Curve.constant(1e-3, tokens)
    schedule = Schedule(
        budget,
        (
            Stage("flat", 0.0, border * tokens, flat, rate, {"a": 1.0}),
            Stage("ramp", border * tokens, tokens, ramp, rate, {"a": 1.0}),
        ),
    )
    steps = steps_of(schedule)
    largest = max(size, budget.rounded(end * size)) + budget.batch_unit
    assert 0 <= tokens - steps.tokens < largest
    assert (steps.batch_tokens % budget.batch_unit == 0).all()
    np.testing.assert_array_equal(
        steps.start_token, np.cumsum(steps.batch_tokens) - steps.batch_tokens
    )
    assert (np.diff(steps.stage) >= 0).all()
    assert steps.batch_tokens.tolist() == one_after_the_other(schedule)


def test_steps_are_counted_from_tokens_under_a_ramp():
    ramp = Curve(50_000, 100_000, 1000, 3000, "linear")
    first, second = halves().stages
    steps = steps_of(Schedule(BUDGET, (first, replace(second, batch=ramp))))
    assert np.searchsorted(steps.stage, 1) == 50
    assert len(steps) < 50 + 50
    assert steps.batch_tokens[50] == 1000
    assert steps.batch_tokens[-1] > 2500


def test_steps_are_few_numbers_however_many_they_are():
    budget = Budget(1e15, 10, 1000, 1e-3)
    flat = Curve.constant(1000, 1e15)
    ramp = Curve(5e14, 1e15, 1000, 3000, "linear")
    stages = (
        Stage("flat", 0, 5e14, flat, flat, {"a": 1.0}),
        Stage("ramp", 5e14, 1e15, ramp, flat, {"a": 1.0}),
    )
    schedule = Schedule(budget, stages)
    spans = spans_of(schedule)
    assert len(spans) < 250
    first, second = stage_steps(schedule, spans)
    assert (first.first_step, first.steps, first.end_token) == (
        0,
        500_000_000_000,
        500_000_000_000_000,
    )
    assert second.first_step == first.steps
    assert 0 <= budget.tokens - second.end_token < 3000
    wild = Schedule(
        replace(budget, sequence_length=1, batch_tokens=1e6),
        (replace(stages[0], end_token=1e15, batch=Curve(0, 1e15, 1e6, 3e6, "linear")),),
    )
    with pytest.raises(InvalidInputError, match="sizes in a row"):
        spans_of(wild)


def test_a_stage_in_which_no_step_begins_is_empty():
    first, second = halves().stages
    short = Stage("short", 50_000, 50_400, first.batch, first.rate, {"a": 1.0})
    before = replace(first, batch=Curve.constant(1_500, 50_000))
    schedule = Schedule(BUDGET, (before, short, replace(second, start_token=50_400)))
    found = stage_steps(schedule, spans_of(schedule))
    assert [one.steps for one in found] == [34, 0, 49]
    assert found[1].first_step == found[2].first_step == 34


def study(**constraints):
    domains = (Domain("a", 20_000, 0.5, 0.1, 0.7), Domain("b", None, 0.5))
    return Study(domains, (Metric("loss"),), np.ones(1), (Fidelity("1m"),), "1m", **constraints)


def test_bounds_and_linear_constraints_hold_for_the_sum_of_stages():
    at_most = LinearConstraint(np.array([2.0, 0.0]), -np.inf, 1.3)
    require_constraints(
        halves({"a": 0.9, "b": 0.1}, {"a": 0.3, "b": 0.7}), study(linear=(at_most,))
    )
    broken = halves({"a": 0.9, "b": 0.1}, {"a": 0.6, "b": 0.4})
    with pytest.raises(InfeasibleError) as caught:
        require_constraints(broken, study(linear=(at_most,)))
    assert "domain 'a' must be at most 0.7, it is 0.75" in str(caught.value)
    assert "linear constraint 0 must be at most 1.3, it is 1.5" in str(caught.value)
    with pytest.raises(InfeasibleError, match=r"'a' must be at least 0\.1, it is 0\.05"):
        require_constraints(halves({"a": 0.1, "b": 0.9}, {"a": 0.0, "b": 1.0}), study())


def test_a_limit_of_repetition_for_other_tokens_is_none_of_theirs():
    limit = Repetition(target_tokens=1e9, max_epochs=1.0)
    require_constraints(halves(), study(repetition=limit))


def test_a_ramp_or_a_rate_that_counts_twice_is_told():
    first, second = halves().stages
    low = Curve(50_000, 100_000, 250, 250)
    falls = Curve(50_000, 100_000, 1e-3, 0.0, "linear")
    both = Schedule(BUDGET, (first, replace(second, batch=low, rate=falls)))
    assert any("smaller batch" in one for one in warnings_of(both))
    one = Schedule(BUDGET, (first, replace(second, batch=low)))
    assert not any("smaller batch" in text for text in warnings_of(one))


def test_a_curriculum_whose_best_documents_meet_no_learning_rate_is_told():
    falls = Curve(0, 100_000, 1e-3, 0.0, "linear")
    ordered = {"where": [], "ascending": True, "tokens": {"a": 1.0}}
    last = replace(stage("two", 50_000, 100_000), weights=None, selection=ordered, rate=falls)
    schedule = Schedule(BUDGET, (stage("one", 0, 50_000), last))
    assert any("hardly be learned" in one for one in warnings_of(schedule))
    mild = replace(last, rate=Curve(0, 100_000, 1e-3, 4e-4, "linear"))
    assert not any(
        "hardly" in one for one in warnings_of(replace(schedule, stages=(schedule.stages[0], mild)))
    )


def test_a_start_inside_a_loaders_block_is_told():
    budget = replace(BUDGET, tokens=100 * 20_480, batch_tokens=20_480)
    flat, rate = Curve.constant(20_480, budget.tokens), Curve.constant(1e-3, budget.tokens)
    for border, is_told in ((20_480 * 3 + 10, True), (20_480 * 3, False)):
        stages = (
            Stage("one", 0, border, flat, rate, {"a": 1.0}),
            Stage("two", border, budget.tokens, flat, rate, {"a": 1.0}),
        )
        told = any("2048 sequences" in one for one in warnings_of(Schedule(budget, stages)))
        assert told is is_told


def test_a_curriculum_goes_inside_an_anneal():
    problem = Problem(BUDGET, {"a": 0.5, "b": 0.5}, {})
    annealed = build_planner("anneal", {"share": 0.4}).plan(problem)
    inner = replace(BUDGET, tokens=40_000)
    curriculum = Schedule(
        inner,
        tuple(
            replace(stage(name, start, start + 20_000), weights=weights)
            for name, start, weights in (
                ("low", 0, {"a": 1.0, "b": 0.0}),
                ("high", 20_000, {"a": 0.0, "b": 1.0}),
            )
        ),
    )
    found = compose(curriculum, annealed, begin=60_000)
    assert [one.name for one in found.stages] == ["stable", "low, anneal", "high, anneal"]
    assert [one.end_token for one in found.stages] == [60_000, 80_000, 100_000]
    assert found.stages[2].weights == {"a": 0.0, "b": 1.0}
    for token in (60_000, 75_000, 99_000):
        rate = annealed.stage_at(token).rate.at(token)
        assert found.stage_at(token).rate.at(token) == rate
    with pytest.raises(InvalidInputError, match="ends at token 90000"):
        compose(curriculum, annealed, begin=50_000)


def curriculum_over(tokens, **last):
    """Two selections of a half each."""
    parts = [
        {"where": [{"column": "q", side: 0.0}], "tokens": {"a": share * tokens / 2, "b": rest}}
        for side, share, rest in (("up_to", 1.0, 0.0), ("above", 0.6, 0.2 * tokens))
    ]
    ends = [0, tokens / 2, tokens]
    stages = [
        replace(stage(name, ends[i], ends[i + 1]), weights=None, selection=parts[i])
        for i, name in enumerate(("low", "high"))
    ]
    return Schedule(replace(BUDGET, tokens=tokens), (stages[0], replace(stages[1], **last)))


def test_a_selection_that_is_cut_has_its_tokens_once():
    """The decay begins within the second half of the curriculum, which is cut in two by it."""
    decayed = build_planner(
        "static", {"rate": "wsd", "warmup": 0.0, "decay": 0.1, "final_rate": 0.5}
    )
    training = decayed.plan(Problem(BUDGET, {"a": 0.5, "b": 0.5}, {}))
    average = Averaging("linear", 3, 0.5)
    found = compose(curriculum_over(80_000, averaging=average), training, begin=20_000)
    assert [one.name for one in found.stages] == [
        "stable", "low, stable", "high, stable", "high, decay",
    ]  # fmt: skip
    for one in found.stages:
        assert sum(one.domain_tokens().values()) == pytest.approx(one.tokens)
    assert found.stages[3].selection["tokens"] == pytest.approx({"a": 6_000, "b": 4_000})
    assert found.domain_tokens == pytest.approx({"a": 10_000 + 40_000 + 24_000, "b": 26_000})
    assert [one.averaging for one in found.stages] == [None, None, None, average]


def test_borders_less_than_a_batch_apart_are_one():
    training = build_planner("anneal", {"share": 0.4}).plan(
        Problem(BUDGET, {"a": 0.5, "b": 0.5}, {})
    )
    for begin in (59_500, 60_000, 60_999):
        found = compose(curriculum_over(100_000 - begin), training, begin)
        assert [one.name for one in found.stages] == ["stable", "low, anneal", "high, anneal"]
        assert found.stages[1].start_token == 60_000
        assert sum(found.domain_tokens.values()) == pytest.approx(100_000)
        assert all(one.steps for one in stage_steps(found, spans_of(found)))
    assert len(compose(curriculum_over(45_000), training, 55_000).stages) == 4


def test_a_selection_that_is_cut_has_the_tokens_of_its_part():
    problem = Problem(BUDGET, {"a": 0.9, "b": 0.1}, {})
    options = {"new_weights": {"b": 1.0}, "share": 0.4, "subset": 0.5}
    data = build_planner("continual", options).plan(problem)
    found = compose(data, build_planner("static", {"rate": "wsd"}).plan(problem))
    for one in found.stages:
        assert sum(one.domain_tokens().values()) == pytest.approx(one.tokens)
    assert found.effective_weights == pytest.approx(data.effective_weights)
    first, second = (subset_of(one.selection) for one in found.stages[:2])
    assert first == second == subset_of(data.stages[0].selection)


def test_averaging_weights_sum_to_one_and_favour_the_last():
    for method in ("simple", "linear", "exponential"):
        weights = weights_for(method, 5, 0.5)
        assert weights.sum() == pytest.approx(1.0)
        assert weights[-1] >= weights[1]
    for wrong in (("simple", 0, 0.5), ("cubic", 3, 0.5), ("exponential", 3, 1.0)):
        with pytest.raises(InvalidInputError):
            weights_for(*wrong)


def test_checkpoints_are_averaged_at_the_first_step_that_reaches_their_place():
    ramp = Curve(0.0, 60_000, 1000, 4000, "linear")
    first = stage("first", 0.0, 60_000, batch=ramp, averaging=Averaging("linear", 3, 0.5))
    schedule = Schedule(BUDGET, (first, stage("rest", 60_000, 100_000)))
    steps, (found, none) = steps_of(schedule), averaged(schedule, spans_of(schedule))
    assert none == ()
    ends = np.cumsum(steps.batch_tokens)
    end = ends[steps.stage == 0][-1]
    reached = [int(np.argmax(ends >= end - left)) for left in (20_000, 10_000, 0)]
    assert [one.steps for one in found] == [place + 1 for place in reached]
    assert [one.tokens for one in found] == ends[reached].tolist()
    assert [one.weight for one in found] == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    tiny = stage("tiny", 99_500, 100_000, averaging=Averaging("simple", 2, 1.0))
    short = Schedule(BUDGET, (stage("rest", 0.0, 99_500), tiny))
    with pytest.raises(InvalidInputError, match="2 checkpoints within fewer steps"):
        averaged(short, spans_of(short))
