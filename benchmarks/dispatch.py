"""Dispatching a swarm: time until 202, and what a training worker spends on HTTP."""

import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import httpx

from app.cli.corpus import register_corpus
from benchmarks.http import REDIS, own_database
from benchmarks.server_process import serving
from benchmarks.tables import Section, machine, versions
from mixwright.corpus.python_text import python_corpus
from mixwright_client.client import Client
from workers.group import do_group
from workers.settings import WorkerSettings

COUNT, ROUNDS = 512, 5
TRAINER = {
    "model": {"preset": "65k"},
    "optimizer": {"learning_rate": 0.01, "batch_sequences": 8},
    "width": 16,
}


class Timed:
    """Adds up the seconds that training waits for the server; heartbeats have their own thread."""

    def __init__(self):
        self.seconds, self.calls = 0.0, 0
        self._send = Client._send

    def __enter__(self):
        timed = self

        def send(client, *arguments, **more):
            began = time.perf_counter()
            try:
                return timed._send(client, *arguments, **more)
            finally:
                if threading.current_thread() is threading.main_thread():
                    timed.seconds += time.perf_counter() - began
                    timed.calls += 1

        Client._send = send
        return self

    def __exit__(self, *_):
        Client._send = self._send


def study(name, store):
    return {
        "name": name,
        "domains": [{"name": domain} for domain in store.domains],
        "metrics": [{"name": f"loss/{domain}"} for domain in store.domains],
        "fidelities": [{"name": "proxy", "tokens": 49_152.0}],
    }


def sections():
    """The section of docs/benchmarks.md."""
    with (
        tempfile.TemporaryDirectory() as folder,
        own_database() as url,
        serving(url, REDIS) as server,
    ):
        store = python_corpus(Path(folder))
        client = Client(server.url)
        corpus = register_corpus(client, str(store.folder), store, "python")["id"]
        accepted = [_accept(server.url, store, corpus, f"s{i}", COUNT)[0] for i in range(ROUNDS)]
        _, swarm = _accept(server.url, store, corpus, "worked", 16)
        group = _groups_of(client, swarm)
        settings = WorkerSettings(url=server.url, data_dir=Path(folder))
        began = time.perf_counter()
        with Timed() as timed:
            do_group(settings, group)
        worked = time.perf_counter() - began
        assert client.get(f"/v1/swarms/{swarm}")["state"] == "succeeded"
    return [
        Section(
            "Dispatching a swarm",
            "One API process on PostgreSQL and Redis. The worker trains a group of 16 proxies as "
            "the demo does: the shortest that is worth a group, so the largest share of HTTP.",
            ("what", "Mixwright", "goal"),
            [
                (f"a swarm of {COUNT}: until 202", f"{median(accepted):.2f} s", "≤ 2 s"),
                (
                    "a worker's time waiting for the server",
                    f"{timed.seconds / worked:.1%} ({timed.calls} calls in {worked:.1f} s)",
                    "≤ 1 %",
                ),
            ],
            f"Machine: {machine()}; {versions('fastapi', 'sqlalchemy', 'torch')}.",
        )
    ]


def _accept(url, store, corpus, name, count):
    """Seconds until a swarm of `count` was accepted, and its id."""
    httpx.post(f"{url}/v1/studies", json=study(name, store)).raise_for_status()
    body = {"count": count, "fidelity": "proxy", "trainer": {**TRAINER, "corpus": corpus}}
    began = time.perf_counter()
    answer = httpx.post(f"{url}/v1/studies/{name}/swarms", json=body, timeout=60)
    seconds = time.perf_counter() - began
    assert answer.status_code == 202, answer.text
    return seconds, answer.json()["id"]


def _groups_of(client, swarm):
    """The only group of a swarm."""
    study_id = client.get(f"/v1/swarms/{swarm}")["study_id"]
    runs = client.get(f"/v1/studies/{study_id}/runs", limit=1)["items"]
    return runs[0]["group_id"]
