"""Trainings over HTTP: what is promised to trainers, on both databases."""

import html
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import httpx
import numpy as np
import pytest
from small_study import SMALL_STUDY
from sqlalchemy import event, select, text

from app.db.engine import make_engine, make_sessions
from app.db.session import reading
from app.db.training_models import TrainingEventRow, TrainingRow
from app.main import create_app
from app.trainings import service
from mixwright.reweighting.canonical import canonical
from mixwright.reweighting.ledger import (
    Approve,
    Observe,
    Remap,
    Resume,
    Rollback,
    standing_document,
    standing_from,
)
from mixwright.reweighting.training import fold

TRAINING = {
    "name": "7b-main",
    "domains": ["a", "b"],
    "algorithm": "doremi",
    "options": {"floor": 0.0},
}
KINDS = {"observe": Observe, "resume": Resume, "rollback": Rollback, "approve": Approve}


@pytest.fixture
def create(client):
    def send(status=201, **more):
        response = client.post("/v1/trainings", json={**TRAINING, **more})
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def training(create):
    return create()["id"]


@pytest.fixture
def post(client, training):
    def send(what, status=200, to=training, **body):
        response = client.post(f"/v1/trainings/{to}/{what}", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def observe(post):
    def send(step, a, b, status=200, **more):
        excess = {"a": a, "b": b}
        return post("observations", status, step=step, excess_losses=excess, **more)

    return send


@pytest.fixture
def get(client, training):
    def send(what="", to=training, status=200, **parameters):
        response = client.get(f"/v1/trainings/{to}{what}", params=parameters)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def ledger(get):
    return lambda **more: [
        (entry["version"], entry["effective_step"], entry["state"])
        for entry in get("/ledger", **more)["items"]
    ]


def pointers(answer):
    return [error["pointer"] for error in answer["errors"]]


def triple(answer):
    return {name: answer[name] for name in ("version", "effective_step", "weights")}


# Registering


def test_a_training_begins_with_version_0_and_says_what_to_send(create, get):
    made = create(seed=3)
    assert triple(made) == {"version": 0, "effective_step": 0, "weights": {"a": 0.5, "b": 0.5}}
    assert made["id"].startswith("trn_")
    assert made["requires"]["fields"] == ["excess_losses"]
    assert get(to=made["id"])["seed"] == 3
    entry = get("/ledger", to=made["id"])["items"][0]
    assert triple(entry) == triple(made)


def test_it_begins_with_the_weights_that_are_given(create):
    made = create(initial_weights={"b": 0.2, "a": 0.8}, options={})
    assert made["weights"] == {"a": 0.8, "b": 0.2}


def test_it_takes_domains_and_prior_from_its_study(create, study):
    made = create(study="small", domains=None)
    assert made["study_id"] == study
    assert made["weights"] == pytest.approx({"web": 0.6, "code": 0.3, "math": 0.1})
    part = create(study="small", domains=["math", "web"])
    assert part["weights"] == pytest.approx({"math": 1 / 7, "web": 6 / 7})
    assert pointers(create(422, study="small", domains=["math", "x"])) == ["/domains/1"]
    create(404, study="nonesuch")


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"domains": []}, "/domains"),
        ({"domains": ["a", "a"]}, "/domains"),
        ({"domains": None}, "/domains"),
        ({"algorithm": "nonesuch"}, "/algorithm"),
        ({"options": {"nonesuch": 1}}, "/options/nonesuch"),
        ({"options": {"floor": 2.0}}, "/options/floor"),
        ({"options": {"pinned": {"x": 0.0}}}, "/options/pinned"),
        ({"initial_weights": {"a": 1.0}}, "/initial_weights/b"),
        ({"initial_weights": {"a": 1.0, "b": 0.0, "x": 0.0}}, "/initial_weights/x"),
        ({"initial_weights": {"a": 0.2, "b": 0.2}}, "/initial_weights"),
        ({"initial_weights": {"a": -0.2, "b": 1.2}}, "/initial_weights/a"),
        ({"lead_steps": -1}, "/lead_steps"),
        ({"policy": "perhaps"}, "/policy"),
        ({"nonesuch": 1}, "/nonesuch"),
        ({"name": ""}, "/name"),
    ],
)
def test_what_is_wrong_with_a_training_is_named(create, wrong, at):
    assert at in pointers(create(422, **wrong))


def test_an_idempotency_key_makes_one_training(client):
    answers = [
        client.post("/v1/trainings", json=TRAINING, headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/trainings").json()["items"]) == 1


def test_trainings_are_listed_by_name_and_study(client, create, study):
    first, second = create(name="one"), create(name="two", study="small", domains=["web", "code"])
    listed = client.get("/v1/trainings", params={"limit": 1}).json()
    assert [one["id"] for one in listed["items"]] == [first["id"]]
    more = client.get("/v1/trainings", params={"cursor": listed["next_cursor"]}).json()
    assert [one["id"] for one in more["items"]] == [second["id"]]
    for parameters in ({"name": "two"}, {"study": "small"}, {"study": study}):
        found = client.get("/v1/trainings", params=parameters).json()["items"]
        assert [one["id"] for one in found] == [second["id"]]


# Observations


def test_an_observation_gives_new_weights(observe, get):
    found = observe(500, 0.5, 0.1)
    assert (found["version"], found["effective_step"]) == (1, 500)
    assert (found["applied"], found["reason"]) == (True, None)
    raised = np.exp([0.5, 0.1]) / np.exp([0.5, 0.1]).sum()
    expected = (1 - 1e-3) * raised + 1e-3 / 2
    assert list(found["weights"].values()) == pytest.approx(expected.tolist(), abs=1e-12)
    assert sum(found["weights"].values()) == pytest.approx(1.0, abs=1e-9)
    assert get("/weights") == triple(found)


def test_weights_take_effect_no_sooner_than_the_lead(create, post):
    training = create(lead_steps=64)["id"]
    found = post("observations", to=training, step=500, excess_losses={"a": 1.0, "b": 0.0})
    assert found["effective_step"] == 564


def test_the_same_again_is_given_the_same_answer(observe, ledger, get):
    first = observe(500, 0.5, 0.1)
    observe(600, 0.0, 0.3)
    before = ledger()
    assert observe(500, 0.5, 0.1) == first
    assert ledger() == before
    assert len(get("/events")["items"]) == 3


def test_other_content_for_a_step_is_a_conflict(observe, ledger, get):
    observe(500, 0.5, 0.1)
    before = ledger()
    assert pointers(observe(500, 0.5, 0.2, 409)) == ["/step"]
    observe(500, 0.5, 0.1, 409, learning_rate=0.1)
    assert ledger() == before
    assert get()["refused"] == 0


def test_a_step_before_the_last_is_kept_and_not_applied(observe, get, post):
    newest = observe(500, 0.5, 0.1)
    late = observe(400, 0.9, 0.1)
    assert late["applied"] is False
    assert "before 500" in late["reason"]
    assert triple(late) == triple(newest)
    assert observe(400, 0.9, 0.1) == late
    observe(400, 0.0, 0.1, 409)
    assert get("/events")["items"][-1]["content"]["step"] == 400


def test_null_is_a_domain_that_was_not_seen(observe):
    observe(1, 0.5, 0.1)
    assert observe(2, None, 0.3)["applied"] is True


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"step": 1}, "/excess_losses"),
        ({"step": 1, "excess_losses": {}}, "/excess_losses"),
        ({"step": 1, "losses": {"a": 1.0, "b": 1.0}}, "/excess_losses"),
        ({"step": 1, "excess_losses": {"a": None, "b": None}}, "/excess_losses"),
        ({"step": 1, "excess_losses": {"a": float("nan"), "b": 1.0}}, "/excess_losses/a"),
        ({"step": 1, "excess_losses": {"a": 1.0, "b": float("inf")}}, "/excess_losses/b"),
        ({"step": 1, "excess_losses": {"a": 1e300, "b": 1.0}}, "/excess_losses/a"),
        ({"step": 1, "excess_losses": {"a": 1.0, "x": 1.0}}, "/excess_losses/x"),
        ({"step": 1, "gram": {"rows": ["a"], "columns": ["a"], "values": []}}, "/gram/values"),
        (
            {"step": 1, "excess_losses": {"a": 1.0, "b": 1.0}, "weights_version": 9},
            "/weights_version",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_and_counted(client, training, get, body, at):
    before = get("/weights")
    response = client.post(
        f"/v1/trainings/{training}/observations",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert pointers(response.json())[0] == at
    assert get()["refused"] == 1
    assert get("/weights") == before
    assert len(get("/events")["items"]) == 1


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"excess_losses": {"a": 1.0, "b": 1.0}}, "/step"),
        ({"step": -1}, "/step"),
        ({"step": 1.5}, "/step"),
        ({"step": "1"}, "/step"),
        ({"step": 1, "excess_losses": {"a": "1", "b": 1.0}}, "/excess_losses/a"),
        ({"step": 1, "nonesuch": 1}, "/nonesuch"),
    ],
)
def test_what_is_no_observation_is_refused(post, body, at):
    assert at in pointers(post("observations", 422, **body))


def test_a_refused_step_may_be_told_again(observe):
    observe(10, None, None, 422)
    assert observe(10, 0.5, 0.1)["version"] == 1


def test_a_matrix_and_blocks_are_taken_in(create, post):
    training = create(algorithm="static")["id"]
    gram = {"rows": ["a", "b"], "columns": ["b", "a"], "values": [[1.0, None], [2.0, 3.0]]}
    found = post(
        "observations",
        to=training,
        step=1,
        gram=gram,
        block_losses={"ids": [3, 4], "losses": [1.0, None]},
        scores={"hellaswag": 0.4},
        learning_rate=1e-3,
        batch_size=64,
        weights_version=0,
    )
    assert found["applied"] is True


def test_a_training_that_is_not_there_is_404(client):
    for what in ("", "/weights", "/ledger", "/events"):
        assert client.get(f"/v1/trainings/trn_0{what}").status_code == 404
    body = {"step": 1}
    assert client.post("/v1/trainings/trn_0/observations", json=body).status_code == 404


def test_two_trainers_with_one_training_agree_on_what_is_the_same(client, training, ledger):
    """Each step is told by two at once; where they differ, one of them is told so."""

    def tell(step_and_trainer):
        step, trainer = step_and_trainer
        value = 0.5 if step % 3 else 0.1 * trainer
        body = {"step": step, "excess_losses": {"a": value, "b": 0.2}}
        return step, client.post(f"/v1/trainings/{training}/observations", json=body)

    with ThreadPoolExecutor(4) as pool:
        found = []
        for step in range(1, 13):
            found += pool.map(tell, [(step, 1), (step, 2)])
    for step in range(1, 13):
        answers = [answer for told, answer in found if told == step]
        assert sorted(answer.status_code for answer in answers) == (
            [200, 200] if step % 3 else [200, 409]
        )
        if step % 3:
            assert answers[0].json() == answers[1].json()
    assert [version for version, _, _ in ledger()] == list(range(13))


# Reading


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


# Resuming, rolling back, approving, acknowledging


def test_a_resumed_training_goes_on_as_if_nothing_had_come_after(create, post, get, ledger):
    def tell(training, step, a):
        body = {"step": step, "excess_losses": {"a": a, "b": 0.1}}
        return post("observations", to=training, **body)

    undisturbed, crashed = create()["id"], create()["id"]
    for training in (undisturbed, crashed):
        for step in (100, 200):
            tell(training, step, 0.003 * step)
    for step in (300, 400):
        tell(crashed, step, 5.0)
    found = post("resume", to=crashed, step=250, version=2)
    assert found["version"] == 2
    assert ledger(to=crashed)[2:] == [
        (2, 200, "published"), (3, 300, "void"), (4, 400, "void"),
    ]  # fmt: skip
    assert get("/weights", to=crashed)["version"] == 2
    for step in (300, 400):
        one, other = tell(undisturbed, step, 0.7), tell(crashed, step, 0.7)
        assert other["weights"] == one["weights"]
        assert (one["version"], other["version"]) == (step // 100, step // 100 + 2)


def test_resuming_twice_because_the_answer_was_lost_changes_nothing(observe, post, ledger):
    observe(100, 0.5, 0.1)
    observe(200, 0.5, 0.1)
    first = post("resume", step=150, version=0)  # it does not know version 1
    assert first["version"] == 3
    before = ledger()
    assert post("resume", step=150, version=0) == first
    assert ledger() == before


def test_resuming_before_the_first_observation(observe, post, get):
    post("resume", step=0, version=0)
    observe(100, 0.5, 0.1)
    found = post("resume", step=0, version=0)
    assert (found["version"], found["weights"]) == (0, {"a": 0.5, "b": 0.5})
    assert get()["position"] == 0
    assert observe(100, 0.1, 0.5)["version"] == 2


def test_a_step_before_the_resumed_one_is_still_known(observe, post):
    first = observe(100, 0.5, 0.1)
    observe(200, 0.5, 0.1)
    post("resume", step=150, version=1)
    assert observe(100, 0.5, 0.1) == first
    observe(100, 0.5, 0.2, 409)


def test_a_version_that_cannot_be_resumed_from(observe, post):
    observe(100, 0.5, 0.1)
    assert pointers(post("resume", 422, step=100, version=7)) == ["/version"]
    post("resume", step=0, version=0)
    post("resume", 409, step=100, version=1)


def test_rolling_back_publishes_old_weights_once_more(observe, post, get):
    old = observe(100, 0.5, 0.1)
    observe(200, 0.9, 0.1)
    found = post("rollback", version=1)
    assert (found["version"], found["effective_step"]) == (3, 200)
    assert found["weights"] == old["weights"]
    assert post("rollback", version=1) == found
    assert get("/weights") == triple(found)
    assert pointers(post("rollback", 422, version=9)) == ["/version"]


def test_proposals_are_served_once_they_are_approved(create, post, get, client):
    training = create(policy="approve")["id"]
    for step, version in ((100, 1), (200, 2)):
        body = {"step": step, "excess_losses": {"a": 0.5, "b": 0.1}}
        found = post("observations", to=training, **body)
        assert (found["version"], found["applied"]) == (0, True)
        assert found["proposal"]["version"] == version
        assert "approval" in found["reason"]
    assert get("/weights", to=training)["version"] == 0
    found = post("versions/2/approve", to=training)
    entries = get("/ledger", to=training)["items"]
    assert [entry["state"] for entry in entries] == ["published", "proposed", "published"]
    assert triple(entries[2]) == triple(found)
    assert get("/weights", to=training)["version"] == 2
    assert post("versions/2/approve", to=training)["version"] == 2
    post("versions/1/approve", 409, to=training)
    post("versions/9/approve", 404, to=training)
    post("acks", 422, to=training, version=1, applied_step=1)


def test_what_was_really_applied_is_in_the_ledger(observe, post, get):
    observe(100, 0.5, 0.1)
    for _ in range(2):
        found = post("acks", version=1, applied_step=124)
        assert found == {"version": 1, "applied_step": 124}
    assert [one["applied_step"] for one in get("/ledger")["items"]] == [None, 124]
    post("acks", version=1, applied_step=130)
    assert get("/ledger")["items"][1]["applied_step"] == 130
    assert pointers(post("acks", 422, version=7, applied_step=1)) == ["/version"]


# Domains


def test_domains_change_by_an_explicit_map(observe, post, get):
    observe(100, 0.5, 0.1)
    found = post("domains", domains=["b", "c", "z"], origin={"z": "a"})
    assert found["version"] == 2
    assert list(found["weights"]) == ["b", "c", "z"]
    assert found["weights"]["c"] == pytest.approx(1 / 3)
    old = observe(100, 0.5, 0.1)["weights"]
    assert found["weights"]["z"] / found["weights"]["b"] == pytest.approx(old["a"] / old["b"])
    assert get()["domains"] == ["b", "c", "z"]
    answer = observe(200, 0.5, 0.1, 422)
    assert pointers(answer) == ["/excess_losses/a"]
    excess = {"b": 0.1, "c": 0.2, "z": 0.3}
    assert post("observations", step=200, excess_losses=excess)["version"] == 3
    post("rollback", 409, version=1)
    post("resume", step=150, version=2)
    assert get("/weights")["version"] == 2


def test_options_by_domain_change_with_the_domains(create, post, get, client):
    targets = {"target_losses": {"a": 2.0, "b": 2.0}, "floor": 0.0}
    to = create(algorithm="shearing", options=targets)["id"]
    observe = partial(post, "observations", to=to)
    before = observe(step=1, losses={"a": 3.0, "b": 2.0})
    body = {"domains": ["a", "c"], "origin": {"c": "b"}}
    wrong = post("domains", 422, to=to, **body)
    assert pointers(wrong) == ["/options/target_losses"]
    for options, at in (
        ({"target_losses": {"a": 2.0}}, "/options/target_losses"),
        ({"targets": 1}, "/options/targets"),
        ({"pinned": {"b": 0.0}, "target_losses": {"a": 2.0}}, "/options/pinned"),
    ):
        assert pointers(post("domains", 422, to=to, **body, options=options)) == [at]
    new = {"target_losses": {"a": 3.0, "c": 2.0}}
    changed = post("domains", to=to, **body, options=new)
    assert post("domains", to=to, **body, options=new) == changed
    assert get(to=to)["options"] == {**targets, **new}
    after = observe(step=2, losses={"a": 3.0, "c": 2.0})
    assert after["diagnostics"]["above_target"] == {"a": 0.0, "c": 0.0}
    post("resume", to=to, step=0, version=0)
    assert get(to=to)["options"] == targets
    assert observe(step=2, losses={"a": 3.0, "b": 2.0})["applied"]
    assert before["diagnostics"]["above_target"] == {"a": 1.0, "b": 0.0}


def test_new_domains_may_begin_with_given_weights(post):
    found = post("domains", domains=["a", "c"], weights={"a": 0.25, "c": 0.75})
    assert found["weights"] == {"a": 0.25, "c": 0.75}


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"domains": []}, "/domains"),
        ({"domains": ["a", "c"], "origin": {"x": "a"}}, "/origin"),
        ({"domains": ["a", "c"], "origin": {"c": "x"}}, "/origin"),
        ({"domains": ["a", "c"], "weights": {"a": 1.0}}, "/weights/c"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(post, get, body, at):
    assert at in pointers(post("domains", 422, **body))
    assert get("/weights")["version"] == 0


# Guards


def test_guards_stand_between_the_algorithm_and_what_is_served(create, post):
    options = {"step_size": 50.0, "floor": 0.02, "max_step": 0.1, "warmup_steps": 100}
    training = create(options=options)["id"]

    def tell(step):
        body = {"step": step, "excess_losses": {"a": 1.0, "b": 0.0}}
        return post("observations", to=training, **body)

    early = tell(50)
    assert (early["applied"], early["version"]) == (False, 0)
    assert "step 100" in early["reason"]
    served = [tell(100 + step)["weights"]["a"] for step in range(7)]
    assert served == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.99, 0.99, 0.99], abs=1e-3)
    assert "'a'" in tell(200)["warnings"][0]


def test_a_pinned_domain_keeps_its_exact_share(create, post):
    training = create(domains=["a", "b", "c"], options={"pinned": {"c": 0.0}})["id"]
    body = {"step": 1, "excess_losses": {"a": 1.0, "b": 0.0, "c": 5.0}}
    found = post("observations", to=training, **body)
    assert found["weights"]["c"] == 0.0
    assert found["weights"]["b"] > 0


# The log


def test_the_state_is_the_fold_of_the_log_bit_by_bit(observe, post, sessions, training):
    for step in range(1, 8):
        observe(step, 0.1 * step, None if step == 3 else 0.2)
    observe(2, 0.9, 0.9, 409)
    post("rollback", version=2)
    post("resume", step=5, version=5)
    observe(6, 0.3, 0.1)
    post("domains", domains=["a", "c"], origin={"c": "b"})
    post("observations", step=9, excess_losses={"a": 1.0, "c": 0.5})
    post("domains", domains=["a", "d"], options={"step_size": 0.5})
    post("observations", step=10, excess_losses={"a": 1.0, "d": 0.5})
    with reading(sessions) as session:
        row = session.get_one(TrainingRow, training)
        rules = service._rules(row)
        rows = session.scalars(select(TrainingEventRow).order_by(TrainingEventRow.number)).all()
        stored = [one.standing for one in rows]
        events = [as_event(one) for one in rows[1:]]
        versions = (row.version, row.weights)
    begun = standing_from(json.loads(stored[0]))
    for count in range(len(stored)):
        folded, ledger = fold(rules, begun, events[:count])
        assert canonical(standing_document(folded)) == stored[count]
    assert (folded.served.version, folded.served.named()) == versions
    assert len(ledger) == folded.last_version + 1


def as_event(row):
    if row.kind == "observe":
        return Observe(row.content)
    if row.kind == "remap":
        return Remap(**{**row.content, "domains": tuple(row.content["domains"])})
    return KINDS[row.kind](**row.content)


def test_a_server_that_dies_before_it_answers_gives_the_same_version_later(
    sessions, training, observe, ledger
):
    """Killed before the commit nothing was stored; killed after it the answer was."""
    from app.auth.access import ANONYMOUS
    from app.db.session import writing
    from app.trainings.schemas import ObservationCreate

    asked = ObservationCreate(step=5, excess_losses={"a": 0.5, "b": 0.1})

    lost = []

    def be_killed():
        with writing(sessions, lambda *_: None) as session:
            lost.append(service.observe(session, ANONYMOUS, training, asked))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_killed()
    assert ledger() == [(0, 0, "published")]
    with writing(sessions, lambda *_: None) as session:
        committed = service.observe(session, ANONYMOUS, training, asked)
    assert committed == lost[0]
    assert observe(5, 0.5, 0.1) == committed.model_dump()
    assert len(ledger()) == 2


def test_duplicates_and_replays_over_many_observations_leave_the_undisturbed_ledger(
    create, post, get
):
    rng = np.random.default_rng(0)
    told = [
        {"step": step, "excess_losses": {"a": float(a), "b": float(b)}}
        for step, (a, b) in enumerate(rng.uniform(0, 1, (150, 2)))
    ]
    quiet, noisy = create()["id"], create()["id"]
    for index, body in enumerate(told):
        expected = post("observations", to=quiet, **body)
        assert post("observations", to=noisy, **body) == expected
        again = told[rng.integers(max(0, index - 20), index + 1)]
        post("observations", to=noisy, **again)
    ledgers = [get("/ledger", to=one, limit=1000)["items"] for one in (quiet, noisy)]
    assert [triple(one) for one in ledgers[0]] == [triple(one) for one in ledgers[1]]
    assert len(ledgers[0]) == 151


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lost_late_and_repeated_messages_leave_the_undisturbed_ledger(create, post, get, sessions):
    """Of 2,000 observations each tenth answer is lost and each tenth message comes late again."""
    rng, count = np.random.default_rng(1), 2000
    told = [
        {"step": step, "excess_losses": {"a": float(a), "b": float(b)}}
        for step, (a, b) in enumerate(rng.uniform(0, 1, (count, 2)))
    ]
    training, late = create()["id"], []
    for body in told:
        first = post("observations", to=training, **body)
        if rng.random() < 0.1:  # the answer was lost
            assert post("observations", to=training, **body) == first
        if rng.random() < 0.1:  # a copy is still under way
            late.append((body, first))
        if late and rng.random() < 0.1:
            body, first = late.pop(rng.integers(len(late)))
            assert post("observations", to=training, **body) == first
    with reading(sessions) as session:
        begun = standing_from(
            json.loads(session.scalars(select(TrainingEventRow.standing)).first())
        )
        row = session.get_one(TrainingRow, training)
        rules, versions = service._rules(row), row.version
    _, expected = fold(rules, begun, [Observe(body) for body in told])
    found = every_version(get, training)
    assert [tuple(triple(one).values()) for one in found] == [
        (one.version, one.effective_step, one.named()) for one in expected
    ]
    assert len(found) == versions + 1 == count + 1


def every_version(get, training):
    items, cursor = [], {}
    while cursor is not None:
        page = get("/ledger", to=training, limit=1000, **cursor)
        items += page["items"]
        cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
    return items


# Who may


def test_scopes(client, create, training):
    made = client.post("/v1/tokens", json={"name": "t", "scopes": ["admin"]}).json()["token"]

    def status(scopes, method, path, body=None, **more):
        admin = {"Authorization": f"Bearer {made}"}
        token = client.post(
            "/v1/tokens", json={"name": "t", "scopes": scopes, **more}, headers=admin
        ).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        return client.request(method, path, json=body, headers=headers).status_code

    told = {"step": 1, "excess_losses": {"a": 1.0, "b": 0.0}}
    of = f"/v1/trainings/{training}"
    assert status(["read"], "GET", f"{of}/weights") == 200
    assert status(["read"], "POST", f"{of}/observations", told) == 403
    assert status(["read"], "POST", "/v1/trainings", TRAINING) == 403
    assert status(["train"], "POST", "/v1/trainings", TRAINING) == 201
    assert status(["train"], "POST", f"{of}/observations", told) == 200
    assert status(["train"], "POST", f"{of}/acks", {"version": 1, "applied_step": 1}) == 200
    assert status(["train"], "POST", f"{of}/resume", {"step": 1, "version": 1}) == 200
    for what, body in (
        ("rollback", {"version": 0}),
        ("versions/1/approve", None),
        ("domains", {"domains": ["a"]}),
    ):
        assert status(["train"], "POST", f"{of}/{what}", body) == 403
    assert status(["write"], "POST", f"{of}/rollback", {"version": 0}) == 200
    assert client.get(f"{of}/weights").status_code == 401


def test_a_bound_token_reaches_the_trainings_of_its_study(client, create):
    for name in ("mine", "yours"):
        client.post("/v1/studies", json={**SMALL_STUDY, "name": name})
    ids = [create(study=name, domains=None)["id"] for name in ("mine", "yours")]
    free = create()["id"]
    body = {"name": "t", "scopes": ["train"], "study": "mine"}
    token = client.post("/v1/tokens", json=body)
    headers = {"Authorization": f"Bearer {token.json()['token']}"}
    statuses = [
        client.get(f"/v1/trainings/{one}/weights", headers=headers).status_code
        for one in (*ids, free)
    ]
    assert statuses == [200, 403, 403]
    assert client.post("/v1/trainings", json=TRAINING, headers=headers).status_code == 403
    listed = client.get("/v1/trainings", headers=headers).json()["items"]
    assert [one["id"] for one in listed] == ids[:1]


# The page


@pytest.fixture
def page(client, training):
    def send(to=training, status=200, **headers):
        response = client.get(f"/v1/trainings/{to}/report", headers=headers)
        assert response.status_code == status, response.text
        return response

    return send


def words(response):
    text = re.sub(r"<(script|style).*?</\1>", "", response.text, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def test_the_page_tells_of_a_training_without_observations(page):
    response = page()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "doremi weighs 2 domains; at step 0 version 0 is in force." in words(response)
    assert "Nothing has been observed yet" in words(response)
    page("trn_nonesuch", 404)


def test_the_page_tells_how_versions_came_and_what_became_of_them(page, observe, post):
    observe(10, 0.1, 0.9)
    observe(20, 0.1, 0.9)
    post("acks", version=1, applied_step=12)
    observe(5, 0.3, 0.3)
    post("resume", step=10, version=1)
    observe(30, 0.9, 0.1)
    post("rollback", version=0)
    told = words(page())
    assert "1 10 12 published observation of step 10" in told
    assert "2 20 – void observation of step 20" in told
    assert "4 30 – published back to version 0" in told
    assert "5 no step 5 is before 20, the last one" in told
    assert "1 observation of steps that a resumption took back is not drawn" in told


def test_the_page_says_what_waits_and_what_was_refused(page, create, post):
    training = create(policy="approve")["id"]
    post("observations", to=training, step=1, excess_losses={"a": 0.1, "b": 0.9})
    post("observations", 422, to=training, step=2, excess_losses={"a": 0.1, "x": 0.9})
    told = words(page(training))
    assert "Version 1 waits for approval; until then the weights stay." in told
    assert "1 observation could not be used and was refused (422)" in told
    post("versions/1/approve", to=training)
    assert "waits for approval" not in words(page(training))


def test_the_page_is_sent_again_only_where_something_is_new(page, observe, post):
    def changed(tag):
        response = page(status=200, **{"If-None-Match": tag})
        assert response.headers["etag"] != tag
        return response.headers["etag"]

    tag = page().headers["etag"]
    page(status=304, **{"If-None-Match": tag})
    observe(10, 0.1, 0.9)
    tag = changed(tag)
    post("observations", 422, step=20, excess_losses={"x": 1.0})
    tag = changed(tag)
    post("acks", version=1, applied_step=12)
    tag = changed(tag)
    page(status=304, **{"If-None-Match": tag})


def test_metrics_count_refused_observations(client, create, post):
    text = 'mixwright_refused_observations_total{algorithm="doremi"}'
    assert f"{text} 0.0" in client.get("/metrics").text
    post("observations", 422, step=20, excess_losses={"x": 1.0})
    post("observations", 422, to=create()["id"], step=20, excess_losses={"x": 1.0})
    assert f"{text} 2.0" in client.get("/metrics").text
