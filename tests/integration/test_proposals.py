import threading
from datetime import UTC, datetime

import pytest
from small_study import SMALL_RUN, SMALL_STUDY
from sqlalchemy import update

from app.db.models import RunRow, StudyRow
from app.runs import repository
from app.studies.definition import to_core

METRICS = {"loss/web": 3.0, "loss/code": 2.0}


@pytest.fixture
def ask(client, study):
    def send(status=201, **asked):
        response = client.post(f"/v1/studies/{study}/proposals", json=asked)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def tell(client):
    def send(run, what, status=200, token=None, **body):
        token = run["lease"]["token"] if token is None else token
        response = client.post(f"/v1/runs/{run['id']}/{what}", json={"lease_token": token, **body})
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def run_out(sessions):
    """Lets the lease of a run run out."""

    def lapse(run):
        with sessions.begin() as session:
            past = datetime(2020, 1, 1, tzinfo=UTC)
            session.execute(update(RunRow).where(RunRow.id == run["id"]).values(lease_until=past))

    return lapse


def test_a_proposal_is_a_leased_run_inside_the_constraints(ask, client):
    found = ask(count=3, seed=1)
    assert found["shortfall"] is None
    assert [run["state"] for run in found["items"]] == ["leased"] * 3
    for run in found["items"]:
        assert abs(sum(run["weights"].values()) - 1) < 1e-9
        assert run["fidelity"] == "1m"  # the cheapest
        assert run["lease"]["token"] == 1
    assert len({tuple(run["weights"].values()) for run in found["items"]}) == 3
    listed = client.get("/v1/studies/small/runs", params={"state": "leased"}).json()["items"]
    assert [run["id"] for run in listed] == [run["id"] for run in found["items"]]


def test_one_by_one_is_the_same_design_as_all_at_once(ask, client):
    one_by_one = [ask(count=1)["items"][0]["weights"] for _ in range(5)]
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"})
    at_once = client.post("/v1/studies/other/proposals", json={"count": 5}).json()["items"]
    assert [run["weights"] for run in at_once] == one_by_one


def test_a_result_ends_the_run_and_counts_once(ask, tell, client, study):
    run = ask()["items"][0]
    ended = tell(run, "complete", metrics=METRICS, cost=0.002, metadata={"device": "cpu"})
    assert (ended["state"], ended["late"], ended["lease"]) == ("succeeded", False, None)
    assert ended["metrics"] == METRICS
    assert ended["metadata"] == {"device": "cpu"}
    assert tell(run, "complete", metrics=METRICS, cost=0.002, metadata={"device": "cpu"}) == ended
    tell(run, "complete", 409, metrics={"loss/web": 9.0})
    tell(run, "heartbeat", 409)
    assert len(client.get(f"/v1/studies/{study}/runs?state=succeeded").json()["items"]) == 1


def test_fits_use_the_tokens_that_were_drawn(ask, tell, sessions):
    run = ask()["items"][0]
    tell(run, "complete", metrics=METRICS, realised_tokens={"web": 30, "code": 10, "math": 0})
    with sessions() as session:
        row = session.query(StudyRow).one()
        completed = repository.completed(session, row.id, to_core(row.definition))
    assert completed.mixtures.tolist() == [[0.75, 0.25, 0.0]]


def test_wrong_results_are_named_and_the_run_stays_leased(ask, tell, client):
    run = ask()["items"][0]
    problem = tell(
        run, "complete", 422, metrics={"loss/nothing": 1.0}, realised_tokens={"web": 0, "nope": 0}
    )
    pointers = {error["pointer"] for error in problem["errors"]}
    assert {"/metrics/loss~1nothing", "/realised_tokens/nope", "/realised_tokens/code"} <= pointers
    tell(run, "complete", 422, token=2, metrics=METRICS)
    assert client.get(f"/v1/runs/{run['id']}").json()["state"] == "leased"


def test_a_heartbeat_moves_the_expiry(ask, tell):
    run = ask(lease_seconds=5.0)["items"][0]
    assert tell(run, "heartbeat")["expires_at"] >= run["lease"]["expires_at"]


def test_a_silent_holders_run_goes_to_the_next_with_a_higher_token(ask, tell, run_out):
    first = ask()["items"][0]
    run_out(first)
    second = ask()["items"][0]
    assert second["id"] == first["id"]
    assert second["lease"]["token"] == 2
    tell(first, "heartbeat", 409)
    tell(second, "heartbeat")


def test_a_late_result_is_kept_and_the_run_counts_once(ask, tell, run_out, client, study):
    first = ask()["items"][0]
    run_out(first)
    second = ask()["items"][0]
    late = tell(first, "complete", metrics=METRICS)
    assert (late["state"], late["late"]) == ("succeeded", True)
    kept = tell(second, "complete", metrics={"loss/web": 2.5})
    assert kept["metrics"] == METRICS
    answers = client.get(f"/v1/runs/{first['id']}/attempts").json()["items"]
    assert [(one["lease_token"], one["is_result"]) for one in answers] == [(1, True), (2, False)]
    assert answers[1]["answer"]["metrics"] == {"loss/web": 2.5}
    assert len(client.get(f"/v1/studies/{study}/runs?state=succeeded").json()["items"]) == 1


def test_an_expired_lease_that_nobody_took_still_counts_but_is_late(ask, tell, run_out):
    run = ask()["items"][0]
    run_out(run)
    assert tell(run, "complete", metrics=METRICS)["late"]


def test_a_failure_ends_the_run_and_gives_its_place_in_the_budget_back(client, tell):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "b", "budget": {"max_runs": 1}})
    run = client.post("/v1/studies/b/proposals", json={}).json()["items"][0]
    short = client.post("/v1/studies/b/proposals", json={}).json()
    assert (short["items"], short["shortfall"]["reason"]) == ([], "budget")
    failed = tell(run, "fail", reason="out of memory")
    assert (failed["state"], failed["failure"]) == ("failed", "out of memory")
    assert tell(run, "fail", reason="out of memory") == failed
    assert len(client.post("/v1/studies/b/proposals", json={}).json()["items"]) == 1


def test_a_stale_holders_failure_does_not_stop_the_next_one(ask, tell, run_out):
    first = ask()["items"][0]
    run_out(first)
    second = ask()["items"][0]
    assert tell(first, "fail", reason="preempted")["state"] == "leased"
    assert tell(second, "complete", metrics=METRICS)["state"] == "succeeded"


def test_cost_is_limited_too_and_reported_runs_do_not_count(client, tell):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "c", "budget": {"max_cost": 0.0035}})
    client.post("/v1/studies/c/runs", json={**SMALL_RUN, "cost": 50.0})
    found = client.post("/v1/studies/c/proposals", json={"count": 9}).json()
    assert len(found["items"]) == 3
    assert found["shortfall"]["reason"] == "budget"
    tell(found["items"][0], "complete", metrics=METRICS, cost=0.0001)
    assert len(client.post("/v1/studies/c/proposals", json={"count": 9}).json()["items"]) == 1


def test_concurrent_asks_never_exceed_the_budget(client):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "d", "budget": {"max_runs": 5}})
    client.post("/v1/studies/d/proposals", json={"count": 4})
    granted = []

    def ask_once():
        answer = client.post("/v1/studies/d/proposals", json={"count": 1})
        granted.append(len(answer.json()["items"]))

    threads = [threading.Thread(target=ask_once) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [0] * 11 + [1]


def test_a_pool_is_proposed_once_each(ask):
    pool = [
        {"weights": {"web": 1 - x, "code": x, "math": 0}, "fidelity": "1m"} for x in (0.1, 0.2, 0.3)
    ]
    pool = [{**one, "weights": {k: float(v) for k, v in one["weights"].items()}} for one in pool]
    first = ask(count=2, pool=pool)["items"]
    rest = ask(count=2, pool=pool)
    indices = [run["pool_index"] for run in first + rest["items"]]
    assert sorted(indices) == [0, 1, 2]
    assert rest["shortfall"]["reason"] == "pool"


def test_what_is_wrong_with_a_pool_is_named(ask):
    problem = ask(422, pool=[{"weights": {"web": 2.0}, "fidelity": "7b"}], fidelity="9b")
    pointers = {error["pointer"] for error in problem["errors"]}
    assert {"/fidelity", "/pool/0/fidelity", "/pool/0/weights/code"} <= pointers


def test_a_run_that_has_not_ended_cannot_be_retracted(ask, client):
    run = ask()["items"][0]
    assert client.post(f"/v1/runs/{run['id']}/retract", json={"reason": "x"}).status_code == 409


def test_the_same_key_leases_the_same_runs(client, study):
    headers = {"Idempotency-Key": "k"}
    url = f"/v1/studies/{study}/proposals"
    first, again = (client.post(url, json={"count": 2}, headers=headers) for _ in range(2))
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_trainers_token_may_ask_and_tell(client, study):
    made = client.post("/v1/tokens", json={"name": "t", "scopes": ["train"]}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    run = client.post(f"/v1/studies/{study}/proposals", json={}, headers=headers).json()["items"][0]
    body = {"lease_token": 1, "metrics": METRICS}
    url = f"/v1/runs/{run['id']}/complete"
    assert client.post(url, json=body, headers=headers).status_code == 200
