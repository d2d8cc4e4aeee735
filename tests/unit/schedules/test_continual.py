"""Continual pretraining: the critical share and its law over tokens."""

import numpy as np
import pytest

from mixwright.errors import InvalidInputError
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.continual import UNIT_TOKENS, critical_share, fit_power_law

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
    with pytest.raises(InvalidInputError, match="even a share of"):
        critical_share(SHARES, np.ones(5), 0.05)


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
