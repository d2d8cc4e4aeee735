"""A headless Chromium, and a report made from a real fit for it to open."""

import os
import shutil
from typing import Any

import numpy as np
import pytest

from mixwright.constraints import compile_constraints
from mixwright.fitting import fit_study, runs_digest
from mixwright.recommend import recommend
from mixwright.study import CompletedRuns

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
DOMAINS = ("web", "code", HOSTILE, "books")
METRICS = ("loss/web", "loss/code", f"loss/{HOSTILE}")
RUNS_AT = {"small": 48, "large": 12}


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser with an empty profile; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        assert not os.environ.get("MIXWRIGHT_REQUIRE_SERVICES"), "no Chromium, and it is required"
        pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(20)
    yield browser
    browser.quit()


def a_study() -> dict[str, Any]:
    return {
        "id": "study_1",
        "version": 1,
        "name": f"browser {HOSTILE}",
        "domains": [
            {"name": name, "tokens": 1e9, "prior": 0.25, "lower": 0.0, "upper": 1.0}
            for name in DOMAINS
        ],
        "metrics": [{"name": name, "direction": "minimize"} for name in METRICS],
        "objective": dict.fromkeys(METRICS, 1 / 3),
        "fidelities": [
            {"name": name, "cost": None, "parameters": None, "tokens": None} for name in RUNS_AT
        ],
        "target_fidelity": "large",
        "constraints": {
            "linear": [],
            "repetition": {"target_tokens": 2e9, "max_epochs": 1.0},
        },
    }


def some_runs() -> list[dict[str, Any]]:
    """Return runs whose losses fall with the share of a metric's own domain, plus noise."""
    rng = np.random.default_rng(5)
    mixtures = rng.dirichlet(np.ones(4), RUNS_AT["small"])
    runs = []
    for fidelity, count in RUNS_AT.items():
        for index, mixture in enumerate(mixtures[:count]):
            losses = 2.0 + (mixture[:3] + 0.1 * mixture[3] + 0.05) ** -0.3
            losses += rng.normal(scale=0.02, size=3) - (fidelity == "large")
            runs.append(
                {
                    "id": f"run_{fidelity}_{index}",
                    "external_id": f"{fidelity} {index} {HOSTILE}",
                    "fidelity": fidelity,
                    "weights": dict(zip(DOMAINS, map(float, mixture), strict=True)),
                    "metrics": dict(zip(METRICS, map(float, losses), strict=True)),
                    "state": "succeeded",
                }
            )
    del runs[3]["metrics"][METRICS[1]]
    return runs


@pytest.fixture(scope="session")
def reported():
    """What a report is made of: a recommendation that was really computed."""
    from app.studies.definition import to_core

    study, runs = a_study(), some_runs()
    core = to_core(study)
    completed = CompletedRuns(
        mixtures=np.array([[run["weights"][name] for name in DOMAINS] for run in runs]),
        values=np.array([[run["metrics"].get(name, np.nan) for name in METRICS] for run in runs]),
        fidelity=np.array([run["fidelity"] for run in runs]),
        ids=tuple(run["id"] for run in runs),
    )
    model, report = fit_study(core, completed, surrogate="share_power", fidelity="small")
    found = recommend(core, compile_constraints(core), model, completed, method="exact")
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
        "digest": "not computed here",
    }
    return study, answer, report.to_json(), runs, model


@pytest.fixture(scope="session")
def report_page(tmp_path_factory, reported):
    """The path of a report on a recommendation that was really computed."""
    from app.report.page import render_report

    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(*reported), encoding="utf-8")
    return path
