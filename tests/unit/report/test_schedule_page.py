"""The page of a schedule: what is drawn, what is in tables, and that nothing gets out of it."""

import json
import re

import pytest

from app.report.numbers import SPACE
from app.report.schedule_page import domain_rows, render_schedule, stage_rows
from app.report.schedule_pictures import MOST_NAMED, pictures
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.steps import spans_of, stage_steps

BUDGET = Budget(tokens=1e9, sequence_length=1000, batch_tokens=1e6, peak_learning_rate=3e-4)
HOSTILE = "</script><script>alert(1)</script>"


def schedule(planner="drop_stable_rampup", weights=None, **options):
    weights = weights or {"web": 0.7, "code": 0.2, HOSTILE: 0.1}
    return build_planner(planner, options).plan(Problem(BUDGET, weights, {}))


def as_answered(made, planner="drop_stable_rampup"):
    steps = stage_steps(made, spans_of(made))
    domains = made.effective_weights
    return {
        "id": "sch_1",
        "planner": planner,
        "options": {"good_weights": {HOSTILE: 1.0}},
        "digest": "0" * 64,
        "warnings": [HOSTILE],
        "effective_weights": domains,
        "epochs": {name: None if name == "web" else 1.5 for name in domains},
        "worth": {name: None if name == "web" else 0.97 for name in domains},
        "steps": {
            "count": 1,
            "stages": [{"first_step": one.first_step, "steps": one.steps} for one in steps],
        },
        "provenance": {"weights": "prior", "recommendation": None, "seed": 0},
    }


def render(made, planner="drop_stable_rampup"):
    return render_schedule({"name": "pile"}, as_answered(made, planner), made)


@pytest.fixture
def page():
    return render(schedule())


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == 2
    assert "connect-src" not in policy
    assert not re.search(r'(src|href)="(?!#)', page.split("<script")[0])
    assert HOSTILE not in page


def test_every_picture_has_its_place_and_a_name_for_those_who_do_not_see_it(page):
    data = json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])
    places = re.findall(r'data-picture="([^"]*)" role="img" aria-label="[^"]+"', page)
    assert places == list(data["pictures"])
    assert places == [
        "schedule-mixture",
        "schedule-batch",
        "schedule-rate",
        "schedule-optimum",
    ]


def test_the_mixture_is_stacked_to_one_in_every_stage():
    made = schedule(good_weights={"code": 1.0})
    drawn = pictures(made)[0].picture
    edges = [0, 8e8, 8e8, 9.4e8, 9.4e8, 1e9]
    assert [list(area["x"]) for area in drawn["data"]] == [edges] * 3
    assert [sum(column) for column in zip(*(area["y"] for area in drawn["data"]), strict=True)] == (
        pytest.approx([1.0] * 6)
    )
    assert [shape["x0"] for shape in drawn["layout"]["shapes"]] == [8e8, 9.4e8]
    assert [one["text"] for one in drawn["layout"]["annotations"]] == ["base", "drop", "ramp-up"]


def test_many_domains_share_an_area():
    weights = {f"d{i}": (i + 1) / 210 for i in range(20)}
    made = schedule("static", weights)
    areas = pictures(made)[0].picture["data"]
    assert len(areas) == MOST_NAMED + 1
    assert areas[0]["name"] == "d19"
    assert areas[-1]["name"] == "13 others"
    assert sum(area["y"][0] for area in areas) == pytest.approx(1.0)


def test_a_ramp_is_drawn_as_it_moves():
    made = schedule()
    line = pictures(made)[1].picture["data"][0]
    assert line["y"][0] == 1e6
    assert min(line["y"]) == 2.5e5
    assert line["y"][-1] == pytest.approx(2e6)


def test_tables_say_what_the_pictures_show(page):
    made = schedule()
    base, drop, ramp = stage_rows(as_answered(made), made)
    assert (base.tokens, base.share, base.steps) == ("0 to 800M", f"80.0{SPACE}%", "0 + 800")
    assert (drop.batch, ramp.batch) == ("250k", "250k to 2M, geometric")
    web, _, last = domain_rows(as_answered(made), made)
    assert (web.share, web.epochs, web.worth) == (f"70.00{SPACE}%", "–", "–")
    assert (last.epochs, last.worth) == ("1.500", f"97.0{SPACE}%")
    assert "A constant batch" in page
    assert "The optimum of the law" in page


def continual(losses):
    """A schedule whose new share is from the runs of two shares at four lengths."""
    runs = [
        [
            {"at": {"share": share, "tokens": n * 1e8}, "loss": {"general": loss - 0.01 * n}}
            for n in (1, 2, 4, 8)
        ]
        for share, loss in losses.items()
    ]
    return schedule("continual", new_weights={"code": 1.0}, runs=runs)


def test_the_largest_share_of_new_data_is_drawn_with_what_it_depends_on():
    made = continual({0.1: 0.0, 0.5: 0.4})
    panel = pictures(made)[-1]
    assert panel.id == "schedule-critical"
    runs, planned, half, double = panel.picture["data"]
    assert list(runs["y"]) == made.evidence["critical"]
    assert list(planned["y"]) == [made.evidence["share"]]
    low, high = made.evidence["interval"]
    assert planned["error_y"]["array"][0] == high - planned["y"][0]
    assert planned["error_y"]["arrayminus"][0] == planned["y"][0] - low
    assert half["y"][0] < planned["y"][0] < double["y"][0]
    assert (half["name"], double["name"]) == ("tolerance 0.025", "tolerance 0.1")
    assert 'data-picture="schedule-critical"' in render(made, "continual")
    infeasible_at_half = continual({0.1: 0.12, 0.5: 0.4})
    assert len(pictures(infeasible_at_half)[-1].picture["data"]) == 3


def test_evidence_is_written_to_four_digits():
    made = schedule()
    assert f"<dd>{made.evidence['lost_against_optimum']:.4g}</dd>" in render(made)


def test_an_average_says_over_which_tokens(page):
    made = schedule("anneal", average=5)
    assert stage_rows(as_answered(made), made)[1].averaging == (
        "simple, 5 checkpoints over the last 20M"
    )


def test_a_schedule_without_evidence_has_no_section_for_it():
    page = render(schedule("static"), "static")
    assert 'id="evidence"' not in page
    assert "schedule-optimum" not in page
