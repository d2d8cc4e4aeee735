"""The HTTP service on PostgreSQL: cost of a run, of a batch, and flatness as runs pile up.

Runs of 17 weights and 18 metrics over one connection to one server process, with token, checks
and natural keys on. `MIXWRIGHT_TEST_POSTGRES` and `MIXWRIGHT_TEST_REDIS` say where the servers are.
"""

import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from statistics import quantiles

import httpx
import numpy as np
import psycopg
from psycopg import sql

from app.db.revision import upgrade
from benchmarks.server_process import serving
from benchmarks.tables import Section, machine, versions

POSTGRES = os.environ.get(
    "MIXWRIGHT_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres"
)
REDIS = os.environ.get("MIXWRIGHT_TEST_REDIS", "redis://127.0.0.1:6379/15")
SIZES = (60, 1_000, 10_000)  # 60: as few as a recommendation needs
DOMAINS = [f"domain_number_{i:02d}" for i in range(17)]
METRICS = [f"loss/validation_{i:02d}" for i in range(18)]


def study(name):
    return {
        "name": name,
        "domains": [{"name": domain} for domain in DOMAINS],
        "metrics": [{"name": metric} for metric in METRICS],
        "fidelities": [{"name": "1m", "cost": 0.001}],
    }


def make_runs(count, prefix, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(len(DOMAINS)), count)
    metrics = rng.normal(3, 0.5, (count, len(METRICS)))
    return [
        {
            "external_id": f"{prefix}-{i:06d}",
            "fidelity": "1m",
            "weights": dict(zip(DOMAINS, map(float, weights[i]), strict=True)),
            "metrics": dict(zip(METRICS, map(float, metrics[i]), strict=True)),
            "cost": 0.001,
        }
        for i in range(count)
    ]


def timed(call, inputs):
    """Milliseconds of each call."""
    spent = []
    for item in inputs:
        began = time.perf_counter()
        response = call(item)
        spent.append((time.perf_counter() - began) * 1e3)
        assert response.status_code in (200, 201), response.text
    return spent


def percentiles(spent):
    cuts = quantiles(spent, n=100)
    return cuts[49], cuts[98]


def single_runs(client, server, rounds=5, count=400):
    """Processor milliseconds, p50 and p99 of the fastest round: the machine is shared."""
    client.post("/v1/studies", json=study("single")).raise_for_status()
    post = lambda run: client.post("/v1/studies/single/runs", json=run)  # noqa: E731
    timed(post, make_runs(50, "warm"))
    found = []
    for seed in range(rounds):
        before = server.cpu_seconds()
        spent = timed(post, make_runs(count, f"timed-{seed}", seed=seed))
        cpu = (server.cpu_seconds() - before) / count * 1e3
        found.append((cpu, *percentiles(spent)))
    return min(found)


def batch(client, server):
    client.post("/v1/studies", json=study("batch")).raise_for_status()
    runs = make_runs(10_000, "batch")
    began = time.perf_counter()
    client.post("/v1/studies/batch/runs:batch", json={"runs": runs}).raise_for_status()
    stored = time.perf_counter() - began
    began = time.perf_counter()
    found = read_all(client, "batch")
    back = time.perf_counter() - began
    assert len(found) == len(runs)
    return stored, back, server.peak_megabytes()


def read_all(client, name):
    found, cursor = [], None
    while True:
        query = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
        page = client.get(f"/v1/studies/{name}/runs", params=query).raise_for_status().json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def as_runs_pile_up(client, rounds=200):
    """Percentiles of three requests on studies of each of `SIZES`.

    The studies take turns, so that whatever else the machine does hits them alike.
    """
    for size in SIZES:
        for start in range(60, size, 1_000):
            chunk = {"runs": make_runs(min(1_000, size - start), f"fill-{start}", seed=start)}
            client.post(f"/v1/studies/size-{size}/runs:batch", json=chunk).raise_for_status()
    spent = {(size, what): [] for size in SIZES for what in range(3)}
    fresh = make_runs(rounds, "timed", seed=1)
    for run in fresh:
        for size in SIZES:
            path = f"/v1/studies/size-{size}"
            calls = (
                lambda path=path, run=run: client.post(f"{path}/runs", json=run),
                lambda path=path: client.get(f"{path}/recommendations/latest"),
                lambda path=path: client.get(f"{path}/runs?limit=100"),
            )
            for what, call in enumerate(calls):
                spent[size, what] += timed(lambda _, call=call: call(), [None])
    return [
        (size, *(p for what in range(3) for p in percentiles(spent[size, what]))) for size in SIZES
    ]


def recommend_in_each(client, environment):
    """Store a study per size with 60 runs and a recommendation; the fit worker then goes."""
    command = [sys.executable, "-m", "app.cli.main", "worker", "--queue", "fit"]
    worker = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        for size in SIZES:
            path = f"/v1/studies/size-{size}"
            client.post("/v1/studies", json=study(f"size-{size}")).raise_for_status()
            batch = {"runs": make_runs(60, "fitted")}
            client.post(f"{path}/runs:batch", json=batch).raise_for_status()
            asked = {"surrogate": "linear", "candidates": 1000}
            found = client.post(f"{path}/recommendations", json=asked).json()
            ended = client.get(f"/v1/recommendations/{found['id']}?wait=60").json()
            assert ended["state"] == "succeeded", ended
    finally:
        worker.terminate()
        worker.wait(30)


@contextmanager
def own_database():
    """Yield the URL of a new, migrated database; drop it afterwards."""
    name = f"mixwright_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = POSTGRES.rsplit("/", 1)[0].replace("postgresql://", "postgresql+psycopg://")
    try:
        upgrade(f"{url}/{name}")
        yield f"{url}/{name}"
    finally:
        with psycopg.connect(POSTGRES, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def measure():
    """Everything, against one server process with a token."""
    with own_database() as url, serving(url, REDIS) as server:
        token = httpx.post(
            f"{server.url}/v1/tokens", json={"name": "bench", "scopes": ["write"]}
        ).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=server.url, timeout=120, headers=headers) as client:
            environment = {"MIXWRIGHT_DATABASE_URL": url, "MIXWRIGHT_BROKER_URL": REDIS}
            recommend_in_each(client, environment)
            return single_runs(client, server), batch(client, server), as_runs_pile_up(client)


def sections():
    """The sections of docs/benchmarks.md."""
    (cpu, p50, p99), (stored, back, peak), growth = measure()
    costs = [
        ("one run, server processor time", f"{cpu:.1f} ms", "≤ 4 ms", "80 ms", "–", "2.3 ms"),
        ("one run, p50", f"{p50:.1f} ms", "≤ 8 ms", "88 ms", "165 ms", "4.0 ms"),
        ("one run, p99", f"{p99:.1f} ms", "–", "344 ms", "365 ms", "10.3 ms"),
        ("10,000 runs in", f"{stored:.1f} s", "≤ 5 s", "8 runs/s", "6 runs/s", "2.9 s"),
        ("10,000 runs back", f"{back:.2f} s", "≤ 1.5 s", "–", "–", "0.8 s"),
        ("peak memory of the server", f"{peak:.0f} MB", "< 300 MB", "–", "–", "–"),
    ]
    flat = [(f"{size:,}", *(f"{value:.1f}" for value in values)) for size, *values in growth]
    return [
        Section(
            "Storing runs over HTTP",
            "Runs of 17 weights and 18 metrics; one API process on PostgreSQL, one connection, "
            "with token, checks and natural keys on; the fastest of five rounds of 400, "
            "because the machine was shared. The peers' figures were measured on another, "
            "quiet two-core machine and are there for their order of magnitude: MLflow 3.17.2, "
            "Optuna 5.0.0 on PostgreSQL, and a bare FastAPI sketch without tokens, keys, checks.",
            ("what", "Mixwright", "goal", "MLflow", "Optuna", "sketch"),
            costs,
            f"Machine: {machine()}; {versions('fastapi', 'sqlalchemy', 'psycopg')}.",
        ),
        Section(
            "As runs pile up",
            "Milliseconds, p50 and p99 of 200 requests each, the three studies taking turns. Goal: "
            "within a factor of 1.5 of each other.",
            (
                "stored runs",
                "POST run p50",
                "p99",
                "GET latest recommendation p50",
                "p99",
                "GET page of 100 runs p50",
                "p99",
            ),
            flat,
            f"Machine: {machine()}.",
        ),
    ]
