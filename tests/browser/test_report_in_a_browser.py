"""The report as a reader opens it: a file on a machine without a network."""

import json

import pytest

pytestmark = pytest.mark.timeout(120)

POINTS = "#calibration .scatterlayer .point"


@pytest.fixture
def opened(chromium, report_page):
    """The browser with the page freshly opened and drawn."""
    chromium.get_log("browser")
    chromium.get(report_page.as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.drawn") == "true"
    return chromium


def count(browser, selector):
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def text(browser, selector):
    return browser.execute_script(
        "return document.querySelector(arguments[0]).textContent", selector
    )


def data(browser):
    return json.loads(text(browser, "#report-data"))


def select_metric(browser, index):
    browser.execute_script(
        "const metric = document.getElementById('metric'); metric.value = arguments[0];"
        "metric.dispatchEvent(new Event('change'))",
        str(index),
    )


def hover(browser, element_id, curve, point):
    """Hover over a point and return what its label says."""
    return browser.execute_script(
        "const element = document.getElementById(arguments[0]);"
        "Plotly.Fx.hover(element, [{curveNumber: arguments[1], pointNumber: arguments[2]}]);"
        "return element.querySelector('.hoverlayer').textContent",
        element_id,
        curve,
        point,
    )


def test_the_browser_has_nothing_to_complain_of(opened):
    assert opened.get_log("browser") == []


def test_every_picture_is_drawn(opened):
    places = count(opened, ".picture")
    drawn = count(opened, ".picture:has(.scatterlayer .trace path)")
    assert drawn == places == len(data(opened)["pictures"]) + 1


def test_each_held_out_run_is_one_point(opened):
    shown = data(opened)["calibration"][0]["shown"]
    assert shown == 47  # of 48 runs at the fitted fidelity, one lacks a metric of the objective
    assert count(opened, POINTS) == shown


def test_each_run_is_one_point_of_its_fidelity(opened):
    strips = opened.execute_script(
        "return [...document.querySelectorAll('[data-picture=fidelities] .scatterlayer .trace')]"
        ".slice(0, 2).map(trace => trace.querySelectorAll('.point').length)"
    )
    assert strips == [47, 12]


def test_another_metric_shows_other_points(opened):
    def positions():
        return opened.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(point => point.getAttribute('transform'))",
            POINTS,
        )

    before, caption = positions(), text(opened, "#calibration-caption")
    select_metric(opened, 1)
    assert len(positions()) == data(opened)["calibration"][1]["shown"] == 48
    assert positions() != before
    assert text(opened, "#calibration-caption") == data(opened)["calibration"][1]["caption"]
    select_metric(opened, 0)
    assert positions() == before
    assert text(opened, "#calibration-caption") == caption


def test_a_point_tells_its_run_and_its_values(opened):
    trace = data(opened)["calibration"][0]["picture"]["data"][1]
    position, lower, upper = trace["customdata"][0]
    label = hover(opened, "calibration", 1, 0)
    assert f"run_small_{position}" in label
    for value in (trace["x"][0], trace["y"][0], lower, upper):
        assert f"{value:.4g}"[:4] in label


def test_hostile_names_stay_names(opened):
    hover(opened, "calibration", 1, 0)
    select_metric(opened, 3)
    assert "<script>" in text(opened, "#calibration-caption")
    assert "<script>" in text(opened, "h1")
    assert opened.execute_script("return window.hacked") is None
    assert count(opened, "img") == 0
    assert opened.get_log("browser") == []


def test_the_policy_forbids_the_network(opened):
    violated = opened.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
        "fetch('http://127.0.0.1:9/').catch(() => {})"
    )
    assert violated == "connect-src"


def test_the_policy_forbids_scripts_that_were_put_in(opened):
    violated = opened.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
        "const script = document.createElement('script');"
        "script.textContent = 'window.hacked = 1'; document.body.append(script)"
    )
    assert violated.startswith("script-src")
    assert opened.execute_script("return window.hacked") is None


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_never_wider_than_the_screen(opened, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    opened.refresh()
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    widest = opened.execute_script(
        "return Math.max(...[...document.querySelectorAll('.picture .main-svg')]"
        ".map(svg => svg.getBoundingClientRect().right))"
    )
    assert 0 < widest <= width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
