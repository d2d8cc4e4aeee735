"""How weights are asked for and waited for, on both databases."""

import threading
import time

import anyio
import httpx
import pytest
from sqlalchemy import event, text

from app.db.engine import make_engine, make_sessions
from app.db.session import reading
from app.main import create_app
from app.trainings import service


def test_weights_that_are_known_are_304_without_the_algorithm(
    client, training, observe, monkeypatch
):
    first = client.get(f"/v1/trainings/{training}/weights")
    headers = {"If-None-Match": first.headers["etag"]}

    def fail(*_, **__):
        raise AssertionError("a poll touched the algorithm")

    with monkeypatch.context() as patch:
        patch.setattr(service, "build_guarded", fail)
        again = client.get(f"/v1/trainings/{training}/weights", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    observe(1, 0.5, 0.1)
    changed = client.get(f"/v1/trainings/{training}/weights", headers=headers)
    assert changed.status_code == 200
    assert changed.json()["version"] == 1


def test_an_idle_poll_asks_no_database(client, training, sessions, monkeypatch):
    monkeypatch.setattr("app.trainings.announcements.RECHECK_SECONDS", 60.0)
    admin = client.post("/v1/tokens", json={"name": "t", "scopes": ["admin"]}).json()["token"]
    headers = {"Authorization": f"Bearer {admin}"}
    path = f"/v1/trainings/{training}/weights"
    headers["If-None-Match"] = client.get(path, headers=headers).headers["etag"]
    assert client.get(path, headers=headers).status_code == 304
    asked = []
    event.listen(sessions.kw["bind"], "before_cursor_execute", lambda *told: asked.append(told[2]))
    answers = [client.get(path, headers=headers) for _ in range(3)]
    assert asked == []
    assert [answer.status_code for answer in answers] == [304] * 3


@pytest.mark.parametrize("hears", ["announcement", "re-check", "nothing"])
def test_what_another_process_publishes_is_not_missed_for_long(
    sessions, database_url, training, observe, monkeypatch, hears
):
    """However it hears of it, even if the re-check fails: what is not confirmed is not known."""
    if hears == "announcement":
        if database_url.startswith("sqlite"):
            pytest.skip("SQLite announces nothing to other processes")
        monkeypatch.setattr("app.trainings.known_weights.TRUSTED_SECONDS", 60.0)
    else:
        monkeypatch.setattr("app.trainings.announcements._CHANNEL", "elsewhere")
    if hears != "re-check":
        monkeypatch.setattr("app.trainings.announcements.RECHECK_SECONDS", 60.0)
    engine = make_engine(database_url)
    other = another_process(make_sessions(engine))
    path = f"/v1/trainings/{training}/weights"

    async def poll():
        async with other.router.lifespan_context(other), in_memory(other) as client:
            headers = {"If-None-Match": (await client.get(path)).headers["etag"]}
            await anyio.sleep(0.5)
            assert (await client.get(path, headers=headers)).status_code == 304
            await anyio.to_thread.run_sync(observe, 1, 0.5, 0.1)
            with anyio.fail_after(10):
                while (await client.get(path, headers=headers)).status_code == 304:
                    await anyio.sleep(0.05)
            return (await client.get(path)).json()["version"]

    assert anyio.run(poll) == 1
    engine.dispose()


def test_a_token_of_another_study_is_not_told_what_this_process_knows(client, create, study):
    path = f"/v1/trainings/{create()['id']}/weights"
    tag = {"If-None-Match": client.get(path).headers["etag"]}
    assert client.get(path, headers=tag).status_code == 304
    body = {"name": "t", "scopes": ["read"], "study": study}
    bound = {"Authorization": f"Bearer {client.post('/v1/tokens', json=body).json()['token']}"}
    assert client.get(path, headers={**tag, **bound}).status_code == 403


def test_the_ledger_comes_in_pages(observe, get):
    for step in range(1, 5):
        observe(step, 0.1 * step, 0.0)
    page = get("/ledger", limit=3)
    rest = get("/ledger", cursor=page["next_cursor"])
    versions = [one["version"] for one in [*page["items"], *rest["items"]]]
    assert versions == [0, 1, 2, 3, 4]
    assert rest["next_cursor"] is None


def test_a_poll_that_knows_the_newest_waits_in_vain(client, training):
    began = time.monotonic()
    response = client.get(f"/v1/trainings/{training}/weights", params={"after": 0, "wait": 0.3})
    assert time.monotonic() - began >= 0.3
    assert response.json()["version"] == 0
    headers = {"If-None-Match": response.headers["etag"]}
    parameters = {"after": 0, "wait": 0.1}
    again = client.get(f"/v1/trainings/{training}/weights", params=parameters, headers=headers)
    assert again.status_code == 304


def test_a_poll_is_answered_at_once_where_there_is_something_newer(client, training, observe):
    observe(1, 0.5, 0.1)
    began = time.monotonic()
    found = client.get(f"/v1/trainings/{training}/weights", params={"after": 0, "wait": 60})
    assert found.json()["version"] == 1
    assert time.monotonic() - began < 30  # it has not waited


def test_a_poll_wakes_when_new_weights_come(client, training, observe, monkeypatch):
    monkeypatch.setattr("app.trainings.announcements.RECHECK_SECONDS", 60.0)
    found = []

    def poll():
        parameters = {"after": 0, "wait": 60}
        answer = client.get(f"/v1/trainings/{training}/weights", params=parameters)
        found.append((answer.json()["version"], time.monotonic()))

    poller = threading.Thread(target=poll)
    poller.start()
    time.sleep(0.5)
    observe(1, 0.5, 0.1)
    told = time.monotonic()
    poller.join()
    assert found[0][0] == 1
    assert found[0][1] - told < 30  # it was woken, and has not looked again


def another_process(sessions):
    """The same service on the same database, which hears of the first by the database alone."""
    return create_app(sessions, lambda *_: None, broker_is_ready=lambda: True, max_body_bytes=2**20)


def in_memory(app):
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60)


@pytest.mark.parametrize("hears", ["announcement", "re-check"])
def test_a_poll_wakes_when_another_process_publishes(
    sessions, database_url, training, observe, monkeypatch, hears
):
    if hears == "announcement":
        if database_url.startswith("sqlite"):
            pytest.skip("SQLite announces nothing to other processes")
        monkeypatch.setattr("app.trainings.announcements.RECHECK_SECONDS", 60.0)
    else:
        monkeypatch.setattr("app.trainings.announcements._CHANNEL", "elsewhere")
    engine = make_engine(database_url)
    other = another_process(make_sessions(engine))

    async def poll():
        async with (
            other.router.lifespan_context(other),
            in_memory(other) as client,
            anyio.create_task_group() as tasks,
        ):

            async def publish():
                await anyio.sleep(0.7)
                await anyio.to_thread.run_sync(observe, 1, 0.5, 0.1)

            tasks.start_soon(publish)
            began = time.monotonic()
            parameters = {"after": 0, "wait": 60}
            found = await client.get(f"/v1/trainings/{training}/weights", params=parameters)
            return found.json()["version"], time.monotonic() - began

    version, seconds = anyio.run(poll)
    engine.dispose()
    assert version == 1
    assert seconds < 30


def count_listening(sessions):
    if "postgresql" not in str(sessions.kw["bind"].url):
        return 0
    with reading(sessions) as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return session.scalar(text(f"{query} AND query LIKE 'LISTEN%'"))


def test_one_process_holds_many_polls_without_threads_or_connections(sessions, training, observe):
    app, polls = another_process(sessions), 200
    pool = sessions.kw["bind"].pool

    async def poll_all():
        async with app.router.lifespan_context(app), in_memory(app) as client:
            found, before = [], threading.active_count()

            async def poll():
                parameters = {"after": 0, "wait": 60}
                answer = await client.get(f"/v1/trainings/{training}/weights", params=parameters)
                found.append((answer.json()["version"], time.monotonic()))

            async with anyio.create_task_group() as tasks:
                for _ in range(polls):
                    tasks.start_soon(poll)
                announcements = app.state.announcements
                with anyio.fail_after(30):
                    while len(announcements._waiting.get(training, ())) < polls:
                        await anyio.sleep(0.05)
                await anyio.sleep(0.5)
                in_use = pool.checkedout() if hasattr(pool, "checkedout") else 0
                threads = threading.active_count() - before
                free, listening = app.state.places._value, count_listening(sessions)
                with anyio.fail_after(30):  # others are answered meanwhile
                    await client.get(f"/v1/trainings/{training}")
                await anyio.to_thread.run_sync(observe, 1, 0.5, 0.1)
                told = time.monotonic()
            return found, told, (in_use, free, listening), threads, announcements._waiting

    found, told, held, threads, left = anyio.run(poll_all)
    assert [version for version, _ in found] == [1] * polls
    assert max(at for _, at in found) - told < 30
    assert held == (0, 10, 1 if "postgresql" in str(sessions.kw["bind"].url) else 0)
    assert threads < 60
    assert left == {}
