"""The page of a schedule, opened from a file."""

import pytest

from app.report.schedule_page import render_schedule
from mixwright.schedules import Budget, Problem, build_planner
from mixwright.schedules.steps import spans_of, stage_steps

pytestmark = pytest.mark.timeout(180)

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
WEIGHTS = {"web": 0.7, HOSTILE: 0.2, "100% math": 0.1}


@pytest.fixture
def opened(chromium, tmp_path):
    budget = Budget(1e9, 1000, 1e6, 3e-4)
    options = {"good_weights": {HOSTILE: 1.0}}
    made = build_planner("drop_stable_rampup", options).plan(Problem(budget, WEIGHTS, {}))
    steps = [
        {"first_step": one.first_step, "steps": one.steps}
        for one in stage_steps(made, spans_of(made))
    ]
    answered = {
        "id": "sch_1",
        "planner": "drop_stable_rampup",
        "options": options,
        "digest": "0" * 64,
        "warnings": [HOSTILE],
        "effective_weights": made.effective_weights,
        "epochs": dict.fromkeys(WEIGHTS),
        "worth": dict.fromkeys(WEIGHTS),
        "steps": {"count": 1, "stages": steps},
        "provenance": {"weights": "prior"},
    }
    path = tmp_path / "schedule.html"
    path.write_text(render_schedule({"name": HOSTILE}, answered, made), encoding="utf-8")
    chromium.get_log("browser")
    chromium.get(path.as_uri())
    yield chromium
    chromium.get("about:blank")


def count(browser, selector):
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def test_every_picture_is_drawn_and_nothing_runs_or_loads_besides(opened):
    assert opened.execute_script("return document.documentElement.dataset.drawn") == "true"
    assert count(opened, "[data-picture].js-plotly-plot") == 4
    assert count(opened, "[data-picture=schedule-mixture] .scatterlayer .js-fill") == len(WEIGHTS)
    assert count(opened, "[data-picture=schedule-optimum] .scatterlayer .js-line") == 2
    assert opened.execute_script("return window.hacked") is None
    assert opened.get_log("browser") == []
