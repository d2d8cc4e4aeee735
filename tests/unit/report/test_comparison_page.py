"""The page that compares schedules: numbers, verdicts, and that nothing gets out of it."""

import json
import re

import pytest

from app.report.comparison_page import render_comparison
from mixwright.schedules import Budget, Problem, build_planner

HOSTILE = "</script><script>alert(1)</script>"
BUDGET = Budget(tokens=1e6, sequence_length=10, batch_tokens=1000, peak_learning_rate=1e-3)


def interval(mean, half):
    return {"mean": mean, "lower": mean - half, "upper": mean + half, "count": 8}


def compared(name, difference, ended=8):
    return {
        "name": name,
        "runs": 8,
        "ended": ended,
        "objective": interval(2.5, 0.03) if ended else None,
        "difference": difference,
        "metrics": {},
    }


@pytest.fixture
def comparison():
    rows = [
        compared("static", None),
        compared("anneal", interval(-0.061, 0.011)),
        compared("frames", interval(0.11, 0.038)),
        compared(HOSTILE, interval(0.001, 0.02)),
        compared("one seed", {"mean": -0.2, "lower": None, "upper": None, "count": 1}),
        compared("none yet", None, ended=0),
    ]
    return {"swarm_id": "swarm_1", "baseline": "static", "schedules": rows}


@pytest.fixture
def page(comparison):
    problem = Problem(BUDGET, {"a": 1.0}, {})
    planners = {"static": "static", "anneal": "anneal", HOSTILE: "drop_stable_rampup"}
    plans = {name: build_planner(one, {}).plan(problem) for name, one in planners.items()}
    return render_comparison({"name": "pile"}, comparison, plans)


def cells(page, name):
    row = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', page, re.S)[1]
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_what_is_told_apart_is_said(page):
    assert cells(page, "static")[-1] == "compared with"
    assert cells(page, "anneal")[3:] == ["-0.061", "-0.072 to -0.050", "lower"]
    assert cells(page, "frames")[-1] == "higher"
    assert "not told apart" in page
    assert cells(page, "one seed")[3:] == ["-0.2000", "–", "too few seeds to tell"]
    assert cells(page, "none yet")[0] == "0 of 8"


def test_differences_are_drawn_with_their_intervals(page):
    data = json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.S)[1])
    (points,) = data["pictures"]["comparison-differences"]["data"]
    assert points["x"] == [-0.061, 0.11, 0.001, -0.2]
    assert points["error_x"]["array"] == pytest.approx([0.011, 0.038, 0.02, 0.0])
    assert len(data["pictures"]["comparison-batch"]["data"]) == 3


def test_the_page_loads_nothing_and_lets_nothing_in(page):
    assert HOSTILE not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#)', page.split("<script")[0])


def test_before_any_run_there_is_a_table_and_no_picture_of_differences(comparison):
    comparison["schedules"] = [compared("static", None, 0), compared("anneal", None, 0)]
    plan = build_planner("static", {}).plan(Problem(BUDGET, {"a": 1.0}, {}))
    page = render_comparison({"name": "pile"}, comparison, {"static": plan})
    assert 'data-picture="comparison-differences"' not in page
    assert "0 of 8" in page
