"""Schedules over HTTP, on both databases."""

import json

import numpy as np
import pytest
from small_study import SMALL_STUDY, made_up_runs

from mixwright.schedules import PLANNERS

BUDGET = {
    "tokens": 1e9,
    "sequence_length": 1000,
    "batch_tokens": 1e6,
    "peak_learning_rate": 3e-4,
}
PRIOR = {"web": 0.6, "code": 0.3, "math": 0.1}


@pytest.fixture
def plan(client, study):
    def send(planner="static", status=201, to=study, budget=BUDGET, **more):
        body = {"planner": planner, "budget": budget, **more}
        response = client.post(f"/v1/studies/{to}/schedules", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def get(client):
    def send(path, status=200, **query):
        response = client.get(f"/v1/{path}", params=query)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def recommendation(client, study, store_runs, work):
    store_runs(made_up_runs(40))
    body = {"surrogate": "linear", "method": "exact", "kl_to_prior": 0.5}
    response = client.post(f"/v1/studies/{study}/recommendations", json=body)
    work()
    return response.json()["id"]


def pointers(answer):
    return [error["pointer"] for error in answer["errors"]]


def documents(count=400, seed=0, **changed):
    rng = np.random.default_rng(seed)
    weak = np.exp(rng.normal(4, 0.6, count))
    columns = {
        "perplexity_weak": weak.tolist(),
        "perplexity_strong": (weak * np.exp(-np.abs(rng.normal(0.3, 0.2, count)))).tolist(),
        "quality": rng.normal(size=count).tolist(),
    }
    return {
        "domain": rng.choice(list(PRIOR), count, p=list(PRIOR.values())).tolist(),
        "tokens": rng.integers(10, 1000, count).astype(float).tolist(),
        "columns": {**columns, **changed},
    }


NEEDED = {
    "frames": {"documents": documents()},
    "quality_curriculum": {"documents": documents()},
    "continual": {"options": {"new_weights": {"math": 1.0}, "share": 0.3}},
}


@pytest.mark.parametrize("planner", sorted(set(PLANNERS) - {"regmix_d"}))
def test_every_planner_answers_what_was_agreed(plan, get, planner):
    made = plan(planner, **NEEDED.get(planner, {}))
    assert made["id"].startswith("sch_")
    assert made["state"] == "succeeded"
    assert made["stages"][0]["start_token"] == 0
    assert made["stages"][-1]["end_token"] == 1e9
    for stage in made["stages"]:
        assert {"name", "start_token", "end_token", "batch_tokens", "learning_rate"} < set(stage)
        assert ("weights" in stage) != ("selection" in stage)
        assert stage["averaging"] is None or stage["averaging"]["checkpoints"] > 1
        assert {"start", "end", "shape"} <= set(stage["batch_tokens"])
    assert sum(made["effective_weights"].values()) == pytest.approx(1, abs=1e-9)
    assert set(made["epochs"]) == set(made["worth"]) == set(PRIOR)
    assert made["epochs"]["math"] == pytest.approx(made["effective_weights"]["math"] * 1e9 / 1e11)
    assert 0 <= 1e9 - made["steps"]["tokens"] < 4e6
    assert sum(one["steps"] for one in made["steps"]["stages"]) == made["steps"]["count"]
    assert made["provenance"]["weights"] == "prior"
    assert made["provenance"]["seed"] == 0
    assert get(f"schedules/{made['id']}", wait=1) == made


def test_it_begins_with_the_latest_recommendation_with_another_or_with_given_weights(
    plan, get, recommendation
):
    recommended = get(f"recommendations/{recommendation}")["weights"]
    for made in (plan(), plan(recommendation=recommendation)):
        assert made["provenance"]["weights"] == "recommendation"
        assert made["provenance"]["recommendation"] == recommendation
        assert made["stages"][0]["weights"] == pytest.approx(recommended)
    made = plan(weights={"web": 0.502, "code": 0.3, "math": 0.2})
    assert made["provenance"]["weights"] == "given"
    assert made["provenance"]["recommendation"] is None
    assert sum(made["stages"][0]["weights"].values()) == pytest.approx(1, abs=1e-12)


def test_only_what_was_asked_changes_the_digest(plan):
    assert plan()["digest"] == plan()["digest"]
    assert plan()["digest"] != plan(weights={"web": 0.5, "code": 0.3, "math": 0.2})["digest"]


def test_schedules_are_listed_by_study(client, plan, get, study):
    ids = [plan()["id"] for _ in range(3)]
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"})
    plan(to="other")
    first = get(f"studies/{study}/schedules", limit=2)
    rest = get(f"studies/{study}/schedules", cursor=first["next_cursor"])
    assert [one["id"] for one in (*first["items"], *rest["items"])] == ids
    assert rest["next_cursor"] is None
    get("schedules/sch_0", 404)
    get("schedules/sch_0/at", 404, token=0)


def test_a_post_is_repeated_and_not_done_twice(client, study, get):
    body, key = {"planner": "static", "budget": BUDGET}, {"Idempotency-Key": "once"}
    first = client.post(f"/v1/studies/{study}/schedules", json=body, headers=key)
    again = client.post(f"/v1/studies/{study}/schedules", json=body, headers=key)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(get(f"studies/{study}/schedules")["items"]) == 1
    other = client.post(f"/v1/studies/{study}/schedules", json={**body, "seed": 1}, headers=key)
    assert other.status_code == 422


def test_a_moment_is_that_of_its_step(plan, get):
    made = plan(
        "drop_stable_rampup", options={"good_weights": {"math": 1.0}, "share": 0.5, "stable": 0.5}
    )
    path = f"schedules/{made['id']}/at"
    first = get(path, token=0)
    assert (first["step"], first["stage"], first["weights"]) == (0, "base", pytest.approx(PRIOR))
    steps = made["steps"]["stages"]
    turn = get(path, token=made["stages"][1]["start_token"])
    assert turn["step"] == steps[1]["first_step"] == 500
    assert (turn["stage"], turn["batch_tokens"]) == ("drop", 250_000)
    assert turn["weights"] == {"web": 0.0, "code": 0.0, "math": 1.0}
    last = get(path, token=made["steps"]["tokens"] - 1)
    assert last["step"] == made["steps"]["count"] - 1
    assert 1e6 < last["batch_tokens"] <= 2e6
    assert last["batch_tokens"] % 1000 == 0
    assert last["learning_rate"] == 3e-4
    beyond = get(path, token=made["steps"]["tokens"])
    assert (beyond["step"], beyond["stage"]) == (None, "ramp-up")
    assert pointers(get(path, 422, token=1e9)) == ["/token"]
    get(path, 422, token=-1)
    get(path, 422, token="nan")


@pytest.mark.parametrize("planner", sorted(set(PLANNERS) - {"regmix_d"}))
def test_every_schedule_has_a_page(client, plan, planner):
    made = plan(planner, **NEEDED.get(planner, {}))
    page = client.get(f"/v1/schedules/{made['id']}/report")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for stage in made["stages"]:
        assert stage["name"] in page.text
    assert client.get("/v1/schedules/sch_0/report").status_code == 404


def test_an_average_of_more_checkpoints_than_steps_is_refused(plan):
    options = {"share": 0.01, "average": 10}
    assert pointers(plan("anneal", 422, options=options)) == ["/options"]
    made = plan("anneal", options={**options, "average": 2})
    steps = [one["steps"] for one in made["steps"]["stages"][1]["averaged"]]
    assert steps == [999, 1000]


def test_a_domain_that_repeats_costs_more_than_the_same_tokens_spread_out(client, plan, get):
    budget = {**BUDGET, "tokens": 6e11, "batch_tokens": 1e8}

    def cost(**weights):
        made = plan(budget=budget, weights={**dict.fromkeys(PRIOR, 0.0), **weights})
        return get(f"schedules/{made['id']}/repetition", parameters=1e9)

    spread, narrow = cost(web=0.6, code=0.3, math=0.1), cost(web=0.5, math=0.5)
    assert spread["cost"] == pytest.approx(0, abs=1e-12)
    assert spread["loss_if_fresh"] == narrow["loss_if_fresh"]
    assert narrow["unique_tokens"] == pytest.approx(4e11)
    assert narrow["effective_tokens"] < 6e11
    assert narrow["cost"] > 0.0005
    assert "fitted to C4" in narrow["law"]
    domains = [{"name": "web", "tokens": 1e12}, {"name": "code"}]
    unsized = [{**domain, "prior": 0.5} for domain in domains]
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "unsized", "domains": unsized})
    made = plan(to="unsized")
    answer = get(f"schedules/{made['id']}/repetition", 409, parameters=1e9)
    assert "does not say the tokens of code" in answer["detail"]
    get(f"schedules/{made['id']}/repetition", 422, parameters=0)
    get("schedules/sch_0/repetition", 404, parameters=1e9)


# What is refused


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"planner": "magic"}, "/planner"),
        ({"budget": {**BUDGET, "tokens": 1e5}}, "/budget/tokens"),
        ({"budget": {**BUDGET, "batch_tokens": 100}}, "/budget/batch_tokens"),
        ({"budget": {**BUDGET, "batch_multiple": 2000}}, "/budget/batch_tokens"),
        ({"budget": {**BUDGET, "peak_learning_rate": 0}}, "/budget/peak_learning_rate"),
        ({"budget": {**BUDGET, "epochs": 3}}, "/budget/epochs"),
        ({"options": {"speed": 1}}, "/options/speed"),
        ({"options": {"rate": "square"}}, "/options/rate"),
        ({"options": {"rate": "wsd", "warmup": 0.5, "decay": 0.9}}, "/options/decay"),
        ({"weights": {"web": 0.5, "code": 0.5}}, "/weights/math"),
        ({"weights": {"web": 0.5, "code": 0.5, "math": 0.5}}, "/weights"),
        ({"recommendation": "rec_0"}, "/recommendation"),
        ({"recommendation": "rec_0", "weights": PRIOR}, "/weights"),
        ({"planner": "upsample_end", "options": {"utilities": {"law": 1}}}, "/options/utilities"),
        ({"planner": "anneal", "options": {"anneal_weights": {"web": 0.5}}},
         "/options/anneal_weights"),
        ({"planner": "anneal", "budget": {**BUDGET, "tokens": 2e6}}, "/budget/tokens"),
        ({"planner": "continual"}, "/options/new_weights"),
        ({"planner": "continual", "options": {"new_weights": {"math": 1.0}}}, "/options/share"),
        (
            {"planner": "drop_stable_rampup", "options": {"drop": 0.5, "final": 0.5}},
            "/options/final",
        ),
        ({"planner": "frames"}, "/documents"),
        ({"planner": "regmix_d", "weights": PRIOR}, "/weights"),
        ({"planner": "regmix_d", "options": {"ends": [1.0]}}, "/options/ends/0"),
        ({"planner": "regmix_d", "options": {"ends": [0.5]}}, "/options/ends"),
        ({"planner": "regmix_d", "options": {"ends": [2]}}, "/options/ends"),
        ({"planner": "regmix_d", "options": {"ends": []}}, "/options/ends"),
        ({"planner": "regmix_d", "options": {"surrogate": "magic"}}, "/options/surrogate"),
        ({"planner": "regmix_d", "options": {"ends": [0.0012, 1.0]},
          "budget": {**BUDGET, "batch_tokens": 1e8}}, "/budget/tokens"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(plan, wrong, at):
    answer = plan(**{"status": 422, **wrong})
    assert pointers(answer) == [at]
    assert all(error["detail"] for error in answer["errors"])


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({"domain": ["web", "law"]}, "/documents/domain/1"),
        ({"tokens": [1.0]}, "/documents/tokens"),
        ({"tokens": [1.0, 0.0]}, "/documents/tokens/1"),
        ({"columns": {"perplexity_strong": [1.0]}}, "/documents/columns/perplexity_strong"),
        ({"columns": {}}, "/options/strong"),
        ({"columns": {"perplexity_strong": [1.0, None]}}, "/documents"),
        ({"columns": {"perplexity_strong": [1.0, -2.0]}}, "/documents"),
        ({"columns": {"perplexity_strong": [9.0, 9.0]}}, "/documents"),
        (
            {"columns": {"perplexity_strong": [3.0, 3.0], "perplexity_weak": [4.0, 4.0]}},
            "/documents",
        ),
    ],
)
def test_documents_that_cannot_be_split_are_refused(plan, changed, at):
    right = {
        "domain": ["web", "code"],
        "tokens": [1.0, 1.0],
        "columns": {"perplexity_strong": [2.0, 3.0], "perplexity_weak": [4.0, 5.0]},
    }
    sent = {**right, **changed}
    if changed.get("columns"):
        sent["columns"] = {**right["columns"], **changed["columns"]}
    assert at in pointers(plan("frames", 422, documents=sent))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_perplexity_that_is_no_number_is_refused(client, study, number):
    body = json.dumps({"planner": "frames", "budget": BUDGET, "documents": documents(8)})
    sent = json.loads(body)
    sent["documents"]["columns"]["perplexity_weak"][3] = 0.125
    body = json.dumps(sent).replace("0.125", number)
    response = client.post(
        f"/v1/studies/{study}/schedules", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert pointers(response.json()) == ["/documents/columns/perplexity_weak/3"]


def test_too_many_equal_scores_are_refused(plan):
    equal = documents(100, quality=[1.0] * 100)
    assert pointers(plan("quality_curriculum", 422, documents=equal)) == ["/options/buckets"]


def test_two_hundred_thousand_documents_are_taken(plan):
    made = plan("quality_curriculum", documents=documents(200_000))
    assert made["provenance"]["documents"]["count"] == 200_000
    tokens = [stage["end_token"] - stage["start_token"] for stage in made["stages"]]
    assert max(tokens) - min(tokens) <= 2e6


def test_documents_in_other_proportions_than_the_mixture_are_told(plan):
    made = plan("frames", documents=documents(), weights={"web": 0.1, "code": 0.1, "math": 0.8})
    assert any("those of the documents" in one for one in made["warnings"])
    assert not any(
        "those of the documents" in one
        for one in plan("frames", documents=documents(4000))["warnings"]
    )


def test_caps_that_only_the_sum_breaks_are_refused_with_what_would_do(client, plan):
    limit = {"repetition": {"target_tokens": 1e11, "max_epochs": 1}}
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "capped", "constraints": limit})
    budget = {**BUDGET, "tokens": 3e11, "batch_tokens": 1e8}
    options = {"share": 0.5, "anneal_weights": {"web": 0.4, "math": 0.6}}  # 0.9 epochs by itself
    answer = plan("anneal", 422, to="capped", budget=budget, options=options)
    assert pointers(answer) == ["/budget/tokens"]
    assert "'math' 1.05 times and 1 are allowed; train on at most 2.857e+11" in answer["detail"]
    plan("anneal", to="capped", budget={**budget, "tokens": 2.85e11}, options=options)


def test_bounds_and_linear_constraints_hold_for_the_sum_over_stages(client, plan):
    domains = [{**domain, "upper": 0.6} for domain in SMALL_STUDY["domains"]]
    linear = [{"coefficients": {"code": 1, "math": 1}, "upper": 0.5}]
    body = {**SMALL_STUDY, "name": "bound", "domains": domains, "constraints": {"linear": linear}}
    assert client.post("/v1/studies", json=body).status_code == 201
    options = {"share": 0.2, "anneal_weights": {"math": 1.0}}
    made = plan("anneal", to="bound", options={**options, "share": 0.1})
    assert made["effective_weights"]["math"] == pytest.approx(0.19)
    answer = plan("anneal", 422, to="bound", options=options)
    assert pointers(answer) == ["/options"]
    assert "linear constraint 0 must be at most 0.5, it is 0.52" in answer["detail"]


def test_unimax_is_even_up_to_the_cap_whatever_was_recommended(plan, recommendation):
    budget = {**BUDGET, "tokens": 6e11, "batch_tokens": 1e8}
    options = {"shares": "unimax", "max_epochs": 1.5, "rate": "wsd"}
    made = plan(budget=budget, options=options)
    assert all(stage["weights"] == made["effective_weights"] for stage in made["stages"])
    assert made["effective_weights"] == pytest.approx({"web": 0.375, "code": 0.375, "math": 0.25})
    assert made["epochs"]["math"] == pytest.approx(1.5)
    assert made["provenance"]["weights"] == "unimax"
    for sent in ({"weights": PRIOR}, {"recommendation": recommendation}):
        answer = plan(status=422, options=options, **sent)
        assert pointers(answer) == [f"/{next(iter(sent))}"]


def test_unimax_needs_a_cap_and_the_tokens_of_every_domain_and_keeps_bounds(client, plan):
    even = {"shares": "unimax", "max_epochs": 4}
    assert pointers(plan(status=422, options={"shares": "unimax"})) == ["/options/max_epochs"]
    assert pointers(plan(status=422, options={"max_epochs": 4})) == ["/options/max_epochs"]
    web, code, math = ({"prior": 1 / 3, **one} for one in SMALL_STUDY["domains"])
    unsized = {"name": "code", "prior": 1 / 3}
    body = {**SMALL_STUDY, "name": "unknown", "domains": [web, unsized, math]}
    assert client.post("/v1/studies", json=body).status_code == 201
    answer = plan(status=422, to="unknown", options=even)
    assert pointers(answer) == ["/options/shares"]
    assert "does not say those of code" in answer["detail"]
    body = {**SMALL_STUDY, "name": "bound", "domains": [web, code, {**math, "lower": 0.5}]}
    assert client.post("/v1/studies", json=body).status_code == 201
    answer = plan(status=422, to="bound", options=even)
    assert "domain 'math' must be at least 0.5, it is 0.333333" in answer["detail"]


def test_a_cap_of_the_study_holds_for_unimax_with_a_wider_one(client, plan):
    limit = {"repetition": {"target_tokens": 1e11, "max_epochs": 1}}
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "capped", "constraints": limit})
    budget = {**BUDGET, "tokens": 6e11, "batch_tokens": 1e8}
    even = {"shares": "unimax"}
    made = plan(to="capped", budget=budget, options=even)
    assert max(made["epochs"].values()) == pytest.approx(1.0)
    answer = plan(status=422, to="capped", budget=budget, options={**even, "max_epochs": 2})
    assert pointers(answer) == ["/budget/tokens"]
    assert "'math' 2 times and 1 are allowed" in answer["detail"]


def test_a_recommendation_of_another_study_or_one_that_is_not_done_is_refused(
    client, plan, recommendation
):
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"})
    answer = plan(status=422, to="other", recommendation=recommendation)
    assert pointers(answer) == ["/recommendation"]
    asked = client.post("/v1/studies/other/recommendations", json={"surrogate": "linear"}).json()
    plan(status=409, to="other", recommendation=asked["id"])


# RegMix-D


def curve_runs(count=24, seed=0):
    """Runs whose early loss wants the web, and whose late loss wants mathematics."""
    runs = made_up_runs(count, seed=seed)
    for index, run in enumerate(runs):
        web, math = run["weights"]["web"], run["weights"]["math"]
        run["external_id"] = f"r{index}"
        run["metrics"] = {"loss/web": 3 - math, "loss/code": 2 - math}
        run["points"] = [
            {"tokens": 1e6 * (part + 1), "metrics": {"loss/web": 5 - web, "loss/code": 4 - web}}
            for part in range(5)
        ]
    return runs


@pytest.fixture
def runs_with_curves(client, study):
    def store(without=()):
        for index, run in enumerate(curve_runs()):
            points = run.pop("points")
            made = client.post(f"/v1/studies/{study}/runs", json=run).json()["id"]
            if index not in without:
                sent = [*points, {"tokens": 1e7, "metrics": run["metrics"]}]
                client.post(f"/v1/runs/{made}/points", json={"points": sent})

    return store


def test_regmix_d_is_planned_by_a_worker_from_loss_curves(
    client, study, runs_with_curves, work, get
):
    runs_with_curves(without=(3,))
    body = {
        "planner": "regmix_d",
        "budget": BUDGET,
        "options": {"surrogate": "linear", "method": "exact", "ends": [0.4, 1.0]},
    }
    response = client.post(f"/v1/studies/{study}/schedules", json=body)
    assert response.status_code == 202
    made = response.json()
    assert response.headers["location"] == f"/v1/schedules/{made['id']}"
    assert (made["state"], made["stages"], made["digest"]) == ("queued", None, None)
    get(f"schedules/{made['id']}/at", 409, token=0)
    work()
    done = get(f"schedules/{made['id']}", wait=10)
    assert (done["state"], done["progress"]) == ("succeeded", 1.0)
    early, late = done["stages"]
    assert early["end_token"] == 4e8
    assert early["weights"]["web"] == pytest.approx(1.0, abs=1e-6)
    assert late["weights"]["math"] == pytest.approx(1.0, abs=1e-6)
    assert any("1 of 24 runs" in one for one in done["warnings"])
    assert len(done["provenance"]["runs_digest"]) == 64


def test_the_evidence_of_regmix_d_is_what_a_training_online_needs(
    client, plan, runs_with_curves, work, get
):
    runs_with_curves()
    options = {"surrogate": "linear", "method": "exact", "ends": [0.4, 1.0]}
    made = plan("regmix_d", 202, options=options)
    work()
    schedule = get(f"schedules/{made['id']}", wait=10)
    stages = schedule["evidence"]["stages"]
    assert [one["weights"] for one in stages] == [one["weights"] for one in schedule["stages"]]
    early, late = (one["losses"] for one in stages)
    assert early == pytest.approx({"loss/web": 4.0, "loss/code": 3.0}, abs=1e-6)
    assert late == pytest.approx({"loss/web": 2.0, "loss/code": 1.0}, abs=1e-6)

    body = {"name": "7b", "domains": list(PRIOR), "algorithm": "regmix_d"}
    answer = client.post("/v1/trainings", json={**body, "options": {"stages": stages}})
    assert answer.status_code == 201, answer.text
    path = f"/v1/trainings/{answer.json()['id']}"
    for step, losses, wanted in ((100, early, stages[0]), (3000, late, stages[1])):
        for ahead in range(0, 2000, 100):
            told = {"step": step + ahead, "scores": losses}
            seen = client.post(f"{path}/observations", json=told)
            assert seen.status_code < 300, seen.text
        weights = client.get(f"{path}/weights").json()["weights"]
        assert weights == pytest.approx(wanted["weights"], abs=1e-3)  # trainings have a floor


def test_runs_without_points_around_every_end_may_still_be_fitted_separately(client, plan):
    whole = [{**one, "tokens": 1e7} for one in SMALL_STUDY["fidelities"]]
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "whole", "fidelities": whole})
    for index, run in enumerate(curve_runs()):
        points = run.pop("points")
        made = client.post("/v1/studies/whole/runs", json=run).json()["id"]
        sent = [{**one, "tokens": one["tokens"] + 5e6} for one in points] if index % 2 else points
        client.post(f"/v1/runs/{made}/points", json={"points": sent})
    options = {"surrogate": "linear", "ends": [0.3, 0.9, 1.0]}
    answer = plan("regmix_d", 422, to="whole", options=options)
    assert pointers(answer) == ["/options/fits"]
    assert "0 of 24 runs have points on both sides of every end" in answer["detail"]
    plan("regmix_d", 202, to="whole", options={**options, "fits": "separate"})


def test_curve_points_that_are_missing_are_named(plan, runs_with_curves):
    runs_with_curves(without=range(22))
    options = {"surrogate": "linear", "ends": [0.4, 1.0]}
    answer = plan("regmix_d", 422, options=options)
    assert pointers(answer) == ["/options/ends/0"]
    assert "2 of 24 runs have points on both sides of 0.4" in answer["detail"]
    assert "'linear' needs 4" in answer["detail"]


def test_a_worker_that_cannot_plan_says_why(client, plan, work, get, runs_with_curves, study):
    runs_with_curves()
    made = plan("regmix_d", 202, options={"surrogate": "linear", "ends": [0.4, 1.0]})
    client.patch(
        f"/v1/studies/{study}",
        json={"constraints": {"repetition": {"target_tokens": 1e6, "max_epochs": 1e-5}}},
    )
    work()
    failed = get(f"schedules/{made['id']}")
    assert failed["state"] == "failed"
    assert pointers(failed["error"]) == ["/budget/tokens"]
    get(f"schedules/{made['id']}/at", 409, token=0)


def test_a_curriculum_goes_inside_an_anneal(plan, get):
    around = plan("anneal", options={"share": 0.4})
    within = {"schedule": around["id"], "begin": 6e8}
    options = {"column": "quality", "buckets": 2, "rate": "averaging"}
    found = plan("quality_curriculum", within=within, options=options, documents=documents())
    names = [stage["name"] for stage in found["stages"]]
    assert names == ["stable", "quality 1 of 2, anneal", "quality 2 of 2, anneal"]
    assert found["budget"] == around["budget"]
    assert not any("'anneal'" in text or "of 2'" in text for text in found["warnings"])
    for token in (1e8, 7e8, 9.9e8):
        rates = [get(f"schedules/{one['id']}/at", token=token) for one in (around, found)]
        assert rates[0]["learning_rate"] == rates[1]["learning_rate"]
    assert sum(found["effective_weights"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"within": {"schedule": "sch_none", "begin": 1e8}}, "/within/schedule"),
        ({"begin": 1e9}, "/within/begin"),
        ({"budget": {**BUDGET, "tokens": 2e9}}, "/budget"),
        ({"planner": "regmix_d"}, "/within"),
    ],
)
def test_a_place_inside_another_schedule_that_is_none_is_named(plan, changed, pointer):
    around = plan("anneal")["id"]
    within = {"schedule": around, "begin": changed.get("begin", 5e8)}
    asked = {"planner": "static", "within": within, **changed}
    asked.pop("begin", None)
    assert pointer in pointers(plan(status=422, **asked))


def test_a_study_of_sampling_functions_is_refused(client):
    domains = [{"name": name, "tokens": 1e9} for name in ("web", "code")]
    study = {
        "name": "quality",
        "domains": domains,
        "metrics": [{"name": "loss"}],
        "fidelities": [{"name": "1m"}],
        "space": {"kind": "quadmix", "raters": ["edu"]},
    }
    assert client.post("/v1/studies", json=study).status_code == 201
    answer = client.post(
        "/v1/studies/quality/schedules", json={"planner": "static", "budget": BUDGET}
    )
    assert answer.status_code == 409
    assert "mixtures of domains" in answer.json()["detail"]
