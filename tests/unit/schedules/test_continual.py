"""Continual pretraining: the critical share and its law over tokens."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.critical_share import (
    UNIT_TOKENS,
    PowerLaw,
    critical_share,
    fit_power_law,
    interval_of,
)

BUDGET = Budget(100 * UNIT_TOKENS, 1000, 1e6, 1e-4)
SHARES = np.array([0.05, 0.2, 0.3, 0.5, 0.8])


def curve_runs(lengths=(20, 50, 100)):
    """General losses of which the critical share is 0.05 T^0.4 - 0.02 at a tolerance of .05."""
    return [
        [
            {
                "at": {"share": float(share), "tokens": length * UNIT_TOKENS},
                "loss": {"general": float(0.05 + 0.3 * (share - (0.05 * length**0.4 - 0.02)))},
            }
            for length in lengths
        ]
        for share in SHARES
    ]


def points(*found):
    """Curves of shares: `(share, {length: loss})`."""
    return [
        [
            {"at": {"share": share, "tokens": length * UNIT_TOKENS}, "loss": {"general": loss}}
            for length, loss in curve.items()
        ]
        for share, curve in found
    ]


def plan(**options):
    options = {"new_weights": {"law": 1.0}, **options}
    problem = Problem(BUDGET, {"web": 0.9, "law": 0.1}, {})
    return build_planner("continual", options).plan(problem)


def test_the_share_grows_with_tokens_as_the_law_that_runs_follow():
    schedule = plan(runs=curve_runs())
    assert schedule.evidence["share"] == pytest.approx(0.05 * 100**0.4 - 0.02, abs=1e-4)
    weights = schedule.stages[0].weights
    share = schedule.evidence["share"]
    assert weights["law"] == pytest.approx(share + 0.1 * (1 - share))


def test_a_budget_beyond_the_runs_is_told():
    told = plan(runs=curve_runs((5, 10, 20))).warnings
    assert any("extrapolates" in one for one in told)


def test_a_larger_tolerance_never_lowers_the_share():
    found = [critical_share(SHARES, SHARES * 0.2, one)[0] for one in np.linspace(0.03, 0.2, 20)]
    assert found == sorted(found)


def test_all_shares_feasible_is_told_and_none_is_refused():
    assert critical_share(SHARES, np.zeros(5), 0.05) == (0.8, True)
    assert any("at least that" in one for one in plan(runs=curve_runs(), tolerance=5.0).warnings)
    assert critical_share(SHARES, np.ones(5), 0.05) is None
    with pytest.raises(InvalidInputError, match=r"even a share of 0\.3 .* over 2e\+10 tokens"):
        plan(runs=curve_runs()[2:])


def test_curves_with_points_of_their_own_are_read_at_the_lengths_of_all():
    """Losses are linear in the logarithm of tokens, so that reading between points is exact."""

    def loss(share, length):
        return 0.3 * share - 0.02 * np.log(length)

    lengths = {0.1: (10, 100), 0.3: (15, 40, 120), 0.5: (10, 30, 60, 100)}
    curves = [(share, {n: loss(share, n) for n in own}) for share, own in lengths.items()]
    evidence = plan(runs=points(*curves)).evidence
    assert evidence["tokens"] == pytest.approx([n * UNIT_TOKENS for n in (15, 30, 40, 60, 100)])
    exact = [(0.05 + 0.02 * np.log(n)) / 0.3 for n in (15, 30, 40, 60, 100)]
    np.testing.assert_allclose(evidence["critical"], exact, rtol=1e-9)
    apart = points((0.1, {1: 0.0, 2: 0.0}), (0.3, {3: 0.1, 4: 0.1}))
    with pytest.raises(InvalidInputError, match="run all shares as long"):
        plan(runs=apart)


def test_seeds_of_one_share_are_averaged():
    seeds = points((0.1, {100: 0.0}), (0.3, {100: 0.02}), (0.3, {100: 0.18}))
    assert plan(runs=seeds).evidence["critical"] == pytest.approx([0.2])


def test_lengths_without_a_share_are_left_out_but_the_longest_may_not_be():
    late = points((0.1, {1: 0.2, 50: 0.0, 100: 0.0}), (0.3, {1: 0.4, 50: 0.1, 100: 0.1}))
    schedule = plan(runs=late)
    assert schedule.evidence["tokens"] == pytest.approx([50 * UNIT_TOKENS, 100 * UNIT_TOKENS])
    assert any("1 lengths even the smallest" in one for one in schedule.warnings)


def test_a_share_of_nothing_is_refused():
    falling = [(share, {n: share + 0.1 * n / 30 for n in (10, 20, 30)}) for share in (0.0, 0.9)]
    with pytest.raises(InvalidInputError, match="no share is within the tolerance"):
        plan(runs=points(*falling), tolerance=0.1)


def test_the_interval_covers_the_truth_and_needs_a_fourth_length():
    assert plan(runs=curve_runs()).evidence["interval"] is None
    times, covered = np.array([5.0, 10, 20, 40, 60, 80, 100]), 0
    truth = PowerLaw(0.05, 0.4, -0.02)
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = truth.at(times) + rng.normal(0, 0.005, len(times))
        low, high = interval_of(fit_power_law(times, values), times, values, 90.0)
        covered += low < truth.at(90.0) < high
    assert 180 <= covered < 200


def test_the_share_is_told_at_other_tolerances_with_what_is_left_for_replay():
    found = plan(runs=curve_runs((20, 50, 70, 100)), tolerance=0.1).evidence
    assert found["share_at_half_the_tolerance"] < found["share"]
    assert found["share"] < found["share_at_twice_the_tolerance"]
    assert found["interval"][0] <= found["share"] <= found["interval"][1]
    assert found["share"] + found["replay"] == 1
    assert plan(share=0.3).evidence == {"share": 0.3, "replay": 0.7}


def test_a_power_law_is_found_again_and_needs_three_points():
    times = np.array([5.0, 20.0, 50.0, 100.0])
    law = fit_power_law(times, 0.05 * times**0.4 - 0.02)
    np.testing.assert_allclose(law.at(times), 0.05 * times**0.4 - 0.02, atol=1e-6)
    with pytest.raises(InvalidInputError, match="three points"):
        fit_power_law(times[:2], times[:2])


def test_the_stability_gap_begins_with_a_small_subset_over_several_epochs():
    schedule = plan(share=0.4, subset=0.2, epochs=5)
    subset = schedule.stages[0]
    assert subset.selection["subset_tokens"] == subset.tokens / 5
    assert "best_by" not in subset.selection
    named = plan(share=0.4, subset=0.2, column="quality").stages[0]
    assert named.selection["best_by"] == "quality"
    assert sum(schedule.effective_weights.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"new_weights": None},
        {},
        {"new_weights": {"art": 1.0}, "share": 0.2},
        {"runs": [[{"at": {"tokens": 1e9}, "loss": {"general": 0.1}}]]},
        {"runs": [[{"at": {"share": 0.1, "tokens": 0.0}, "loss": {"general": 0.1}}]]},
        {"runs": [[{"at": {"share": 2.0, "tokens": 1e9}, "loss": {"general": 0.1}}]]},
        {"runs": [[]]},
    ],
)
def test_what_is_missing_is_named(wrong):
    with pytest.raises(InvalidInputError):
        plan(**wrong)
