import httpx
import pytest

from mixwright_client.client import Client, ProblemError, UnreachableError


def client_of(handler):
    return Client("http://server", "mw_a_b", transport=httpx.MockTransport(handler))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("mixwright_client.client.time.sleep", lambda seconds: None)


def test_a_write_keeps_its_key_through_retries():
    keys = []

    def handler(request):
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(503 if len(keys) < 3 else 201, json={"id": "x"})

    assert client_of(handler).post("/v1/studies", {}) == {"id": "x"}
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_writes_have_two_keys():
    keys = set()

    def handler(request):
        keys.add(request.headers["idempotency-key"])
        return httpx.Response(201, json={})

    client = client_of(handler)
    client.post("/v1/studies", {})
    client.post("/v1/studies", {})
    assert len(keys) == 2


def test_a_problem_is_not_retried_and_names_every_field():
    calls = []

    def handler(request):
        calls.append(request)
        errors = [{"pointer": "/a", "detail": "wrong"}, {"pointer": "/b", "detail": "too"}]
        body = {"detail": "not valid", "status": 422, "errors": errors}
        return httpx.Response(422, json=body, headers={"content-type": "application/problem+json"})

    with pytest.raises(ProblemError, match=r"(?s)not valid.*/a: wrong.*/b: too"):
        client_of(handler).post("/v1/studies", {})
    assert len(calls) == 1


def test_a_server_that_is_away_says_what_to_do():
    def handler(request):
        raise httpx.ConnectError("refused")

    with pytest.raises(UnreachableError, match="mixwright serve"):
        client_of(handler).get("/v1/studies")


def test_waiting_reports_progress_and_raises_for_failed_work():
    states = iter(
        [
            {"state": "queued", "progress": 0.0},
            {"state": "running", "progress": 0.5},
            {"state": "failed", "progress": 0.5, "error": {"detail": "needs 18 runs"}},
        ]
    )
    seen = []
    client = client_of(lambda request: httpx.Response(200, json=next(states)))
    with pytest.raises(ProblemError, match="needs 18 runs"):
        client.wait("/v1/fits/fit_1", seen.append)
    assert seen == [0.0, 0.5, 1.0]


def test_pages_are_followed_to_the_end():
    def handler(request):
        cursor = request.url.params.get("cursor")
        after = {None: "a", "a": "b", "b": None}[cursor]
        return httpx.Response(200, json={"items": [cursor], "next_cursor": after})

    assert list(client_of(handler).pages("/v1/studies")) == [None, "a", "b"]
