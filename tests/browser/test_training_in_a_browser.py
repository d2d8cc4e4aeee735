"""The page of a training as somebody watches it: served, and fresh without being loaded again."""

import threading

import httpx
import pytest
import uvicorn
from selenium.webdriver.support.wait import WebDriverWait

from app.db.engine import make_engine, make_sessions
from app.main import create_app

pytestmark = pytest.mark.timeout(180)

HOSTILE = "<b>bold</b><img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
DOMAINS = ["web", HOSTILE, *(f"d{index}" for index in range(10))]


@pytest.fixture
def server(sqlite_url):
    """A client of a real server."""
    sessions = make_sessions(make_engine(sqlite_url))
    app = create_app(sessions, lambda *_: None, broker_is_ready=lambda: True, max_body_bytes=2**20)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    thread.join()
    sessions.kw["bind"].dispose()


@pytest.fixture
def training(server):
    """The address of a training that has six versions, one of them void."""
    body = {"name": HOSTILE, "domains": DOMAINS, "algorithm": "doremi"}
    options = {"warmup_steps": 15, "max_step": 0.05, "step_size": 0.5}
    made = server.post("/v1/trainings", json={**body, "options": options}).json()
    address = f"/v1/trainings/{made['id']}"
    for step in range(10, 70, 10):
        observe(server, address, step)
    resumed = server.post(f"{address}/resume", json={"step": 50, "version": 4})
    assert resumed.status_code == 200, resumed.text
    return address


def observe(server, address, step):
    excess = {name: 0.2 + 0.1 * index for index, name in enumerate(DOMAINS)}
    body = {"step": step, "excess_losses": excess}
    answer = server.post(f"{address}/observations", json=body)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def opened(chromium, server, training):
    """The browser with the page freshly opened and drawn."""
    chromium.get_log("browser")
    chromium.get(f"{server.base_url}{training}/report")
    assert chromium.execute_script("return document.documentElement.dataset.drawn") == "true"
    yield chromium
    chromium.get("about:blank")


def run(browser, code, *arguments):
    return browser.execute_script(code, *arguments)


def count(browser, selector):
    return run(browser, "return document.querySelectorAll(arguments[0]).length", selector)


def text(browser, selector):
    return run(browser, "return document.querySelector(arguments[0]).textContent", selector)


def keys(browser):
    return run(browser, "return [...document.querySelectorAll('#keys > *')].map(e => e.innerText)")


def wide_lines(browser):
    return run(
        browser,
        "return [...document.querySelectorAll('[data-chart=training-weights] .js-line')]"
        ".filter(line => line.style.strokeWidth === '2px').length",
    )


def test_every_domain_has_a_line_and_what_happened_its_marks(opened):
    for chart in ("training-weights", "training-excess_losses"):
        assert count(opened, f"[data-chart={chart}] .scatterlayer .js-line") == len(DOMAINS)
    assert count(opened, "[data-timeline] .scatterlayer .point") == 3  # resumed, void, warm-up
    assert wide_lines(opened) == len(keys(opened)) == 7
    assert opened.get_log("browser") == []


def test_the_reader_chooses_domains(opened):
    box = "#live-domains tr:last-child input"
    assert not run(opened, "return document.querySelector(arguments[0]).checked", box)
    run(opened, "document.querySelector(arguments[0]).click()", box)
    assert wide_lines(opened) == 8
    run(opened, "document.querySelector('[data-choose=none]').click()")
    assert (wide_lines(opened), keys(opened)) == (0, [])
    run(opened, "document.querySelector('[data-choose=all]').click()")
    assert wide_lines(opened) == len(DOMAINS)
    assert opened.get_log("browser") == []


def test_a_new_observation_appears_by_itself_and_the_choice_stays(opened, server, training):
    run(
        opened,
        "window.isSame = true; document.querySelector('[data-choose=none]').click();"
        "const box = document.querySelector('#live-domains tr:last-child input');"
        "box.click(); box.focus(); window.scrollTo(0, 700)",
    )
    chosen, scrolled = keys(opened), run(opened, "return window.scrollY")
    observe(server, training, 60)
    WebDriverWait(opened, 60).until(
        lambda browser: "step 60" in text(browser, "#live-headline").replace("\n", " ")
    )
    assert run(opened, "return window.isSame")  # it was not loaded again
    assert text(opened, "#live-ledger tr th") == "6"
    ends = "return document.querySelector('[data-chart=training-excess_losses]').data[0].x.at(-1)"
    assert run(opened, ends) == 60
    assert keys(opened) == chosen
    assert len(chosen) == wide_lines(opened) == 1
    assert run(opened, "return window.scrollY") == scrolled > 0
    assert run(opened, "return document.activeElement.dataset.domain") == chosen[0].strip()
    assert opened.get_log("browser") == []


def test_hostile_names_stay_names(opened, server, training):
    run(opened, "document.querySelector('[data-choose=all]').click()")
    label = run(
        opened,
        "const element = document.querySelector('[data-chart=training-weights]');"
        "const curve = element.data.findIndex(one => one.name.includes('hacked'));"
        "Plotly.Fx.hover(element, [{curveNumber: curve, pointNumber: 1}]);"
        "return element.querySelector('.hoverlayer').textContent",
    )
    assert "<b>bold</b>" in label
    observe(server, training, 60)
    WebDriverWait(opened, 60).until(
        lambda browser: run(browser, "return document.documentElement.dataset.shown")
    )
    assert HOSTILE in text(opened, "h1")
    assert HOSTILE in text(opened, "#live-domains")
    assert HOSTILE in text(opened, "#keys")
    assert run(opened, "return window.hacked") is None
    assert count(opened, "img") == 0
    assert opened.get_log("browser") == []


def test_the_page_says_when_its_server_is_away(opened, server, monkeypatch):
    run(opened, "window.fetch = () => Promise.reject(new TypeError('away'))")
    WebDriverWait(opened, 60).until(
        lambda browser: text(browser, "#watching").startswith("The server does not answer")
    )


def test_a_saved_page_asks_nobody(chromium, server, training, tmp_path):
    path = tmp_path / "training.html"
    path.write_text(server.get(f"{training}/report").text, encoding="utf-8")
    chromium.get_log("browser")
    chromium.get(path.as_uri())
    assert wide_lines(chromium) == 7
    assert text(chromium, "#watching") == ""
    assert chromium.get_log("browser") == []


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_never_wider_than_the_screen(opened, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    opened.refresh()
    assert run(opened, "return document.documentElement.scrollWidth") <= width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
