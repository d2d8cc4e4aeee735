import threading

import pytest
from small_study import SMALL_STUDY

KEY = {"Idempotency-Key": "k1"}


def test_a_replay_gives_the_first_answer(client):
    first = client.post("/v1/studies", json=SMALL_STUDY, headers=KEY)
    again = client.post("/v1/studies", json=SMALL_STUDY, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


def test_another_body_under_the_key_is_422(client):
    client.post("/v1/studies", json=SMALL_STUDY, headers=KEY)
    response = client.post("/v1/studies", json={**SMALL_STUDY, "name": "b"}, headers=KEY)
    assert response.status_code == 422
    assert "k1" in response.json()["detail"]


def test_a_refused_request_does_not_use_up_the_key(client):
    bad = client.post("/v1/studies", json={**SMALL_STUDY, "domains": []}, headers=KEY)
    infeasible = {
        **SMALL_STUDY,
        "constraints": {"linear": [{"coefficients": {"web": 1.0}, "lower": 2.0}]},
    }
    refused = client.post("/v1/studies", json=infeasible, headers=KEY)
    good = client.post("/v1/studies", json=SMALL_STUDY, headers=KEY)
    assert (bad.status_code, refused.status_code, good.status_code) == (422, 422, 201)


def test_eight_at_once_create_one_study(client):
    answers = []

    def send():
        answers.append(client.post("/v1/studies", json=SMALL_STUDY, headers=KEY))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert len(client.get("/v1/studies").json()["items"]) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.headers["retry-after"] == "1"


@pytest.mark.postgres
def test_while_the_first_is_under_way_the_second_is_409(client, sessions):
    if sessions.kw["bind"].dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: the second waits for the first and is replayed")
    from app.idempotency import _lock_key

    with sessions() as first, first.begin():
        _lock_key(first, "anonymous", "k1")
        response = client.post("/v1/studies", json=SMALL_STUDY, headers=KEY)
    assert response.status_code == 409
    assert response.headers["retry-after"] == "1"
