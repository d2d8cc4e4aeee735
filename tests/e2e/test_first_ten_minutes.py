"""What a newcomer does: serve, import, recommend, export; with the real commands."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV of 40 runs of a made-up world: three domains, two losses."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), 40).round(3)
    shares = weights / weights.sum(axis=1, keepdims=True)
    web = 2 + (shares @ [1.0, 0.2, 0.1]) ** -0.2
    code = 1 + (shares @ [0.1, 1.0, 0.2] + 0.01) ** -0.3
    path = tmp_path_factory.mktemp("csv") / "runs.csv"
    lines = ["run,weight:web,weight:code,weight:math,metric:web,metric:code"]
    lines += [
        f"run{i},{w[0]},{w[1]},{w[2]},{a:.6f},{b:.6f}"
        for i, (w, a, b) in enumerate(zip(weights, web, code, strict=True))
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The URL of `mixwright serve` with nothing set."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MIXWRIGHT_")}
    data_dir = str(tmp_path_factory.mktemp("data"))
    command = [sys.executable, "-m", "app.cli.main", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--data-dir", data_dir], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server.stdout.readline().split("listens on ")[1].split(";")[0]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def mixwright(url):
    """Runs a command against the server; returns its exit code, output and messages."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.main", *map(str, arguments)],
            env={**os.environ, "MIXWRIGHT_URL": url, "COLUMNS": "160"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def study(mixwright, table):
    code, out, err = mixwright("import", "csv", table, "--study", "s", "--commit", "--json")
    assert code == 0, err
    assert json.loads(out)["created"] == 40
    return "s"


@pytest.fixture(scope="module")
def recommendation(mixwright, study, tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "report.html"
    code, out, err = mixwright("recommend", study, "--report", page, "--json")
    assert code == 0, err
    return json.loads(out), page


def test_an_import_is_a_dry_run_by_default(mixwright, table):
    code, out, _ = mixwright("import", "csv", table, "--study", "dry")
    assert code == 0
    assert "Nothing was stored" in out
    code, _, err = mixwright("recommend", "dry")
    assert code == 1
    assert "there is no study 'dry'" in err


def test_importing_again_stores_nothing_new(mixwright, study, table):
    _, out, _ = mixwright("import", "csv", table, "--study", study, "--commit", "--json")
    assert json.loads(out)["created"] == 0
    assert json.loads(out)["already_stored"] == 40


def test_the_recommendation_is_a_mixture_with_its_evidence(recommendation):
    found, page = recommendation
    assert sum(found["weights"].values()) == pytest.approx(1, abs=1e-9)
    assert found["runs_used"] == 40
    objective = found["objective"]
    assert objective["lower"] <= objective["mean"] <= objective["upper"]
    assert objective["mean"] < found["baselines"]["uniform"]["objective"]["mean"]
    assert "<html" in page.read_text().lower()


@pytest.mark.parametrize("name", ["canonical", "huggingface", "megatron", "olmo_core"])
def test_it_exports(mixwright, recommendation, name):
    code, out, _ = mixwright("export", recommendation[0]["id"], "--format", name, "--json")
    assert code == 0
    assert "web" in json.loads(out)["text"]


def test_an_unknown_format_is_refused_with_the_known_ones(mixwright, recommendation):
    code, _, err = mixwright("export", recommendation[0]["id"], "--format", "stone")
    assert code == 1
    assert "huggingface" in err


def test_a_person_sees_tables(mixwright, study):
    code, out, _ = mixwright("recommend", study, "--method", "exact")
    assert code == 0
    assert "Recommended mixture" in out
    assert "Predicted objective" in out


def test_a_server_that_is_away_is_exit_code_3(mixwright):
    code, _, err = mixwright("recommend", "s", "--url", "http://127.0.0.1:9")
    assert code == 3
    assert "mixwright serve" in err


def test_a_token_closes_the_server_to_those_without(mixwright, url):
    code, out, _ = mixwright("token", "create", "--name", "me", "--scope", "admin", "--json")
    assert code == 0
    token = json.loads(out)["token"]
    assert mixwright("token", "list")[0] == 1
    code, out, _ = mixwright("token", "list", "--token", token, "--json")
    assert [item["name"] for item in json.loads(out)] == ["me"]
