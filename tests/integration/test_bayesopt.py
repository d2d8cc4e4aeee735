import threading

import numpy as np
import pytest
from small_study import SMALL_STUDY, made_up_runs

from mixwright.bayesopt.choosing import Cells
from mixwright.bayesopt.fidelities import OneFactor
from mixwright.bayesopt.knowing import Knowledge
from mixwright.bayesopt.learning import learn
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.suggesting import suggest

NAMES = ("web", "code", "math")


@pytest.fixture
def ask(client, study, worker):
    def send(status=201, study=study, **asked):
        body = {"strategy": "bayesopt", **asked}
        response = client.post(f"/v1/studies/{study}/proposals", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


def named(mixture):
    return dict(zip(NAMES, map(float, mixture), strict=True))


def make_pool(count=30, seed=5):
    mixtures = np.random.default_rng(seed).dirichlet(np.ones(3), count)
    return [
        {"weights": named(mixture), "fidelity": fidelity}
        for fidelity in ("1m", "1b")
        for mixture in mixtures
    ]


def test_before_any_run_it_begins_with_the_cheapest_and_recommends_nothing(ask):
    found = ask(count=2)
    assert [run["fidelity"] for run in found["items"]] == ["1m", "1m"]
    assert (found["recommendation"], found["stopping"], found["shortfall"]) == (None, None, None)


def test_with_runs_it_proposes_recommends_and_says_what_going_on_is_worth(ask, store_runs):
    store_runs(made_up_runs(30))
    store_runs(made_up_runs(4, "1b", seed=1))
    found = ask(count=3, seed=4)
    assert len({tuple(run["weights"].values()) for run in found["items"]}) == 3
    for run in found["items"]:
        assert abs(sum(run["weights"].values()) - 1) < 1e-9
    best = found["recommendation"]
    assert best["objective"]["lower"] <= best["objective"]["mean"] <= best["objective"]["upper"]
    assert best["weights"]["math"] < 0.1  # it helps neither loss
    assert found["stopping"]["expected_gain"] >= 0
    assert "'1b'" in found["stopping"]["sentence"]


def test_constraints_hold_for_every_proposal(client, ask):
    body = {
        **SMALL_STUDY,
        "name": "tight",
        "constraints": {"repetition": {"target_tokens": 1e12, "max_epochs": 1.0}},
    }
    client.post("/v1/studies", json=body)
    client.post("/v1/studies/tight/runs:batch", json={"runs": made_up_runs(25)})
    found = ask(study="tight", count=5)
    for run in [*found["items"], found["recommendation"]]:
        assert run["weights"]["math"] <= 0.1 + 1e-9
        assert run["weights"]["code"] <= 0.3 + 1e-9


def test_the_service_gives_what_the_core_gives(ask, store_runs):
    runs = made_up_runs(12)
    store_runs(runs)
    pool = make_pool()
    found = ask(count=4, pool=pool, seed=11)
    seen = Observations.of(
        np.array([[run["weights"][name] for name in NAMES] for run in runs]),
        np.zeros(12, dtype=int),
        np.array([np.mean(list(run["metrics"].values())) for run in runs]),
    )
    learned = learn(seen, OneFactor(2, 1))
    knowledge = Knowledge(learned.posterior, None, (), ())
    mixtures = np.array([[one["weights"][name] for name in NAMES] for one in pool])
    cells = Cells(mixtures, np.repeat([0, 1], 30))
    nothing = Cells(np.empty((0, 3)), np.empty(0, dtype=int))
    costs, target_pool = np.array([0.001, 1.0]), np.unique(mixtures[30:], axis=0)
    chosen = suggest(knowledge, nothing, cells, costs, target_pool, 11)
    expected = [next(chosen).index for _ in range(4)]
    assert [run["pool_index"] for run in found["items"]] == expected


def test_a_pool_is_used_up_entry_by_entry_and_recommends_among_its_target_runs(ask, client):
    pool = make_pool(4)
    seen = []
    while not (found := ask(count=3, pool=pool))["shortfall"]:
        for run in found["items"]:
            seen.append(run["pool_index"])
            metrics = {"loss/web": 3 - run["weights"]["web"], "loss/code": 2.0}
            body = {"lease_token": 1, "metrics": metrics}
            client.post(f"/v1/runs/{run['id']}/complete", json=body)
    seen += [run["pool_index"] for run in found["items"]]
    assert sorted(seen) == list(range(8))
    assert found["shortfall"]["reason"] == "pool"
    best = max(range(4, 8), key=lambda index: pool[index]["weights"]["web"])
    assert found["recommendation"]["pool_index"] == best


def test_count_0_asks_for_the_recommendation_alone(ask, store_runs, client, study):
    assert ask(count=0)["recommendation"] is None
    store_runs(made_up_runs(20))
    found = ask(count=0)
    assert found["items"] == []
    assert found["shortfall"] is None
    assert found["recommendation"]["weights"].keys() == set(NAMES)
    assert client.get(f"/v1/studies/{study}/runs?state=leased").json()["items"] == []


def test_a_budget_smaller_than_the_cheapest_run_buys_nothing(client, ask):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "poor", "budget": {"max_cost": 1e-4}})
    found = ask(study="poor")
    assert (found["items"], found["shortfall"]["reason"]) == ([], "budget")


def test_what_is_left_of_the_budget_decides_which_fidelities_are_possible(client, ask):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "small2", "budget": {"max_cost": 0.5}})
    client.post("/v1/studies/small2/runs:batch", json={"runs": made_up_runs(40)})
    assert {run["fidelity"] for run in ask(study="small2", count=6)["items"]} == {"1m"}


def test_all_outcomes_equal_is_no_error(ask, store_runs):
    runs = made_up_runs(10)
    for run in runs:
        run["metrics"] = {"loss/web": 2.0, "loss/code": 2.0}
    store_runs(runs)
    assert len(ask(count=1)["items"]) == 1


def test_runs_without_the_objective_teach_nothing(ask, store_runs):
    runs = made_up_runs(5)
    for run in runs:
        run["metrics"].pop("loss/code")
    store_runs(runs)
    assert ask(count=1)["recommendation"] is None


def test_one_fidelity_is_enough(client, ask):
    body = {**SMALL_STUDY, "name": "one", "fidelities": [{"name": "1b", "cost": 1.0}]}
    client.post("/v1/studies", json=body)
    client.post("/v1/studies/one/runs:batch", json={"runs": made_up_runs(10, "1b")})
    assert ask(study="one", count=2)["items"][0]["fidelity"] == "1b"


def test_a_wrong_entry_of_a_pool_is_named_by_its_index(ask):
    pool = make_pool(2)
    pool[3]["weights"]["web"] += 0.5
    problem = ask(422, pool=pool)
    assert problem["errors"][0]["pointer"].startswith("/pool/3/")


def test_thinking_about_a_pool_ends_when_its_time_is_up(ask, store_runs):
    store_runs(made_up_runs(30))
    found = ask(count=500, wait=0.5, pool=make_pool(400))
    assert found["shortfall"]["reason"] == "time"
    assert 0 < len(found["items"]) < 500


@pytest.mark.parametrize("clients", [8])
def test_the_last_unit_of_budget_goes_to_one(client, ask, clients):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "last", "budget": {"max_runs": 1}})
    client.post("/v1/studies/last/runs:batch", json={"runs": made_up_runs(6)})
    granted = []
    threads = [
        threading.Thread(target=lambda: granted.append(len(ask(study="last")["items"])))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [0] * (clients - 1) + [1]


def test_a_pool_without_target_entries_is_chosen_and_recommended_from_all_the_same(ask, store_runs):
    store_runs(made_up_runs(12))
    pool = [entry for entry in make_pool(6) if entry["fidelity"] == "1m"]
    found = ask(count=2, pool=pool)
    assert {run["fidelity"] for run in found["items"]} == {"1m"}
    assert found["recommendation"]["pool_index"] in range(6)


def test_where_no_target_run_can_be_paid_for_the_target_is_still_predicted(client, ask):
    body = {**SMALL_STUDY, "name": "cheap", "budget": {"max_cost": 0.01}}
    client.post("/v1/studies", json=body)
    for _ in range(4):
        for run in ask(study="cheap", count=2)["items"]:
            assert run["fidelity"] == "1m"
            loss = 3.0 - run["weights"]["web"]
            told = {"lease_token": 1, "metrics": {"loss/web": loss, "loss/code": 2.0}}
            client.post(f"/v1/runs/{run['id']}/complete", json={**told, "cost": 0.001})
    found = ask(study="cheap", count=0)
    assert found["recommendation"]["weights"]["web"] > 0.5
    assert found["stopping"]["regret"]["upper"] >= found["stopping"]["regret"]["mean"] >= 0


def test_an_entry_that_ran_with_other_shares_than_asked_for_is_not_proposed_again(ask, client):
    pool = make_pool(2)
    first = ask(count=1, pool=pool)["items"][0]
    drawn = {"web": 700, "code": 200, "math": 100}
    body = {
        "lease_token": 1,
        "metrics": {"loss/web": 2.0, "loss/code": 2.0},
        "realised_tokens": drawn,
    }
    assert client.post(f"/v1/runs/{first['id']}/complete", json=body).status_code == 200
    again = [run["pool_index"] for run in ask(count=4, pool=pool)["items"]]
    assert sorted([first["pool_index"], *again]) == [0, 1, 2, 3]


def test_what_a_goal_misses_is_told_in_the_goals_own_terms(ask, store_runs):
    store_runs(made_up_runs(30, "1b"))
    plain = ask(count=0)["stopping"]["regret"]
    found = ask(count=0, options={"wanted": "worst_case"})["stopping"]
    assert found["regret"] != plain
    assert "noise" not in found["sentence"]
