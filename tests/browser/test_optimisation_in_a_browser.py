"""The report's section on Bayesian optimisation as a reader opens it."""

import pytest
from optimisation_history import an_optimisation

pytestmark = pytest.mark.timeout(120)

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
PANELS = ("regret", "objective", "gain", "spent", "correlation", "noise", "weights", "front")


def a_history(study):
    """Return twelve steps with a front and an outlier, all named with hostility."""
    domains = tuple(domain["name"] for domain in study["domains"])
    metrics = [metric["name"] for metric in study["metrics"]]
    item = an_optimisation(12, domains, bounds={metrics[2]: 2.5}, wanted="pareto")
    item["fidelity"] = HOSTILE
    latest = item["steps"][-1]
    latest["recommendation"]["front"] = [
        {
            "weights": latest["recommendation"]["weights"],
            "metrics": {name: 2.0 + rank * (-1) ** place for place, name in enumerate(metrics[1:])},
        }
        for rank in range(5)
    ]
    latest["outliers"] = [
        {"run": "run_small_2", "metric": metrics[2], "value": 9.0, "expected": 3.0}
    ]
    return {"items": [item, an_optimisation(1, domains)]}


@pytest.fixture(scope="module")
def optimised_page(tmp_path_factory, reported):
    from app.report.page import render_report

    path = tmp_path_factory.mktemp("optimised") / "report.html"
    path.write_text(render_report(*reported, a_history(reported[0])), encoding="utf-8")
    return path


@pytest.fixture(params=[400, 1280], ids=["phone", "desktop"])
def opened(request, chromium, optimised_page):
    """The browser at a width, with the page freshly opened and drawn."""
    chromium.get_log("browser")
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": request.param,
            "height": 900,
            "deviceScaleFactor": 1,
            "mobile": request.param < 600,
        },
    )
    chromium.get(optimised_page.as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.drawn") == "true"
    yield chromium, request.param
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_section_is_drawn_within_the_screen(opened):
    browser, width = opened
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('#optimisation .picture')]"
        ".filter(one => one.querySelector('.trace path, .trace .point'))"
        ".map(one => one.dataset.picture)"
    )
    beliefs = [f"belief-{index}" for index in range(4)]
    assert drawn == [*(f"optimisation-{panel}" for panel in PANELS), *beliefs]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    widest = browser.execute_script(
        "return Math.max(...[...document.querySelectorAll('#optimisation .main-svg')]"
        ".map(svg => svg.getBoundingClientRect().right))"
    )
    assert 0 < widest <= width
    assert browser.get_log("browser") == []


def test_names_stay_names_and_points_tell_theirs(opened):
    browser, _ = opened
    label = browser.execute_script(
        "const element = document.querySelector('[data-picture=optimisation-weights]');"
        "Plotly.Fx.hover(element, [{curveNumber: 1, pointNumber: 2}]);"
        "return element.querySelector('.hoverlayer').textContent"
    )
    assert "<script>" in label
    assert "at 3:" in label
    section = "return document.getElementById('optimisation').textContent"
    assert browser.execute_script(section).count(HOSTILE) >= 5
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.get_log("browser") == []
