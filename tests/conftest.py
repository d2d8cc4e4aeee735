"""Fixtures shared by all tests: real databases, an application on them, a small study."""

import os
import shutil
import threading
import uuid

import psycopg
import pytest
from fastapi.testclient import TestClient
from psycopg import sql
from small_study import SMALL_STUDY
from sqlalchemy.orm import sessionmaker

from app.db.engine import make_engine
from app.db.revision import upgrade
from app.logs import configure_logs
from app.main import create_app
from app.tasks import do_job

configure_logs(as_json=False)

POSTGRES = os.environ.get(
    "MIXWRIGHT_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres"
)
SERVICES_REQUIRED = bool(os.environ.get("MIXWRIGHT_REQUIRE_SERVICES"))


THREADS = {"mixwright", "sweeper", "heartbeat", "worker keeper", "parent watch"}  # what we start


@pytest.fixture(autouse=True)
def _no_thread_stays():
    """Refuses a test that leaves a thread of ours: it would allocate, log and ask beside others."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not THREADS & set(left), f"the test left threads running: {left}; finish what it began"


def postgres(statement, *names, url=POSTGRES):
    """Run a statement outside a transaction, with `names` quoted into it."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def postgres_url(database):
    return POSTGRES.rsplit("/", 1)[0].replace("postgresql://", "postgresql+psycopg://") + (
        f"/{database}"
    )


@pytest.fixture(scope="session")
def postgres_template():
    """The name of a migrated PostgreSQL database to clone; skips where there is no server."""
    name = f"mixwright_template_{uuid.uuid4().hex[:8]}"
    try:
        postgres("CREATE DATABASE {}", name)
    except psycopg.OperationalError as error:
        if SERVICES_REQUIRED:
            raise
        pytest.skip(f"no PostgreSQL server at MIXWRIGHT_TEST_POSTGRES: {error}")
    upgrade(postgres_url(name))
    yield name
    postgres("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "mixwright.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    shutil.copy(sqlite_template, tmp_path / "mixwright.db")
    return f"sqlite:///{tmp_path / 'mixwright.db'}"


@pytest.fixture
def postgresql_url(postgres_template):
    name = f"mixwright_test_{uuid.uuid4().hex[:12]}"
    postgres("CREATE DATABASE {} TEMPLATE {}", name, postgres_template)
    yield postgres_url(name)
    postgres("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request):
    """A fresh, migrated database: each test that asks for it runs on both kinds."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def sessions(database_url):
    engine = make_engine(database_url)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


@pytest.fixture
def rung():
    """The bells rung so far: (job id, queue)."""
    return []


@pytest.fixture
def app(sessions, rung):
    return create_app(
        sessions,
        lambda job_id, queue: rung.append((job_id, queue)),
        broker_is_ready=lambda: True,
        max_body_bytes=16 * 2**20,
    )


@pytest.fixture
def client(app):
    with TestClient(
        app,
        base_url="http://127.0.0.1",
        client=("127.0.0.1", 50000),
        raise_server_exceptions=False,
    ) as client:
        yield client


@pytest.fixture
def study(client):
    """The id of a stored study with three domains, two metrics and two fidelities."""
    response = client.post("/v1/studies", json=SMALL_STUDY)
    assert response.status_code == 201, response.text
    return response.json()["id"]


@pytest.fixture
def store_runs(client, study):
    def store(runs):
        response = client.post(f"/v1/studies/{study}/runs:batch", json={"runs": runs})
        assert response.status_code == 201, response.text

    return store


@pytest.fixture
def work(sessions, rung):
    """Does what a worker would, for every bell rung so far and those that follow."""

    def do_all():
        while rung:
            job_id, _ = rung.pop(0)
            do_job(sessions, lambda *bell: rung.append(bell), job_id, 60.0)

    return do_all


@pytest.fixture
def worker(work):
    """A worker beside the test, which does what is rung for as it comes."""
    stop = threading.Event()

    def until_stopped():
        while not stop.wait(0.002):
            work()

    thread = threading.Thread(target=until_stopped)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def rated(client):
    """Creates the study whose documents are rated, in a space, if it is not there; its name."""
    from rated_study import rated_study

    def create(space, **options):
        body = rated_study(space, **options)
        assert client.post("/v1/studies", json=body).status_code in (201, 409)
        return body["name"]

    return create
