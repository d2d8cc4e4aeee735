"""A swarm of 64 proxies while everything around it is killed: the history is checked afterwards.

Server on PostgreSQL, a Redis of our own, two training workers. Faults come at random moments, from
a seed; what is checked is what the database holds, and that every result is, to the bit, that of
the same swarm left in peace.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
import redis
from deployment import LEASE_SECONDS, Deployment, children_of, free_port, until
from small_group import NAMES, make_store
from sqlalchemy import func, select

from app.db.engine import make_engine, make_sessions
from app.db.models import AttemptRow, RunCountRow, RunRow

COUNT, WIDTH, TOKENS = 64, 8, 240_000
FAULTS = {"worker": 12, "training process": 8, "server": 10, "redis": 5, "zombie": 5}


class Redis:
    """A Redis server that can be killed."""

    def __init__(self, folder):
        self._port = free_port()
        self._folder = folder
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process = None

    def start(self):
        command = ["redis-server", "--port", str(self._port), "--save", "", "--loglevel", "warning"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        until(lambda: _answers(client))
        client.close()

    def kill(self):
        self._process.kill()
        self._process.wait()


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


@pytest.fixture
def own_redis(tmp_path):
    if shutil.which("redis-server") is None:
        if os.environ.get("MIXWRIGHT_REQUIRE_SERVICES"):
            raise RuntimeError("redis-server is not installed")
        pytest.skip("redis-server is not installed: it has to be killed")
    server = Redis(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def deployment(tmp_path, postgresql_url, own_redis):
    deployment = Deployment(tmp_path, postgresql_url, own_redis.url)
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def sessions(postgresql_url, deployment):
    engine = make_engine(postgresql_url)
    yield make_sessions(engine)
    engine.dispose()


def start_swarm(deployment, corpus, name):
    """Create a study and ask for its swarm; return both ids."""
    study = {
        "name": name,
        "domains": [{"name": domain} for domain in NAMES],
        "metrics": [{"name": f"loss/{domain}"} for domain in NAMES],
        "fidelities": [{"name": "tiny", "tokens": float(TOKENS)}],
        "budget": {"max_runs": COUNT},
    }
    swarm = {
        "count": COUNT,
        "fidelity": "tiny",
        "trainer": {
            "corpus": corpus,
            "model": {"preset": "65k"},
            "optimizer": {"learning_rate": 0.01, "batch_sequences": 8},
            "evaluation": {"at": [0.5, 1.0], "windows": 8},
            "width": WIDTH,
        },
    }
    study_id = deployment.post("/v1/studies", study, 201)["id"]
    return study_id, deployment.post(f"/v1/studies/{name}/swarms", swarm, 202)["id"]


def register(deployment, store):
    domains = [
        {
            "name": entry["name"],
            "documents": entry["documents"],
            **{f"{part}_{unit}": entry[part][unit] for part in PARTS for unit in UNITS},
            "sha256": {part: entry[part]["sha256"] for part in PARTS},
        }
        for entry in store.index["domains"]
    ]
    body = {
        "name": "letters",
        "uri": str(store.folder),
        "tokenizer": store.tokenizer,
        "vocabulary": store.vocabulary,
        "digest": store.digest,
        "domains": domains,
    }
    return deployment.post("/v1/corpora", body, 201)["id"]


PARTS, UNITS = ("train", "validation"), ("tokens", "bytes")


def swarm_of(deployment, swarm_id):
    response = deployment.client.get(f"/v1/swarms/{swarm_id}")
    assert response.status_code == 200, response.text
    return response.json()


def results(sessions, study_id):
    """Metrics and realised tokens of a study's runs by their place in the design."""
    with sessions() as session:
        rows = session.execute(
            select(RunRow.run_metadata, RunRow.metrics, RunRow.realised_tokens, RunRow.state)
            .where(RunRow.study_id == study_id)
        ).all()  # fmt: skip
    return {
        row.run_metadata["mixture"]: (row.state, row.metrics, row.realised_tokens) for row in rows
    }


class Chaos:
    """Injects faults until none is left."""

    def __init__(self, deployment, own_redis, seed):
        self._random = random.Random(seed)
        self._deployment, self._broker = deployment, own_redis
        self.left = [kind for kind, count in FAULTS.items() for _ in range(count)]
        self._random.shuffle(self.left)
        self.trainers = [deployment.start_trainer() for _ in range(2)]

    def strike(self):
        getattr(self, "_" + self.left.pop().replace(" ", "_"))()
        time.sleep(self._random.uniform(0.1, 0.6))

    def _worker(self):
        index = self._random.randrange(2)
        os.killpg(self.trainers[index].pid, signal.SIGKILL)
        self.trainers[index] = self._deployment.start_trainer()

    def _training_process(self):
        children = [child for trainer in self.trainers for child in children_of(trainer.pid)]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._random.choice(children), signal.SIGKILL)

    def _server(self):
        os.killpg(self._deployment.server.pid, signal.SIGKILL)
        time.sleep(self._random.uniform(0, 1))
        self._deployment.start()

    def _redis(self):
        """Kill the broker with every message in it."""
        self._broker.kill()
        time.sleep(self._random.uniform(0, 1))
        self._broker.start()

    def _zombie(self):
        """Stop a worker for longer than its lease; then let it go on as if nothing had been."""
        trainer = self._random.choice(self.trainers)
        processes = [trainer.pid, *children_of(trainer.pid)]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):  # one was dying of another fault
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(LEASE_SECONDS + 1.0)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.timeout(900)
def test_a_swarm_survives_everything_and_every_run_counts_once(
    deployment, own_redis, sessions, tmp_path, capsys
):
    corpus = register(deployment, make_store(tmp_path))
    chaos = Chaos(deployment, own_redis, seed=1)
    started = time.monotonic()
    peaceful, swarm_id = start_swarm(deployment, corpus, "peaceful")
    until(lambda: swarm_of(deployment, swarm_id)["state"] == "succeeded", 300)
    in_peace = time.monotonic() - started

    started = time.monotonic()
    disturbed, swarm_id = start_swarm(deployment, corpus, "disturbed")
    while chaos.left:
        assert swarm_of(deployment, swarm_id)["state"] in ("queued", "running")
        chaos.strike()
    until(lambda: swarm_of(deployment, swarm_id)["state"] == "succeeded", 400)

    expected, found = results(sessions, peaceful), results(sessions, disturbed)
    assert len(found) == COUNT
    assert found == expected  # every digit
    with sessions() as session:
        counted = session.scalar(
            select(RunCountRow.succeeded).where(RunCountRow.study_id == disturbed)
        )
        attempts = session.execute(
            select(AttemptRow.is_result, func.count())
            .join(RunRow, RunRow.id == AttemptRow.run_id)
            .where(RunRow.study_id == disturbed)
            .group_by(AttemptRow.is_result)
        )
        attempts = dict(attempts.all())
        late = session.scalar(
            select(func.count()).where(RunRow.study_id == disturbed, RunRow.late.is_(True))
        )
    assert counted == COUNT
    assert attempts[True] == COUNT
    response = deployment.client.post("/v1/studies/disturbed/proposals", json={})
    assert response.json()["shortfall"]["reason"] == "budget"
    with capsys.disabled():
        print(
            f"\n{sum(FAULTS.values())} faults {FAULTS}: {counted} runs, {attempts.get(False, 0)} "
            f"superseded answers, {late} late; {in_peace:.0f} s in peace, "
            f"{time.monotonic() - started:.0f} s disturbed"
        )
