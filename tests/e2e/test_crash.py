"""Real processes, killed at the worst moments: nothing that was answered may be lost."""

import contextlib
import os
import shutil
import signal
import threading
import uuid

import httpx
import pytest
import redis
from deployment import Deployment, children_of, is_alive, until
from sqlalchemy import func, select, text

from app.db.engine import make_engine, make_sessions
from app.db.models import FitRow, JobRow, RunRow

# A database for each process that tests: they flush it.
DATABASE = 11 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
REDIS = os.environ.get("MIXWRIGHT_TEST_REDIS", f"redis://127.0.0.1:6379/{DATABASE}")


@pytest.fixture
def embedded(tmp_path):
    deployment = Deployment(tmp_path)
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def broker():
    """A Redis database of our own; skips where there is no server."""
    client = redis.Redis.from_url(REDIS)
    try:
        client.flushdb()
    except redis.ConnectionError as error:
        if os.environ.get("MIXWRIGHT_REQUIRE_SERVICES"):
            raise
        pytest.skip(f"no Redis server at MIXWRIGHT_TEST_REDIS: {error}")
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def external(tmp_path, postgresql_url, broker):
    deployment = Deployment(tmp_path, postgresql_url, REDIS)
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def embedded_sessions(embedded):
    engine = make_engine(f"sqlite:///{embedded.data_dir / 'mixwright.db'}")
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def external_sessions(external, postgresql_url):
    engine = make_engine(postgresql_url)
    yield make_sessions(engine)
    engine.dispose()


def attempts(sessions, fit_id):
    with sessions() as session:
        query = select(JobRow.attempt).join(FitRow, FitRow.job_id == JobRow.id)
        return session.scalar(query.where(FitRow.id == fit_id))


def num_models(sessions):
    with sessions() as session:
        return session.scalar(select(func.count()).where(FitRow.model.is_not(None)))


class TestEmbedded:
    def test_a_worker_killed_in_mid_fit_is_replaced_and_the_fit_done_once(
        self, embedded, embedded_sessions
    ):
        fit = embedded.ask_for_fit(embedded.create_study())
        embedded.wait_until_running(fit)
        os.kill(embedded.embedded_worker(), signal.SIGKILL)
        read = embedded.ended(fit)
        assert read["state"] == "succeeded", embedded.log()
        assert attempts(embedded_sessions, fit) == 2
        assert num_models(embedded_sessions) == 1

    def test_a_worker_killed_while_it_computes_suggestions_is_replaced_and_they_come(
        self, embedded, embedded_sessions
    ):
        study, answers = embedded.create_study(), []
        asked = {"strategy": "bayesopt", "count": 60, "wait": 60}
        url = f"/v1/studies/{study}/proposals"
        thread = threading.Thread(
            target=lambda: answers.append(embedded.client.post(url, json=asked))
        )
        thread.start()
        until(lambda: "kind=suggestions" in embedded.log())
        os.kill(embedded.embedded_worker(), signal.SIGKILL)
        thread.join()
        found = answers[0].json()
        assert len(found["items"]) == 60, embedded.log()
        assert found["shortfall"] is None
        with embedded_sessions() as session:
            query = select(JobRow.attempt).where(JobRow.kind == "suggestions")
            assert session.scalars(query).one() >= 2

    def test_a_fit_that_kills_every_worker_fails_and_says_so(self, embedded):
        fit = embedded.ask_for_fit(embedded.create_study())
        killed = set()

        def kill_or_end():
            read = embedded.read(fit)
            workers = set(children_of(embedded.server.pid)) - killed
            if read["state"] == "running" and f"attempt={len(killed) + 1} " in embedded.log():
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
                killed.update(workers)
            return read["error"]

        error = until(kill_or_end)
        assert "died 3 times" in error["detail"]
        assert len(killed) == 3

    def test_a_server_killed_after_202_does_the_fit_when_it_is_back(
        self, embedded, embedded_sessions
    ):
        study = embedded.create_study()
        fit = embedded.ask_for_fit(study)
        worker = embedded.embedded_worker()
        embedded.server.kill()
        embedded.server.wait()
        until(lambda: not is_alive(worker))
        embedded.start()
        assert embedded.ended(fit)["state"] == "succeeded", embedded.log()
        assert num_models(embedded_sessions) == 1

    def test_a_server_killed_in_mid_request_has_lost_nothing_it_answered(
        self, embedded, embedded_sessions
    ):
        url = f"/v1/studies/{embedded.create_study(count=1)}/runs"
        runs = [run_of(i) for i in range(600)]
        answered = send_until_killed(embedded, url, runs, kill_after=100)
        embedded.start()
        assert 100 <= len(answered) < len(runs)
        assert {status for status, _ in answered.values()} == {201}
        for index, run in enumerate(runs):  # a client that saw no answer sends its request again
            response = embedded.client.post(url, json=run, headers=key_of(index))
            assert response.status_code == 201
            if index in answered:
                assert response.json()["id"] == answered[index][1]
                assert response.headers["idempotent-replayed"] == "true"
        with embedded_sessions() as session:
            assert session.scalar(select(func.count()).select_from(RunRow)) == 1 + len(runs)

    def test_with_the_broker_gone_the_work_goes_on(self, embedded):
        study = embedded.create_study()
        shutil.rmtree(embedded.data_dir / "broker")
        fit = embedded.ask_for_fit(study, surrogate="linear", options={})
        assert embedded.ended(fit)["state"] == "succeeded", embedded.log()

    def test_a_zombie_worker_cannot_overwrite_what_another_did(self, embedded, embedded_sessions):
        fit = embedded.ask_for_fit(embedded.create_study())
        embedded.wait_until_running(fit)
        zombie = embedded.embedded_worker()
        os.kill(zombie, signal.SIGSTOP)
        embedded.start_worker()
        read = embedded.ended(fit)
        assert read["state"] == "succeeded", embedded.log()
        assert attempts(embedded_sessions, fit) == 2
        before = model_of(embedded_sessions, fit)
        os.kill(zombie, signal.SIGCONT)
        until(lambda: "job lost" in embedded.log())
        assert embedded.read(fit) == read
        assert model_of(embedded_sessions, fit) == before

    def test_a_zombie_worker_that_wakes_while_another_works_can_store_nothing(
        self, embedded, embedded_sessions
    ):
        fit = embedded.ask_for_fit(embedded.create_study())
        embedded.wait_until_running(fit)
        zombie = embedded.embedded_worker()
        os.kill(zombie, signal.SIGSTOP)
        other = embedded.start_worker()
        until(lambda: attempts(embedded_sessions, fit) == 2)
        os.kill(other.pid, signal.SIGSTOP)  # so that the zombie is the first to be done
        os.kill(zombie, signal.SIGCONT)
        until(lambda: "job lost" in embedded.log())
        assert num_models(embedded_sessions) == 0
        os.kill(other.pid, signal.SIGCONT)
        assert embedded.ended(fit)["state"] == "succeeded", embedded.log()
        assert num_models(embedded_sessions) == 1

    def test_the_worker_dies_with_its_server(self, embedded):
        worker = embedded.embedded_worker()
        embedded.server.kill()
        embedded.server.wait()
        until(lambda: not is_alive(worker))

    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
    def test_a_server_told_to_stop_ends_well(self, embedded, stop):
        worker = embedded.embedded_worker()
        embedded.server.send_signal(stop)
        assert embedded.server.wait() == 0
        assert not is_alive(worker)
        assert "Traceback" not in embedded.log()

    def test_more_clients_than_threads_do_not_block_each_other(self, embedded, embedded_sessions):
        study = embedded.create_study(count=1)
        url = f"{embedded.client.base_url}/v1/studies/{study}/runs"
        statuses = []

        def send(sender):
            with httpx.Client(timeout=90) as client:
                for i in range(3):
                    name = f"{sender}-{i}"
                    response = client.post(url, json=run_of(name), headers=key_of(name))
                    statuses.append(response.status_code)

        senders = [threading.Thread(target=send, args=(i,)) for i in range(60)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert statuses == [201] * 180
        assert "database unavailable" not in embedded.log()


@pytest.mark.postgres
@pytest.mark.redis
class TestExternal:
    def test_a_worker_killed_in_mid_fit_leaves_the_fit_to_another(
        self, external, external_sessions
    ):
        fit = external.ask_for_fit(external.create_study())
        first = external.start_worker()
        external.wait_until_running(fit)
        os.killpg(first.pid, signal.SIGKILL)
        external.start_worker()
        assert external.ended(fit)["state"] == "succeeded", external.log()
        assert attempts(external_sessions, fit) == 2
        assert num_models(external_sessions) == 1

    def test_a_killed_child_of_a_worker_is_replaced(self, external, external_sessions):
        fit = external.ask_for_fit(external.create_study())
        worker = external.start_worker()
        external.wait_until_running(fit)
        (child,) = children_of(worker.pid)
        os.kill(child, signal.SIGKILL)
        assert external.ended(fit)["state"] == "succeeded", external.log()
        assert attempts(external_sessions, fit) == 2
        assert num_models(external_sessions) == 1

    def test_a_flushed_broker_loses_no_job(self, external, broker):
        fit = external.ask_for_fit(external.create_study(), surrogate="linear", options={})
        assert broker.llen("fit") >= 1  # the sweeper may have rung as well
        broker.flushdb()
        external.start_worker()
        assert external.ended(fit)["state"] == "succeeded", external.log()

    def test_a_database_that_drops_its_connections_in_mid_fit_loses_no_fit(
        self, external, external_sessions
    ):
        external.start_worker()
        fit = external.ask_for_fit(external.create_study())
        external.wait_until_running(fit)
        with external_sessions() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        read = until(lambda: read_if_ended(external, fit))
        assert read["state"] == "succeeded", external.log()
        assert num_models(external_sessions) == 1

    def test_a_zombie_worker_cannot_overwrite_what_another_did(self, external, external_sessions):
        fit = external.ask_for_fit(external.create_study())
        zombie = external.start_worker()
        external.wait_until_running(fit)
        os.killpg(zombie.pid, signal.SIGSTOP)
        external.start_worker()
        read = external.ended(fit)
        assert read["state"] == "succeeded", external.log()
        before = model_of(external_sessions, fit)
        os.killpg(zombie.pid, signal.SIGCONT)
        until(lambda: "job lost" in external.log())
        assert external.read(fit) == read
        assert model_of(external_sessions, fit) == before


@pytest.mark.postgres
def test_without_a_broker_requests_are_answered_and_readyz_says_so(tmp_path, postgresql_url):
    deployment = Deployment(tmp_path, postgresql_url, "redis://127.0.0.1:1/0")
    try:
        deployment.start()
        fit = deployment.ask_for_fit(deployment.create_study(count=20))
        assert deployment.read(fit)["state"] == "queued"
        response = deployment.client.get("/readyz")
        assert response.status_code == 503
        assert "broker" in response.json()["detail"]
        assert "could not ring" in deployment.log()
    finally:
        deployment.stop()


def read_if_ended(deployment, fit_id):
    """The fit if it has ended; None if it has not, or if the database could not be asked."""
    response = deployment.client.get(f"/v1/fits/{fit_id}")
    ended = response.status_code == 200 and response.json()["ended_at"]
    return response.json() if ended else None


def send_until_killed(deployment, url, runs, kill_after):
    """Send runs from four threads, kill the server on the way; return what it answered.

    By index of the run: status and id.
    """
    answered, pending, lock = {}, iter(enumerate(runs)), threading.Lock()

    def send(client):
        while True:
            with lock:
                index, run = next(pending, (None, None))
            if index is None:
                return
            response = client.post(url, json=run, headers=key_of(index))
            answered[index] = (response.status_code, response.json()["id"])

    def send_until_cut_off():
        with (
            httpx.Client(base_url=deployment.client.base_url, timeout=90) as client,
            contextlib.suppress(httpx.TransportError),
        ):
            send(client)

    senders = [threading.Thread(target=send_until_cut_off) for _ in range(4)]
    for sender in senders:
        sender.start()
    until(lambda: len(answered) >= kill_after)
    deployment.server.kill()
    for sender in senders:
        sender.join()
    deployment.server.wait()
    return answered


def run_of(name):
    share = 1 / 17
    return {
        "external_id": f"run-{name}",
        "fidelity": "1m",
        "weights": {f"d{i}": share for i in range(17)},
        "metrics": {f"m{i}": 3.0 for i in range(13)},
    }


def key_of(index):
    return {"Idempotency-Key": str(uuid.uuid5(uuid.NAMESPACE_OID, str(index)))}


def model_of(sessions, fit_id):
    with sessions() as session:
        return session.scalar(select(FitRow.model).where(FitRow.id == fit_id))
