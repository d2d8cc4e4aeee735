import time
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from small_study import SMALL_RUN, SMALL_STUDY
from sqlalchemy import select

from app.db.models import TokenRow


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def make(client, scopes, headers=None, **more):
    response = client.post(
        "/v1/tokens", json={"name": "t", "scopes": scopes, **more}, headers=headers or {}
    )
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
def admin(client):
    return make(client, ["admin"])["token"]


def test_only_the_hash_of_a_secret_is_stored(client, sessions, admin):
    secret = admin.split("_")[2]
    with sessions() as session:
        row = session.scalars(select(TokenRow)).one()
    assert secret not in str(vars(row))
    assert len(row.secret_sha256) == 64


def test_without_any_token_this_machine_needs_none(client):
    assert client.get("/v1/studies").status_code == 200


@pytest.mark.parametrize(
    ("peer", "url"),
    [("203.0.113.9", "http://127.0.0.1"), ("127.0.0.1", "http://rebound.example")],
)
def test_without_any_token_other_machines_are_refused(app, peer, url):
    with TestClient(app, base_url=url, client=(peer, 50000)) as outside:
        response = outside.get("/v1/studies")
    assert response.status_code == 403
    assert "mixwright token create" in response.json()["detail"]


def test_with_a_token_made_everyone_needs_one(client, admin):
    response = client.get("/v1/studies")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/studies", headers=bearer(admin)).status_code == 200


@pytest.mark.parametrize("token", ["nonsense", "mw_abc_0123456789abcdef0123", "mw__"])
def test_a_token_that_was_never_made_is_401(client, admin, token):
    assert client.get("/v1/studies", headers=bearer(token)).status_code == 401


def test_the_right_id_with_a_wrong_secret_is_401(client, admin):
    wrong = admin[:-4] + ("0000" if admin[-4:] != "0000" else "1111")
    assert client.get("/v1/studies", headers=bearer(wrong)).status_code == 401


def test_a_revoked_token_is_401(client, admin):
    token = make(client, ["read"], bearer(admin))
    assert client.get("/v1/studies", headers=bearer(token["token"])).status_code == 200
    client.post(f"/v1/tokens/{token['id']}/revoke", headers=bearer(admin))
    response = client.get("/v1/studies", headers=bearer(token["token"]))
    assert response.status_code == 401
    assert "revoked" in response.json()["detail"]


def test_a_token_that_another_process_revokes_is_401_within_moments(client, sessions, admin):
    token = make(client, ["read"], bearer(admin))
    headers = bearer(token["token"])
    for _ in range(2):  # the second answer is remembered
        assert client.get("/v1/studies", headers=headers).status_code == 200
    with sessions() as session, session.begin():
        session.get_one(TokenRow, token["id"]).revoked_at = datetime.now(UTC)
    end = time.monotonic() + 30
    while client.get("/v1/studies", headers=headers).status_code != 401:
        assert time.monotonic() < end


def test_an_expired_token_is_401(client, sessions, admin):
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    token = make(client, ["read"], bearer(admin), expires_at=soon)
    with sessions() as session, session.begin():
        row = session.get_one(TokenRow, token["id"])
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    response = client.get("/v1/studies", headers=bearer(token["token"]))
    assert response.status_code == 401
    assert "expired" in response.json()["detail"]


def test_an_expiry_in_the_past_is_refused(client):
    body = {"name": "t", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}
    response = client.post("/v1/tokens", json=body)
    assert response.json()["errors"][0]["pointer"] == "/expires_at"


@pytest.mark.parametrize(
    ("scope", "read", "write", "tokens"),
    [
        ("read", 200, 403, 403),
        ("write", 200, 201, 403),
        ("train", 200, 403, 403),
        ("admin", 200, 201, 200),
    ],
)
def test_scopes(client, admin, scope, read, write, tokens):
    headers = bearer(make(client, [scope], bearer(admin))["token"])
    assert client.get("/v1/studies", headers=headers).status_code == read
    assert client.post("/v1/studies", json=SMALL_STUDY, headers=headers).status_code == write
    assert client.get("/v1/tokens", headers=headers).status_code == tokens


def test_a_bound_token_sees_its_study_only(client, admin):
    ids = [
        client.post(
            "/v1/studies", json={**SMALL_STUDY, "name": name}, headers=bearer(admin)
        ).json()["id"]
        for name in ("mine", "yours")
    ]
    runs = [
        client.post(f"/v1/studies/{i}/runs", json=SMALL_RUN, headers=bearer(admin)).json()["id"]
        for i in ids
    ]
    bound = bearer(make(client, ["write"], bearer(admin), study="mine")["token"])
    assert client.get(f"/v1/studies/{ids[0]}", headers=bound).status_code == 200
    assert client.get(f"/v1/studies/{ids[1]}", headers=bound).status_code == 403
    assert client.get(f"/v1/runs/{runs[1]}", headers=bound).status_code == 403
    assert [s["name"] for s in client.get("/v1/studies", headers=bound).json()["items"]] == ["mine"]
    assert client.post("/v1/studies", json=SMALL_STUDY, headers=bound).status_code == 403


def test_a_bound_admin_cannot_make_tokens(client, admin, study_of_admin):
    bound = bearer(make(client, ["admin"], bearer(admin), study=study_of_admin)["token"])
    response = client.post("/v1/tokens", json={"name": "t", "scopes": ["admin"]}, headers=bound)
    assert response.status_code == 403


@pytest.fixture
def study_of_admin(client, admin):
    return client.post("/v1/studies", json=SMALL_STUDY, headers=bearer(admin)).json()["id"]


def test_last_use_is_noted(client, admin):
    tokens = client.get("/v1/tokens", headers=bearer(admin)).json()["items"]
    assert tokens[0]["last_used_at"] is not None
    assert "token" not in tokens[0]
    assert "secret_sha256" not in tokens[0]
