"""The report of recommended parameters of QuaDMix, as a reader opens it."""

import json

import numpy as np
import pytest

from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study, runs_digest
from mixwright.recommend import recommend
from mixwright.study import CompletedRuns

pytestmark = pytest.mark.timeout(120)

HOSTILE = "<img src=x onerror=window.hacked=1>"
DOMAINS = ("web", HOSTILE, "code")


@pytest.fixture(scope="module")
def sampling_page(tmp_path_factory):
    """The path of a report on parameters that were really recommended."""
    from app.report.page import render_report
    from app.studies.definition import complete
    from app.studies.schemas import StudyCreate
    from app.studies.spaces import Points

    asked = StudyCreate(
        name="quality",
        domains=[{"name": name, "tokens": 1e9} for name in DOMAINS],
        metrics=[{"name": "loss"}],
        fidelities=[{"name": "1m"}],
        space={"kind": "quadmix", "raters": ["edu", "dclm"]},
    )
    study = {**complete(asked), "name": "quality", "version": 1, "id": "study_1"}
    core, points = Points(study).study, Points(study)
    drawn = core.space.canonical(
        core.space.draw(core, compile_constraints(core), 60, np.random.default_rng(0))
    )
    losses = 2.0 + drawn[:, 0] + 0.01 * np.random.default_rng(1).normal(size=60)
    runs = [
        {
            "id": f"run_{number}",
            "external_id": None,
            "fidelity": "1m",
            "weights": None,
            "parameters": points.parameters(dict(zip(core.domain_names, point, strict=True))),
            "metrics": {"loss": float(loss)},
            "state": "succeeded",
        }
        for number, (point, loss) in enumerate(zip(drawn, losses, strict=True))
    ]
    completed = CompletedRuns(
        mixtures=drawn,
        values=losses[:, None],
        fidelity=np.full(60, "1m"),
        ids=tuple(run["id"] for run in runs),
    )
    model, report = fit_study(core, completed, surrogate="linear", fidelity="1m")
    found = recommend(
        core, compile_constraints(core), model, completed, method="regmix", candidates=500
    )
    answer = {
        "id": "rec_1",
        **found.to_json(core),
        "provenance": {
            "fit": "fit_1",
            "runs_digest": runs_digest(core, completed),
            "study_version": 1,
            "seed": 0,
            "version": "0.1.0",
        },
    }
    path = tmp_path_factory.mktemp("report") / "sampling.html"
    page = render_report(study, answer, report.to_json(), runs, model)
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture
def opened(chromium, sampling_page):
    chromium.get_log("browser")
    chromium.get(sampling_page.as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.drawn") == "true"
    return chromium


def count(browser, selector):
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def test_every_picture_is_drawn_and_nothing_is_wrong(opened):
    assert opened.get_log("browser") == []
    assert opened.execute_script("return window.hacked") is None
    assert count(opened, "#functions .js-plotly-plot .scatterlayer .trace path.js-line") == 3
    assert count(opened, "#calibration .scatterlayer .point") == 60


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_never_wider_than_the_screen(opened, sampling_page, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        opened.get(sampling_page.as_uri())
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_curve_says_rank_and_copies(opened):
    drawn = json.loads(
        opened.execute_script("return document.getElementById('report-data').textContent")
    )
    first = drawn["pictures"]["copies-0"]["data"][0]
    told = opened.execute_script(
        "const element = document.querySelector('[data-picture=copies-0]');"
        "Plotly.Fx.hover(element, [{curveNumber: 0, pointNumber: 0}]);"
        "return element.querySelector('.hoverlayer').textContent"
    )
    assert f"rank {first['x'][0]:.4g}" in told
    assert "copies" in told
