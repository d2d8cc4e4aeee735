import pytest


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nowhere", 404), ("PUT", "/v1/studies", 405), ("GET", "/v1/runs/x", 404)],
)
def test_every_error_is_a_problem(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:mixwright:problem:")
    assert {"title", "detail", "errors"} <= body.keys()


def test_a_database_that_is_gone_is_503(client, sessions, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def gone(*_args, **_more):
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    monkeypatch.setattr(type(sessions.kw["bind"]), "connect", gone)
    response = client.get("/v1/studies")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.headers["content-type"] == "application/problem+json"


def test_every_answer_carries_a_request_id(client):
    first, second = client.get("/healthz"), client.get("/v1/nowhere")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
