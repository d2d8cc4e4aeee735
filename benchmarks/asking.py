"""Asking for a run while thousands are stored: how long an ask of the ready queue takes.

A real API process, PostgreSQL, Redis and a worker. Suggestions are computed ahead; the time is that
of asks that found one ready, one client, over HTTP.
"""

import os
import subprocess
import sys
import time

import httpx
import numpy as np

from benchmarks.http import REDIS, own_database
from benchmarks.server_process import serving
from benchmarks.tables import Section, machine, versions

STORED = (0, 1_000, 10_000)
ASKS, AHEAD, DOMAINS = 100, 8, 17
PATIENCE = 600  # seconds for the worker to think


def study(name):
    return {
        "name": name,
        "domains": [{"name": f"d{i}"} for i in range(DOMAINS)],
        "metrics": [{"name": "loss"}],
        "fidelities": [{"name": "small", "cost": 0.001}, {"name": "large", "cost": 1.0}],
        "target_fidelity": "large",
    }


def runs(count):
    """Runs of a linear law in the square roots of shares, one in twenty at the target."""
    rng = np.random.default_rng(0)
    law = rng.normal(size=DOMAINS)
    for index, mixture in enumerate(rng.dirichlet(np.ones(DOMAINS), count)):
        yield {
            "fidelity": "large" if index % 20 == 0 else "small",
            "weights": {f"d{i}": share for i, share in enumerate(mixture.tolist())},
            "metrics": {"loss": float(3 + np.sqrt(mixture) @ law + 0.05 * rng.normal())},
        }


def worker(environment):
    return subprocess.Popen(
        [sys.executable, "-m", "app.worker", "--queue", "suggest"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def measure(client, stored):
    """Median and 99th percentile of an ask, and seconds until the first suggestion; ms, ms, s."""
    name = f"asked-{stored}"
    client.post("/v1/studies", json=study(name)).raise_for_status()
    everything = list(runs(stored))
    for start in range(0, stored, 1_000):
        body = {"runs": everything[start : start + 1_000]}
        client.post(f"/v1/studies/{name}/runs:batch", json=body).raise_for_status()
    began, times, first = time.perf_counter(), [], None
    while len(times) < ASKS:
        asked = {"strategy": "bayesopt", "count": 1, "wait": 0}
        at = time.perf_counter()
        found = client.post(f"/v1/studies/{name}/proposals", json=asked).raise_for_status().json()
        taken = time.perf_counter() - at
        if found["items"]:
            first = at - began if first is None else first
            times.append(1_000 * taken)
        else:
            _have_more_computed(client, name)
    return float(np.median(times)), float(np.percentile(times, 99)), first


def _have_more_computed(client, name):
    """Ask for many at once, which has as many kept ready; and wait until they are."""
    asked = {"strategy": "bayesopt", "count": AHEAD, "wait": 0}
    client.post(f"/v1/studies/{name}/proposals", json=asked).raise_for_status()
    time.sleep(0.5)


def sections():
    """The section of docs/benchmarks.md."""
    rows = []
    with own_database() as url, serving(url, REDIS) as server:
        process = worker({"MIXWRIGHT_DATABASE_URL": url, "MIXWRIGHT_BROKER_URL": REDIS})
        try:
            with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
                for stored in STORED:
                    middle, slow, first = measure(client, stored)
                    rows.append((stored, f"{middle:.1f}", f"{slow:.1f}", f"{first:.1f}"))
        finally:
            process.terminate()
            process.wait()
    return [
        Section(
            "Asking for a run",
            f"`POST …/proposals` with `strategy: bayesopt`, {ASKS} asks for one run that found a "
            "suggestion ready; PostgreSQL, one API process, one worker that computes suggestions "
            f"{AHEAD} ahead beside it. Goal: 99 % within 50 ms.",
            ("runs stored", "median, ms", "99th percentile, ms", "first suggestion after, s"),
            rows,
            f"Machine: {machine()}; {versions('fastapi', 'sqlalchemy', 'numpy')}.",
        )
    ]
