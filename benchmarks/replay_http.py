"""The same replay through HTTP and through the core: the service gives the core's sequence.

A real API process on PostgreSQL. Every ask sends the whole table as its pool, is told which entry
to run, and reports what the table says of it. The core does the same with arrays. Runs asked for
and recommendations are compared one by one.
"""

import time
from itertools import islice

import httpx
import numpy as np

from benchmarks.http import REDIS, own_database
from benchmarks.replay_methods import METHODS
from benchmarks.replay_tables import HEADLINES, table_of
from benchmarks.server_process import serving
from benchmarks.tables import Section, machine, versions

ASKS, SEED = 80, 100


def study_of(table):
    """The table's study as it is sent."""
    study = table.study
    return {
        "name": "replay",
        "domains": [{"name": name} for name in study.domain_names],
        "metrics": [{"name": name} for name in study.metric_names],
        "fidelities": [
            {"name": one.name, "cost": one.cost, "parameters": one.parameters, "tokens": one.tokens}
            for one in study.fidelities
        ],
        "target_fidelity": study.target_fidelity,
    }


def pool_of(table):
    names = table.study.domain_names
    return [
        {"fidelity": str(fidelity), "weights": dict(zip(names, mixture, strict=True))}
        for fidelity, mixture in zip(table.fidelity, table.mixtures.tolist(), strict=True)
    ]


def through_http(client, table):
    """Yield row run, row recommended once it has ended, and seconds of the ask."""
    client.post("/v1/studies", json=study_of(table)).raise_for_status()
    asked = {"strategy": "bayesopt", "seed": SEED, "wait": 60, "pool": pool_of(table)}
    while True:
        began = time.perf_counter()
        found = client.post("/v1/studies/replay/proposals", json=asked).raise_for_status().json()
        seconds, (run,) = time.perf_counter() - began, found["items"]
        body = {"lease_token": 1, "metrics": {"y": float(table.values[run["pool_index"]])}}
        client.post(f"/v1/runs/{run['id']}/complete", json=body).raise_for_status()
        told = client.post("/v1/studies/replay/proposals", json={**asked, "count": 0})
        best = told.raise_for_status().json()["recommendation"]["pool_index"]
        yield run["pool_index"], best, seconds


def sections():
    """The section of docs/benchmarks.md."""
    table = table_of(HEADLINES[0], SEED)
    with (
        own_database() as url,
        serving(url, REDIS) as server,
        httpx.Client(base_url=server.url, timeout=90) as client,
    ):
        asked = list(islice(through_http(client, table), ASKS))
    began = time.perf_counter()
    points = list(islice(METHODS["ours"](table, SEED), ASKS))
    core = (time.perf_counter() - began) / ASKS
    runs = sum(row == one for (row, _, _), one in zip(asked, points[-1].used, strict=True))
    best = sum(row == point.row for (_, row, _), point in zip(asked, points, strict=True))
    times = np.array([seconds for _, _, seconds in asked])
    is_same_set = {row for row, _, _ in asked} == set(points[-1].used)
    row = (
        f"{runs} of {ASKS}",
        "yes" if is_same_set else "no",
        f"{best} of {ASKS}",
        f"{1_000 * np.median(times):.0f}",
        f"{1_000 * core:.0f}",
    )
    return [
        Section(
            "The service gives the core's sequence",
            f"RegMix's mean of losses, seed {SEED}: the first {ASKS} asks over HTTP, each with all "
            f"{len(table.values)} cells as its pool, beside the same replay in the core. "
            "The service divides weights by their sum anew, so that last digits differ, and two "
            "runs that gain next to nothing may change places.",
            (
                "same run asked for",
                "the same runs in all",
                "same recommendation",
                "an ask over HTTP, median, ms",
                "run and recommendation in the core, ms",
            ),
            [row],
            f"Machine: {machine()}; {versions('fastapi', 'sqlalchemy', 'numpy', 'scipy')}.",
        )
    ]
