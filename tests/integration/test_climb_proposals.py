import numpy as np
import pytest
from small_study import SMALL_STUDY

ROUNDS = [14, 6, 3]
BEST = {"web": 0.2, "code": 0.2, "math": 0.6}


@pytest.fixture
def ask(client, study):
    def send(count, status=201, name=study, **asked):
        body = {"count": count, "strategy": "climb", "options": {"rounds": ROUNDS}, **asked}
        response = client.post(f"/v1/studies/{name}/proposals", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def complete(client):
    def send(run):
        distance = sum((run["weights"][name] - share) ** 2 for name, share in BEST.items())
        metrics = {"loss/web": 3 + distance, "loss/code": 2 + distance}
        body = {"lease_token": run["lease"]["token"], "metrics": metrics}
        response = client.post(f"/v1/runs/{run['id']}/complete", json=body)
        assert response.status_code == 200, response.text
        return distance

    return send


def reason(answer):
    return answer["shortfall"]["reason"]


def mixtures(answer):
    return [tuple(run["weights"].values()) for run in answer["items"]]


def test_three_rounds_each_after_all_of_the_one_before(ask, complete):
    distances = []
    for size in ROUNDS:
        answer = ask(100)
        assert (len(answer["items"]), reason(answer)) == (size, "round")
        assert reason(ask(1)) == "round"  # all of it is under way
        distances.append([complete(run) for run in answer["items"]])
    end = ask(1)
    assert (end["items"], reason(end)) == ([], "rounds")
    assert np.median(distances[2]) < np.median(distances[0]) / 2


def test_one_by_one_is_the_same_round_as_all_at_once(ask, complete, client):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"})
    for size in ROUNDS[:2]:
        at_once, one_by_one = ask(size), []
        for _ in range(size):
            answer = ask(1, name="other")
            one_by_one += mixtures(answer)
            complete(answer["items"][0])  # changes nothing within its round
        assert mixtures(at_once) == one_by_one
        for run in at_once["items"]:
            complete(run)


def test_a_failed_run_is_replaced_by_another_mixture(ask, client):
    answer = ask(14)
    run = answer["items"][0]
    body = {"lease_token": run["lease"]["token"], "reason": "out of memory"}
    assert client.post(f"/v1/runs/{run['id']}/fail", json=body).status_code == 200
    (other,) = mixtures(ask(100))
    assert other not in mixtures(answer)


def test_what_does_not_go_together(ask):
    def wrong(**asked):
        return ask(1, status=422, **asked)["errors"][0]["pointer"]

    assert wrong(options={"rounds": [12, 20]}) == "/options/rounds/0"
    assert wrong(options={"design": "dirichlet"}) == "/options/design"
    pool = [{"weights": BEST, "fidelity": "1m"}]
    assert wrong(pool=pool) == "/pool"
    assert wrong(strategy="swarm") == "/options/rounds"
