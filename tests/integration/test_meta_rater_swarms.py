"""Swarms of studies of Meta-rater: what is asked, checked, and told to workers."""

import pytest
from small_corpus import SMALL_CORPUS, SMALL_SWARM
from space_studies import META_RATER_STUDY

from app.swarms.planning import SWEEP
from workers.order import GroupOrder

WEIGHTS = {"edu": 0.5, "dclm": 0.25, "noise": 0.25}
CORPUS = {
    **SMALL_CORPUS,
    "name": "rated",
    "domains": SMALL_CORPUS["domains"][:2],
    "raters": ["noise", "edu", "dclm"],
}
THERE = sum(domain["train_tokens"] for domain in CORPUS["domains"])
BUDGET = THERE / 10
STUDY = {**META_RATER_STUDY, "metrics": [{"name": "loss/web"}]}


@pytest.fixture
def study(send):
    send("/v1/corpora", CORPUS, 201)
    return send("/v1/studies", STUDY, 201)["id"]


@pytest.fixture
def claim(client, rung):
    def claim_next():
        group = rung.pop(0)[0]
        return client.post(f"/v1/groups/{group}/claim", json={"worker": "w"}).json()["order"]

    return claim_next


def swarm_of(budget=BUDGET, design=None, **trainer):
    sampling = {} if budget is None else {"budget_tokens": budget}
    asked = {**SMALL_SWARM["trainer"], "corpus": "rated", "sampling": sampling, **trainer}
    body = {**SMALL_SWARM, "design": design or {"seed": 3}, "trainer": asked}
    if design is not None:
        del body["count"]
    return body


def pointers(answer):
    return {error["pointer"]: error["detail"] for error in answer["errors"]}


def test_a_swarm_is_designed_by_draws_of_weights(send, study, client, claim):
    swarm = send(f"/v1/studies/{study}/swarms", swarm_of())
    assert swarm["design"] == {"kind": "dirichlet", "seed": 3}
    assert swarm["trainer"]["sampling"]["budget_tokens"] == BUDGET
    runs = client.get(f"/v1/studies/{study}/runs").json()["items"]
    assert len({tuple(run["parameters"].values()) for run in runs}) == len(runs) == 5
    order = GroupOrder.from_json(claim())
    assert [run.parameters for run in order.runs] == [
        run["parameters"] for run in runs[: len(order.runs)]
    ]
    assert order.sampling.budget_tokens == BUDGET
    rating = order.document_space.rating
    assert rating.raters == ("edu", "dclm", "noise")
    assert rating.recorded == "z_score_of_documents"


def test_a_sweep_tries_rates_on_equal_weights(send, study, claim):
    rates = {**SMALL_SWARM["trainer"]["optimizer"], "learning_rate": "sweep"}
    design = {"kind": "given", "parameters": [WEIGHTS]}
    send(f"/v1/studies/{study}/swarms", swarm_of(design=design, optimizer=rates))
    order = GroupOrder.from_json(claim())
    assert len(order.runs) == len(SWEEP)
    for run in order.runs:
        assert run.parameters == pytest.approx(dict.fromkeys(WEIGHTS, 1 / 3))
    assert order.sampling.budget_tokens == BUDGET


def test_a_swarm_takes_proposals_over(send, study, claim):
    found = send(f"/v1/studies/{study}/proposals", {"count": 2, "fidelity": "1m"}, 201)["items"]
    design = {"kind": "proposals", "runs": [run["id"] for run in found]}
    send(f"/v1/studies/{study}/swarms", swarm_of(design=design))
    assert [run["parameters"] for run in claim()["runs"]] == [run["parameters"] for run in found]


@pytest.mark.parametrize("budget", [None, THERE, 1e12])
def test_the_budget_has_to_leave_a_choice(send, study, budget):
    answer = send(f"/v1/studies/{study}/swarms", swarm_of(budget), 422)
    detail = pointers(answer)["/trainer/sampling/budget_tokens"]
    assert f"the corpus has {THERE:,} in the study's domains: say how many, fewer" in detail


def test_a_budget_is_for_documents_alone(send, study):
    mixtures = {**STUDY, "name": "shares", "space": {"kind": "mixture"}}
    other = send("/v1/studies", mixtures, 201)["id"]
    answer = send(f"/v1/studies/{other}/swarms", swarm_of(), 422)
    assert "mixtures select no documents" in pointers(answer)["/trainer/sampling/budget_tokens"]


def test_every_wrong_weight_and_a_missing_score_are_named(send, study):
    send("/v1/corpora", {**CORPUS, "name": "half", "raters": ["edu"]}, 201)
    design = {"kind": "given", "parameters": [{"edu": -0.5, "dclm": 1.0}, {**WEIGHTS, "edu": 9}]}
    answer = send(f"/v1/studies/{study}/swarms", swarm_of(design=design), 422)
    assert set(pointers(answer)) == {
        "/design/parameters/0/edu",
        "/design/parameters/0/noise",
        "/design/parameters/1",
    }
    answer = send(f"/v1/studies/{study}/swarms", swarm_of(corpus="half"), 422)
    assert "no scores of 'dclm', 'noise'" in pointers(answer)["/trainer/corpus"]
