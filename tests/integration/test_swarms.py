from datetime import UTC, datetime

import pytest
from small_corpus import SMALL_CORPUS, SMALL_SWARM
from small_study import SMALL_STUDY
from sqlalchemy import update

from app.db.models import JobRow
from app.jobs.service import sweep
from app.swarms.service import ATTEMPTS, end_orphans

METRICS = {"loss/web": 3.0, "loss/code": 2.0}


def changed(body, **changes):
    return {**body, "trainer": {**body["trainer"], **changes}}


@pytest.fixture
def corpus(client):
    response = client.post("/v1/corpora", json=SMALL_CORPUS)
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
def start(client, study, corpus):
    def send(body=SMALL_SWARM, status=202):
        response = client.post(f"/v1/studies/{study}/swarms", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def group(client):
    """What a worker says about a group."""

    def send(group_id, what, status=200, **body):
        response = client.post(f"/v1/groups/{group_id}/{what}", json=body)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    return send


@pytest.fixture
def train(group):
    """Does what a worker would with a group, without training."""

    def do(group_id):
        claim = group(group_id, "claim", worker="w")
        results = [{"run": run["id"], "metrics": METRICS} for run in claim["order"]["runs"]]
        group(group_id, "complete", lease_token=claim["lease"]["token"], results=results)
        return claim

    return do


@pytest.fixture
def lapse(sessions):
    """Lets the lease of a group run out."""

    def run_out(group_id):
        with sessions.begin() as session:
            past = datetime(2020, 1, 1, tzinfo=UTC)
            session.execute(update(JobRow).where(JobRow.id == group_id).values(lease_until=past))

    return run_out


def test_a_corpus_is_registered_once_under_its_name(client, corpus):
    again = client.post("/v1/corpora", json=SMALL_CORPUS)
    assert (again.status_code, again.json()) == (200, corpus)
    other = client.post("/v1/corpora", json={**SMALL_CORPUS, "digest": "f" * 64})
    assert other.status_code == 409
    assert client.get("/v1/corpora/texts").json() == corpus
    assert client.get("/v1/corpora").json()["items"] == [corpus]
    assert client.get("/v1/corpora/none").status_code == 404


def test_a_swarm_stores_its_runs_and_rings_once_a_group(start, client, rung, study):
    swarm = start()
    assert (swarm["state"], swarm["runs_total"], swarm["runs_left"]) == ("queued", 5, 5)
    assert [queue for _, queue in rung] == ["train"] * 3  # groups of two
    runs = client.get(f"/v1/studies/{study}/runs?state=queued").json()["items"]
    assert len(runs) == 5
    assert {run["metadata"]["swarm"] for run in runs} == {swarm["id"]}
    assert all(abs(sum(run["weights"].values()) - 1) < 1e-9 for run in runs)


def test_a_worker_trains_group_by_group(start, train, client, rung, study):
    swarm = start()
    claims = [train(group_id) for group_id, _ in rung]
    done = client.get(f"/v1/swarms/{swarm['id']}").json()
    assert (done["state"], done["progress"], done["runs_done"]) == ("succeeded", 1.0, 5)
    assert [len(claim["order"]["runs"]) for claim in claims] == [2, 2, 1]
    assert claims[0]["metrics"] == ["loss/web", "loss/code"]
    ended = client.get(f"/v1/studies/{study}/runs?state=succeeded").json()["items"]
    assert len(ended) == 5
    assert not any(run["late"] for run in ended)


def test_all_mixtures_share_seeds_and_replicates_have_their_own(start, rung, group):
    start(changed(SMALL_SWARM, replicates=2, width=10, seed=7))
    runs = group(rung[0][0], "claim", worker="w")["order"]["runs"]
    assert [(run["seed"], run["stream"]) for run in runs] == [(7, 0)] * 5 + [(8, 1)] * 5
    assert [run["weights"] for run in runs[:5]] == [run["weights"] for run in runs[5:]]


def test_a_group_has_one_holder_at_a_time(start, rung, group, lapse, client):
    start()
    group_id = rung[0][0]
    first = group(group_id, "claim", worker="a")
    assert group(group_id, "claim", 204, worker="b") is None
    lapse(group_id)
    second = group(group_id, "claim", worker="b")
    assert second["lease"]["token"] == first["lease"]["token"] + 1
    assert second["order"] == first["order"]
    group(group_id, "heartbeat", 409, lease_token=1, progress=0.5)
    group(group_id, "heartbeat", lease_token=2, progress=0.5)
    run = first["order"]["runs"][0]["id"]
    late = client.post(f"/v1/runs/{run}/complete", json={"lease_token": 1, "metrics": METRICS})
    assert (late.json()["state"], late.json()["late"]) == ("succeeded", True)
    lapse(group_id)
    assert group(group_id, "claim", worker="c")["ended"] == [run]


def test_progress_speed_and_points_come_with_the_heartbeat(start, rung, group, client):
    swarm = start()
    group_id = rung[0][0]
    run = group(group_id, "claim", worker="w")["order"]["runs"][0]["id"]
    point = {"run": run, "tokens": 512.0, "metrics": {"loss/web": 4.0}}
    beat = {"lease_token": 1, "progress": 0.5, "tokens_per_second": 1000.0, "points": [point]}
    group(group_id, "heartbeat", **beat)
    group(group_id, "heartbeat", **beat)  # a repeated point is harmless
    found = client.get(f"/v1/swarms/{swarm['id']}").json()
    assert found["state"] == "running"
    assert found["progress"] == pytest.approx(0.5 * 2 / 5)
    assert found["seconds_left"] == pytest.approx(4 * 4096 / 1000)
    assert found["workers"] == ["w"]
    assert client.get(f"/v1/runs/{run}/points").json()["points"] == [
        {"tokens": 512.0, "metrics": {"loss/web": 4.0}}
    ]
    wrong = {**point, "run": "run_x", "metrics": {"nope": 1.0}}
    problem = group(group_id, "heartbeat", 422, **{**beat, "points": [wrong]})
    assert {e["pointer"] for e in problem["errors"]} == {
        "/points/0/run", "/points/0/metrics/nope",
    }  # fmt: skip


def test_a_group_ends_only_when_its_runs_have(start, rung, group):
    start()
    group(rung[0][0], "claim", worker="w")
    group(rung[0][0], "complete", 409, lease_token=1)


def test_results_of_a_worker_that_lost_the_group_count_where_there_are_none(
    start, rung, group, lapse, client
):
    start()
    group_id = rung[0][0]
    runs = [run["id"] for run in group(group_id, "claim", worker="a")["order"]["runs"]]
    lapse(group_id)
    group(group_id, "claim", worker="b")
    results = [{"run": runs[0], "metrics": METRICS}, {"run": runs[1], "reason": "diverged"}]
    assert group(group_id, "complete", lease_token=1, results=results)["state"] == "running"
    states = [client.get(f"/v1/runs/{run}").json() for run in runs]
    assert [(run["state"], run["late"]) for run in states] == [
        ("succeeded", True), ("leased", False),
    ]  # fmt: skip
    other = [{"run": run, "metrics": {"loss/web": 1.0}} for run in runs]
    for _ in range(2):  # a repeated report changes nothing
        found = group(group_id, "complete", lease_token=2, results=other)
        assert found["state"] == "succeeded"
    assert client.get(f"/v1/runs/{runs[0]}").json()["metrics"] == METRICS
    assert client.get(f"/v1/runs/{runs[1]}").json()["metrics"] == {"loss/web": 1.0}


def test_wrong_results_are_refused_whole(start, rung, group, client):
    start()
    group_id = rung[0][0]
    runs = [run["id"] for run in group(group_id, "claim", worker="a")["order"]["runs"]]
    stranger = [{"run": runs[0], "metrics": METRICS}, {"run": "run_x", "metrics": METRICS}]
    problem = group(group_id, "complete", 422, lease_token=1, results=stranger)
    assert problem["errors"][0]["pointer"] == "/results/1/run"
    neither = [{"run": runs[0]}]
    group(group_id, "complete", 422, lease_token=1, results=neither)
    assert client.get(f"/v1/runs/{runs[0]}").json()["state"] == "leased"


def test_a_group_that_fails_takes_its_runs_with_it(start, rung, group, client, study):
    swarm = start()
    group_id = rung[0][0]
    group(group_id, "claim", worker="w")
    group(group_id, "fail", lease_token=1, reason="the shard 'web' is damaged")
    group(group_id, "fail", lease_token=1, reason="the shard 'web' is damaged")
    failed = client.get(f"/v1/studies/{study}/runs?state=failed").json()["items"]
    assert [run["failure"] for run in failed] == ["the shard 'web' is damaged"] * 2
    found = client.get(f"/v1/swarms/{swarm['id']}").json()
    assert (found["state"], found["runs_failed"]) == ("running", 2)
    assert "damaged" in found["error"]["detail"]


def test_a_group_whose_workers_die_without_progress_is_given_up(
    start, rung, group, lapse, sessions, client, study
):
    start()
    group_id = rung[0][0]
    for _ in range(ATTEMPTS):
        group(group_id, "claim", worker="w")
        lapse(group_id)
    with sessions.begin() as session:
        sweep(session, 0.0)
        session.flush()
        end_orphans(session)
    assert group(group_id, "claim", 204, worker="w") is None
    failed = client.get(f"/v1/studies/{study}/runs?state=failed").json()["items"]
    assert len(failed) == 2
    assert "died" in failed[0]["failure"]


def test_a_group_that_comes_further_may_lose_any_number_of_workers(start, rung, group, lapse):
    start()
    group_id = rung[0][0]
    for attempt in range(1, 3 * ATTEMPTS):
        token = group(group_id, "claim", worker="w")["lease"]["token"]
        assert token == attempt
        group(group_id, "heartbeat", lease_token=token, progress=attempt / 100)
        lapse(group_id)


def test_cancel_stops_workers_and_keeps_what_has_ended(start, train, rung, group, client):
    swarm = start()
    train(rung[0][0])
    group(rung[1][0], "claim", worker="w")
    found = client.post(f"/v1/swarms/{swarm['id']}/cancel").json()
    assert (found["state"], found["runs_done"], found["runs_cancelled"]) == ("cancelled", 2, 3)
    group(rung[1][0], "heartbeat", 409, lease_token=1, progress=0.5)
    assert group(rung[2][0], "claim", 204, worker="w") is None
    assert client.post(f"/v1/swarms/{swarm['id']}/cancel").json() == found


def test_a_swarm_that_has_ended_cannot_be_cancelled(start, train, rung, client):
    swarm = start()
    for group_id, _ in list(rung):
        train(group_id)
    assert client.post(f"/v1/swarms/{swarm['id']}/cancel").status_code == 409


def test_a_sweep_comes_first_and_sets_the_learning_rate(start, rung, group, client):
    optimizer = {"learning_rate": "sweep", "batch_sequences": 8}
    swarm = start(changed(SMALL_SWARM, optimizer=optimizer))
    assert len(rung) == 1
    claim = group(rung[0][0], "claim", worker="w")
    rates = [run["learning_rate"] for run in claim["order"]["runs"]]
    assert claim["purpose"] == "sweep"
    assert rates == [pytest.approx(rates[0] * 2**power) for power in range(4)]
    group(rung[0][0], "complete", 422, lease_token=1)
    group(rung[0][0], "complete", lease_token=1, learning_rate=0.03)
    assert len(rung) == 4
    order = group(rung[1][0], "claim", worker="w")["order"]
    assert order["optimizer"]["learning_rate"] == 0.03
    found = client.get(f"/v1/swarms/{swarm['id']}").json()
    assert found["trainer"]["optimizer"]["learning_rate"] == 0.03
    assert found["runs_total"] == 5


def test_simulated_epoching_shrinks_the_pools(start, rung, group):
    start(changed(SMALL_SWARM, sampling={"target_tokens": 40_960.0}))
    order = group(rung[0][0], "claim", worker="w")["order"]
    assert order["sampling"]["pool_tokens"] == {"web": 6000, "code": 3000, "math": 1000}


def test_given_mixtures_are_trained_as_they_are(start, rung, group):
    mixtures = [{"web": 1.0, "code": 0.0, "math": 0.0}, {"web": 0.2, "code": 0.3, "math": 0.5}]
    body = {**SMALL_SWARM, "design": {"kind": "given", "mixtures": mixtures}}
    body.pop("count")
    start(body)
    order = group(rung[0][0], "claim", worker="w")["order"]
    assert [run["weights"] for run in order["runs"]] == mixtures


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"fidelity": "7b"}, "/fidelity"),
        ({"count": None}, ""),
        ({"design": {"kind": "given"}}, "/design"),
        ({"design": {"kind": "given", "mixtures": [{"web": 1.0}]}, "count": 1},
         "/design/mixtures/0/code"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_swarm_is_named(start, changes, pointer):
    problem = start({**SMALL_SWARM, **changes}, 422)
    assert pointer in {error["pointer"] for error in problem["errors"]}


def test_a_fidelity_without_tokens_needs_them_named(start):
    problem = start(changed(SMALL_SWARM, tokens=None), 422)
    assert problem["errors"][0]["pointer"] == "/trainer/tokens"


def test_a_model_that_cannot_be_is_refused(start):
    assert (
        "heads" in start(changed(SMALL_SWARM, model={"preset": "65k", "heads": 7}), 422)["detail"]
    )


def test_a_corpus_without_a_domain_of_the_study_is_refused(client, study):
    lacking = {**SMALL_CORPUS, "domains": SMALL_CORPUS["domains"][:2]}
    client.post("/v1/corpora", json=lacking)
    response = client.post(f"/v1/studies/{study}/swarms", json=SMALL_SWARM)
    assert response.status_code == 422
    assert "math" in response.json()["errors"][0]["detail"]


def test_an_objective_that_proxies_are_not_measured_by_is_refused(client, corpus):
    study = {**SMALL_STUDY, "name": "acc", "metrics": [{"name": "hellaswag"}]}
    client.post("/v1/studies", json=study)
    response = client.post("/v1/studies/acc/swarms", json=SMALL_SWARM)
    assert response.status_code == 422
    assert "bits_per_byte/DOMAIN" in response.json()["detail"]


def test_a_swarm_beyond_the_budget_is_refused_whole(client, corpus, rung):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "b", "budget": {"max_runs": 4}})
    response = client.post("/v1/studies/b/swarms", json=SMALL_SWARM)
    assert response.status_code == 409
    assert "room for 4" in response.json()["detail"]
    assert rung == []


def test_a_worker_without_the_studys_rights_is_refused_and_nothing_is_lost(
    start, rung, client, corpus
):
    start()
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"})
    made = client.post("/v1/tokens", json={"name": "a", "scopes": ["admin"]}).json()
    admin = {"Authorization": f"Bearer {made['token']}"}
    body = {"name": "t", "scopes": ["train"], "study": "other"}
    bound = client.post("/v1/tokens", json=body, headers=admin).json()["token"]
    url = f"/v1/groups/{rung[0][0]}/claim"
    refused = client.post(url, json={"worker": "w"}, headers={"Authorization": f"Bearer {bound}"})
    assert refused.status_code == 403
    assert client.post(url, json={"worker": "w"}, headers=admin).status_code == 200


def test_a_swarm_of_512_is_stored_at_once(client, study, corpus, rung):
    body = {**changed(SMALL_SWARM, width=64), "count": 512}
    assert client.post(f"/v1/studies/{study}/swarms", json=body).json()["runs_total"] == 512
    assert len(rung) == 8


def test_the_order_is_what_workers_read(start, rung, group):
    from workers.order import GroupOrder

    start()
    order = GroupOrder.from_json(group(rung[0][0], "claim", worker="w")["order"])
    assert order.group == rung[0][0]
    assert order.domains == ("web", "code", "math")


def test_a_swarm_takes_proposals_over(client, study, corpus, rung, group, train):
    asked = {"count": 3, "fidelity": "1m"}
    found = client.post(f"/v1/studies/{study}/proposals", json=asked).json()["items"]
    ids = [run["id"] for run in found]
    body = {**SMALL_SWARM, "design": {"kind": "proposals", "runs": ids}}
    body.pop("count")
    swarm = client.post(f"/v1/studies/{study}/swarms", json=body).json()
    assert swarm["runs_total"] == 3
    for group_id, _ in list(rung):
        train(group_id)
    ended = [client.get(f"/v1/runs/{run}").json() for run in ids]
    assert [run["state"] for run in ended] == ["succeeded"] * 3
    assert [run["weights"] for run in ended] == [run["weights"] for run in found]
    assert len(client.get(f"/v1/studies/{study}/runs").json()["items"]) == 3  # counted once
    again = client.post(f"/v1/studies/{study}/swarms", json=body).json()
    assert again["errors"][0]["pointer"] == "/design/runs/0"
    assert "no leased proposal" in again["errors"][0]["detail"]


def test_only_leased_proposals_of_the_study_and_fidelity_are_taken_over(client, study, corpus):
    asked = {"count": 1, "fidelity": "1b"}
    (other,) = client.post(f"/v1/studies/{study}/proposals", json=asked).json()["items"]
    body = {**SMALL_SWARM, "design": {"kind": "proposals", "runs": ["run_x", other["id"]]}}
    body.pop("count")
    response = client.post(f"/v1/studies/{study}/swarms", json=body)
    assert response.status_code == 422
    details = [error["detail"] for error in response.json()["errors"]]
    assert "there is no run 'run_x'" in details[0]
    assert "is to be trained at '1b'" in details[1]
