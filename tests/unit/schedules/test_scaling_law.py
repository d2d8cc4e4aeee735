"""The quality-aware scaling law, its optimum, and Drop-Stable-Rampup."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

from mixwright.errors import InvalidInputError
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.scaling_law import (
    Law,
    best_schedule,
    discrete_loss,
    noise_of,
    place,
    three_phases,
)

LAW = Law()
PIECES, SHARE = 32, 0.2
RULE = three_phases(PIECES, 1 - SHARE, 0.25, 0.7, 2.0)


def best(total, base, good, law=LAW):
    return best_schedule(law, total, PIECES, SHARE, base, good, 1 / 16, 16.0, (RULE,))


def loss_of(batch, total, base, good, law=LAW):
    tokens = np.full(PIECES, total / PIECES)
    late = np.clip((np.arange(1, PIECES + 1) / PIECES - 1 + SHARE) * PIECES, 0, 1)
    return law.loss(batch, noise_of(late, base, good), tokens)


def test_the_law_is_the_limit_of_its_sum_over_steps():
    noise, batch = np.array([1.0] * 8 + [0.3] * 2), np.array([1.0] * 8 + [0.25, 2.0])
    exact = LAW.loss(batch, noise, np.ones(10))
    errors = [
        discrete_loss(LAW, batch.repeat(n), noise.repeat(n), np.full(10 * n, 1 / n)) - exact
        for n in (1, 10, 100, 1000)
    ]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < 1e-3


def test_the_slope_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    noise, tokens = rng.uniform(0.1, 2, 12), rng.uniform(1, 50, 12)
    off = check_grad(
        lambda x: LAW.loss(np.exp(x), noise, tokens),
        lambda x: LAW.slope(np.exp(x), noise, tokens),
        rng.normal(size=12),
    )
    assert off < 1e-5


def test_no_other_placement_of_good_data_is_better():
    rng = np.random.default_rng(1)
    batch, tokens = np.exp(rng.normal(size=8)), np.full(8, 10.0)
    good = place(LAW, batch, tokens, 0.25)
    assert good.sum() == pytest.approx(2.0)
    ours = LAW.loss(batch, noise_of(good, 1.0, 0.2), tokens)
    for _ in range(200):
        other = rng.dirichlet(np.full(8, 0.3)) * 2
        if other.max() <= 1:
            assert ours <= LAW.loss(batch, noise_of(other, 1.0, 0.2), tokens) + 1e-12


@settings(max_examples=25, deadline=None)
@given(
    total=st.floats(50, 50_000),
    base=st.floats(0.05, 10),
    ratio=st.floats(0.05, 1),
    source=st.floats(0.1, 1.5),
    capacity=st.floats(1.2, 6),
)
def test_the_optimum_is_never_worse_than_the_three_phases(total, base, ratio, source, capacity):
    law = Law(0.5, source, capacity)
    found = best(total, base, ratio * base, law)
    assert found.loss <= loss_of(RULE, total, base, ratio * base, law) * (1 + 1e-12)
    assert found.good.sum() == pytest.approx(SHARE * PIECES)


def test_where_noise_limits_the_optimum_drops_at_the_turn_and_ramps_up():
    found = best(1000, base=3.0, good=0.3)
    turn = round((1 - SHARE) * PIECES)
    assert found.good[turn:] == pytest.approx(1.0)
    assert found.batch[turn] < 0.1 * found.batch[turn - 2]
    assert (np.diff(found.batch[turn + 1 :]) > 0).all()
    assert found.batch[-1] > 10 * found.batch[turn + 1]


def test_where_signal_limits_good_data_comes_late_and_the_batch_hardly_drops():
    found = best(1000, base=0.1, good=0.03)
    turn = round((1 - SHARE) * PIECES)
    assert found.good[turn:] == pytest.approx(1.0)
    assert found.batch[turn] > 0.9 * found.batch[turn - 2]


def plan(budget=None, **options):
    budget = budget or Budget(1e6, 10, 1000, 1e-3)
    return build_planner("drop_stable_rampup", options).plan(Problem(budget, {"a": 1.0}, {}))


def test_the_schedule_tells_what_it_loses_against_the_optimum():
    evidence = plan(noise_base=3.0).evidence
    losses = evidence["loss"]
    assert losses["optimum"] <= losses["three_phases"] < losses["constant_batch"]
    assert evidence["lost_against_optimum"] == pytest.approx(
        losses["three_phases"] - losses["optimum"]
    )
    assert evidence["regime"] == "noise"
    assert plan(noise_base=0.01, noise_good=0.01).evidence["regime"] == "signal"


def test_the_batch_drops_as_noise_scales_do_or_not_at_all():
    dropped = plan(noise_scale_base=4000, noise_scale_good=500)
    assert dropped.stages[1].batch.at(9e5) == pytest.approx(125)
    kept = plan(noise_scale_base=9000, noise_scale_good=2000)
    assert kept.stages[1].batch.at(9e5) == 1000
    assert any("does not drop" in one for one in kept.warnings)
    for after in (900, 996):  # above that before; and a batch of 996, which is trained as 1000
        near = plan(noise_scale_base=1000 if after > 900 else 800, noise_scale_good=after)
        assert near.stages[1].batch.at(9e5) == 1000
        assert any("too near" in one for one in near.warnings)


@pytest.mark.parametrize("given", ["noise_scale_base", "noise_scale_good"])
def test_one_noise_scale_without_the_other_is_refused(given):
    with pytest.raises(InvalidInputError, match="both noise scales") as caught:
        plan(**{given: 500.0})
    missing = {"noise_scale_base", "noise_scale_good"} - {given}
    assert caught.value.field == f"options/{missing.pop()}"


def test_the_rate_stays_and_nothing_is_counted_twice():
    schedule = plan()
    assert [one.name for one in schedule.stages] == ["base", "drop", "ramp-up"]
    assert {one.rate.at(one.end_token) for one in schedule.stages} == {1e-3}
    assert not any("smaller batch" in one for one in schedule.warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": 0.9, "final": 1.2}, "a ramp from 900 to 1200 .* rounds to nothing"),
        ({"drop": 0.25, "final": 4.0}, "a drop from 1000 to 250 .* rounds to nothing"),
    ],
)
def test_a_ramp_or_a_drop_that_rounds_to_nothing_is_refused(options, message):
    coarse = Budget(1e6, 10, 1000, 1e-3, batch_multiple=100)
    with pytest.raises(InvalidInputError, match=message):
        plan(coarse, **options)


def test_a_drop_without_a_stable_part_is_a_ramp_alone():
    assert [one.name for one in plan(stable=0.0).stages] == ["base", "ramp-up"]
