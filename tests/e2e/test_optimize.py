"""`mixwright optimize` for real: it proposes, trains, learns; it is stopped, and goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from deployment import Deployment, until
from small_group import NAMES, make_store

from app.cli.corpus import register_corpus
from mixwright_client.client import Client

COSTS = {"short": 0.25, "long": 1.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("server"))
    deployment.start()
    deployment.start_trainer()
    store = make_store(tmp_path_factory.mktemp("corpus"))
    client = Client(str(deployment.client.base_url).rstrip("/"), "")
    register_corpus(client, str(store.folder), store, "letters")
    client.close()
    yield deployment
    deployment.stop()


@pytest.fixture
def study(server):
    name = f"optimized-{time.time_ns()}"
    body = {
        "name": name,
        "domains": [{"name": domain} for domain in NAMES],
        "metrics": [{"name": f"loss/{domain}"} for domain in NAMES],
        "fidelities": [
            {"name": "short", "cost": COSTS["short"], "tokens": 4_096.0},
            {"name": "long", "cost": COSTS["long"], "tokens": 16_384.0},
        ],
        "target_fidelity": "long",
    }
    server.post("/v1/studies", body, 201)
    return name


@pytest.fixture
def optimize(server, study):
    def start(budget, *more):
        command = ["optimize", study, "--corpus", "letters", "--model", "65k", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", *command, "--budget", str(budget)],
            env={**os.environ, "MIXWRIGHT_URL": str(server.client.base_url).rstrip("/")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ended(process, status=0):
    out, err = process.communicate(timeout=180)
    assert process.returncode == status, out + err
    return out, err


def runs_of(server, study):
    return server.client.get(f"/v1/studies/{study}/runs?limit=1000").json()["items"]


def test_it_spends_the_budget_and_says_where_and_recommends(server, study, optimize):
    found = json.loads(ended(optimize(3, "--json"))[0])
    runs = [run for run in runs_of(server, study) if run["state"] == "succeeded"]
    assert sum(COSTS[run["fidelity"]] for run in runs) == found["spent"]
    assert 3 - min(COSTS.values()) < found["spent"] <= 3
    assert sum(found["runs"].values()) == len(runs)
    assert found["recommendation"]["weights"].keys() == set(NAMES)
    history = server.client.get(f"/v1/studies/{study}/optimisations").json()["items"]
    assert history[0]["steps"][-1]["recommendation"] == found["recommendation"]


def test_it_shows_spend_regret_and_what_it_would_recommend(optimize):
    out, err = ended(optimize(2))
    assert "spent 2 of 2" in err
    assert "regret" in err
    assert "Recommended mixture" in out
    assert "Spent 2:" in out


def test_stopped_in_the_middle_it_goes_on_and_spends_no_more_than_it_may(server, study, optimize):
    first = optimize(4)
    until(lambda: any(run["state"] == "succeeded" for run in runs_of(server, study)), 60)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    before = len(runs_of(server, study))
    found = json.loads(ended(optimize(4, "--json"))[0])
    runs = [run for run in runs_of(server, study) if run["state"] != "failed"]
    assert all(run["state"] == "succeeded" for run in runs)
    assert len(runs) > before - 4
    assert sum(COSTS[run["fidelity"]] for run in runs) == found["spent"] <= 4


def test_a_budget_below_the_cheapest_run_buys_nothing(optimize):
    out, _ = ended(optimize(0.1))
    assert "nothing to recommend" in out


def test_a_fidelity_without_a_model_is_named(server, study):
    command = ["optimize", study, "--corpus", "letters", "--budget", "1", "--model", "short=65k"]
    process = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *command],
        env={**os.environ, "MIXWRIGHT_URL": str(server.client.base_url).rstrip("/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "long" in process.stderr
