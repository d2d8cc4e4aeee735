"""Swarms of studies of QuaDMix: what is asked, checked, and told to workers."""

import copy

import pytest
from small_corpus import SMALL_CORPUS, SMALL_SWARM
from space_studies import QUADMIX_STUDY, THETA

from app.swarms.planning import SWEEP

METRICS = {"loss/web": 3.0}
CORPUS = {
    **SMALL_CORPUS,
    "name": "rated",
    "domains": SMALL_CORPUS["domains"][:2],
    "raters": ["edu", "noise", "unused"],
}
STUDY = {**QUADMIX_STUDY, "metrics": [{"name": "loss/web"}]}
SWARM = {
    **SMALL_SWARM,
    "design": {"seed": 3},
    "trainer": {**SMALL_SWARM["trainer"], "corpus": "rated", "width": 3},
}


@pytest.fixture
def study(send):
    send("/v1/corpora", CORPUS, 201)
    return send("/v1/studies", STUDY, 201)["id"]


@pytest.fixture
def claim(client, rung):
    def claim_next():
        group = rung.pop(0)[0]
        return client.post(f"/v1/groups/{group}/claim", json={"worker": "w"}).json()

    return claim_next


def pointers(answer):
    return {error["pointer"]: error["detail"] for error in answer["errors"]}


def given(*parameters, **trainer):
    body = {**SWARM, "design": {"kind": "given", "parameters": list(parameters)}}
    body.pop("count")
    return {**body, "trainer": {**SWARM["trainer"], **trainer}}


def test_a_swarm_is_designed_by_the_spaces_sampler(send, study, client, claim):
    swarm = send(f"/v1/studies/{study}/swarms", SWARM)
    assert swarm["design"] == {"kind": "sampler", "seed": 3}
    runs = client.get(f"/v1/studies/{study}/runs").json()["items"]
    assert len(runs) == 5
    limits = client.get(f"/v1/studies/{study}").json()["space"]["limits"]
    for run in runs:
        assert run["weights"] is None
        for numbers in run["parameters"].values():
            assert all(0 <= numbers[name] <= limit for name, limit in limits.items())
    orders = [claim()["order"] for _ in range(2)]
    told = [run["parameters"] for order in orders for run in order["runs"]]
    assert told == [run["parameters"] for run in runs]
    assert orders[0]["space"] == client.get(f"/v1/studies/{study}").json()["space"]
    assert orders[0]["domains"] == ["web", "code"]


def test_the_order_is_what_workers_read(send, study, claim):
    from workers.order import GroupOrder

    send(f"/v1/studies/{study}/swarms", given(THETA, replicates=2))
    order = GroupOrder.from_json(claim()["order"])
    assert order.document_space.rating.raters == ("edu", "noise")
    assert [run.seed for run in order.runs] == [0, 1]
    assert all(run.weights is None for run in order.runs)
    for domain, numbers in THETA.items():
        for name, value in numbers.items():
            assert order.runs[1].parameters[domain][name] == pytest.approx(value)


def test_results_are_kept_with_what_was_selected(send, study, client, claim):
    send(f"/v1/studies/{study}/swarms", given(THETA))
    claimed = claim()
    (run,) = claimed["order"]["runs"]
    result = {
        "run": run["id"],
        "metrics": METRICS,
        "realised_tokens": {"web": 4000.0, "code": 96.0},
        "metadata": {"selected_tokens": {"web": 900, "code": 20}},
    }
    group = claimed["order"]["group"]
    ending = {"lease_token": claimed["lease"]["token"], "results": [result]}
    send(f"/v1/groups/{group}/complete", ending, 200)
    ended = client.get(f"/v1/runs/{run['id']}").json()
    assert ended["metadata"]["selected_tokens"] == {"web": 900, "code": 20}
    assert ended["realised_tokens"] == {"web": 4000.0, "code": 96.0}
    assert ended["parameters"] == run["parameters"]


def test_a_sweep_tries_rates_on_the_mean_of_the_sampler(send, study, claim):
    rates = {**SWARM["trainer"]["optimizer"], "learning_rate": "sweep"}
    send(f"/v1/studies/{study}/swarms", given(THETA, optimizer=rates))
    order = claim()["order"]
    assert len(order["runs"]) == len(SWEEP)
    for run in order["runs"]:
        for numbers in run["parameters"].values():
            assert numbers["rater_weights"] == pytest.approx({"edu": 0.5, "noise": 0.5})
            assert numbers["omega"] == pytest.approx(0.05)
            assert numbers["lambda"] == pytest.approx(500.0)


def test_a_swarm_takes_proposals_over(send, study, client, claim):
    asked = {"count": 2, "fidelity": "1m"}
    found = send(f"/v1/studies/{study}/proposals", asked, 201)["items"]
    body = {**SWARM, "design": {"kind": "proposals", "runs": [run["id"] for run in found]}}
    body.pop("count")
    send(f"/v1/studies/{study}/swarms", body)
    told = [run["parameters"] for run in claim()["order"]["runs"]]
    assert told == [run["parameters"] for run in found]


def test_every_wrong_number_is_named(send, study):
    wrong = copy.deepcopy(THETA)
    wrong["web"]["omega"] = 2.0
    del wrong["code"]["eta"]
    answer = send(f"/v1/studies/{study}/swarms", given(THETA, wrong), 422)
    assert set(pointers(answer)) == {
        "/design/parameters/1/web/omega",
        "/design/parameters/1/code/eta",
    }


def test_a_corpus_without_the_raters_is_refused_by_name(send, study):
    send("/v1/corpora", {**CORPUS, "name": "half", "raters": ["edu"]}, 201)
    trainer = {**SWARM["trainer"], "corpus": "half"}
    answer = send(f"/v1/studies/{study}/swarms", {**SWARM, "trainer": trainer}, 422)
    detail = pointers(answer)["/trainer/corpus"]
    assert "no scores of 'noise', they have 'edu'; build it with --score" in detail


def test_epochs_pools_and_budgets_are_refused(send, study):
    sampling = {"mode": "epochs", "target_tokens": 1e6, "budget_tokens": 1e6}
    trainer = {**SWARM["trainer"], "sampling": sampling}
    answer = send(f"/v1/studies/{study}/swarms", {**SWARM, "trainer": trainer}, 422)
    assert set(pointers(answer)) == {
        "/trainer/sampling/mode",
        "/trainer/sampling/target_tokens",
        "/trainer/sampling/budget_tokens",
    }


def test_points_of_another_space_are_refused(send, study, client):
    mixtures = {**SWARM, "design": {"kind": "given", "mixtures": [{"web": 0.5, "code": 0.5}]}}
    mixtures.pop("count")
    answer = send(f"/v1/studies/{study}/swarms", mixtures, 422)
    assert "'quadmix': give `parameters`" in pointers(answer)["/design/mixtures"]
    other = send("/v1/studies", {**STUDY, "name": "shares", "space": {"kind": "mixture"}}, 201)
    answer = send(f"/v1/studies/{other['id']}/swarms", given(THETA), 422)
    assert "'mixture': give `mixtures`" in pointers(answer)["/design/parameters"]
    dirichlet = {**SWARM, "design": {"kind": "dirichlet"}}
    answer = send(f"/v1/studies/{study}/swarms", dirichlet, 422)
    assert "no design 'dirichlet'" in answer["detail"]


def test_a_corpus_from_before_there_were_raters_is_the_same_one(client, send):
    plain = {**CORPUS, "raters": []}
    first = send("/v1/corpora", {n: v for n, v in plain.items() if n != "raters"}, 201)
    assert first["raters"] == []
    assert send("/v1/corpora", plain, 200) == first
    send("/v1/corpora", CORPUS, 409)
