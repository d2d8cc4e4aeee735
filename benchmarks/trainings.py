"""Trainings on PostgreSQL: what an observation and an idle poll cost, and a thousand that wait.

One API process. `MIXWRIGHT_TEST_POSTGRES` and `MIXWRIGHT_TEST_REDIS` say where the servers are.
"""

import asyncio
import time

import httpx
import numpy as np

from benchmarks.http import DOMAINS, REDIS, own_database
from benchmarks.server_process import serving
from benchmarks.tables import Section, machine, versions

OBSERVATIONS, POLLS, ROUNDS = 500, 1_000, 5
TRAININGS, WAITING = 100, 10  # trainings, and trainers that wait for each


def register(client, name):
    body = {
        "name": name,
        "domains": DOMAINS,
        "algorithm": "shearing",
        "options": {"target_losses": dict.fromkeys(DOMAINS, 2.0), "step_size": 0.01},
    }
    response = client.post("/v1/trainings", json=body)
    response.raise_for_status()
    return f"/v1/trainings/{response.json()['id']}"


def observation(step):
    losses = np.random.default_rng(step).uniform(2.0, 4.0, len(DOMAINS)).tolist()
    return {"step": step, "losses": dict(zip(DOMAINS, losses, strict=True))}


def spent(server, count, call):
    """Milliseconds of the server's processor, and of the clock, for each of so many calls."""
    cpu, began = server.cpu_seconds(), time.perf_counter()
    for index in range(count):
        call(index)
    clock = time.perf_counter() - began
    return 1e3 * (server.cpu_seconds() - cpu) / count, 1e3 * clock / count


def round_trips(client, server):
    """Costs of observations, and of polls that are answered 304."""
    training = register(client, "one")

    def tell(step):
        client.post(f"{training}/observations", json=observation(step)).raise_for_status()

    spent(server, 50, tell)  # everything is loaded
    told = spent(server, OBSERVATIONS, lambda index: tell(50 + index))
    tag = client.get(f"{training}/weights").headers["ETag"]

    def poll(_):
        answer = client.get(f"{training}/weights", headers={"If-None-Match": tag})
        assert answer.status_code == 304

    return told, spent(server, POLLS, poll)


async def wait_for_versions(url, headers, paths):
    """Seconds from each publication to each receipt, and the versions received."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    received = []
    options = {"timeout": 120, "limits": limits, "headers": headers}
    async with httpx.AsyncClient(base_url=url, **options) as client:

        async def wait(path):
            answer = await client.get(f"{path}/weights?after=0&wait=60")
            received.append((path, time.perf_counter(), answer.json()["version"]))

        waiting = [asyncio.create_task(wait(path)) for path in paths for _ in range(WAITING)]
        await asyncio.sleep(15)  # until all hang on the line
        published = {}
        for path in paths:
            answer = await client.post(f"{path}/observations", json=observation(1))
            published[path] = time.perf_counter()
            assert answer.json()["version"] == 1
        await asyncio.gather(*waiting)
    waits = [max(0.0, at - published[path]) for path, at, _ in received]
    return waits, [version for *_, version in received]


def sections():
    """The section of docs/benchmarks.md."""
    with own_database() as database, serving(database, REDIS) as server:
        body = {"name": "bench", "scopes": ["train"]}
        token = httpx.post(f"{server.url}/v1/tokens", json=body).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=server.url, timeout=60, headers=headers) as client:
            rounds = [round_trips(client, server) for _ in range(ROUNDS)]
            told, polled = map(min, zip(*rounds, strict=True))
            paths = [register(client, f"waited for {index}") for index in range(TRAININGS)]
        waits, received = asyncio.run(wait_for_versions(server.url, headers, paths))
        peak = server.peak_megabytes()
    assert set(received) == {1}
    rows = [
        ["observation, 17 domains: server's processor", f"{told[0]:.1f} ms", "≤ 5 ms"],
        ["observation: round trip", f"{told[1]:.1f} ms", ""],
        ["idle poll, answered 304: server's processor", f"{polled[0]:.2f} ms", "≤ 1 ms"],
        [
            f"{len(received):,} that wait, {TRAININGS} versions: publication to receipt, 99 %",
            f"{np.quantile(waits, 0.99):.2f} s",
            "≤ 2 s",
        ],
        ["largest memory of the server", f"{peak:.0f} MB", "< 300 MB"],
    ]
    words = (
        f"PostgreSQL, one API process, a token, `shearing`; {OBSERVATIONS} observations and "
        f"{POLLS:,} polls over one connection, the fastest of {ROUNDS} rounds, because the machine "
        f"was shared; then {TRAININGS} trainings with {WAITING} long polls each, all waiting at "
        "once, in one other process that shares the two processors. A version counts as published "
        "when the trainer that told has its answer."
    )
    notes = f"{machine()}; {versions('fastapi', 'sqlalchemy', 'numpy')}."
    return [Section("Trainings", words, ["what", "measured", "goal"], rows, notes)]
