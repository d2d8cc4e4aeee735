import hashlib
import json

import pytest
from small_study import SMALL_RUN, SMALL_STUDY, made_up_runs
from sqlalchemy import event

DOMAINS = ("web", "code", "math")
POOL = [
    {"web": 0.2, "code": 0.2, "math": 0.6},
    {"web": 0.5, "code": 0.4, "math": 0.1},
    {"web": 0.1, "code": 0.1, "math": 0.8},
]


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


@pytest.fixture
def ask(client, study):
    def post(headers=None, **body):
        body = {"surrogate": "linear", "candidates": 2000, "top_k": 20, **body}
        return client.post(f"/v1/studies/{study}/recommendations", json=body, headers=headers)

    return post


@pytest.fixture
def fit(client, study, store_runs, work):
    """The id of a fit of 40 runs."""
    store_runs(made_up_runs(40))
    response = client.post(f"/v1/studies/{study}/fits", json={"surrogate": "linear"})
    work()
    return response.json()["id"]


@pytest.fixture
def get(client):
    def read(identity):
        response = client.get(f"/v1/recommendations/{identity}")
        assert response.status_code == 200, response.text
        return response.json()

    return read


@pytest.fixture
def recommend(ask, work, get):
    """Asks for a recommendation and has it made."""

    def ask_and_work(**body):
        response = ask(**body)
        assert response.status_code == 202, response.text
        work()
        return get(response.json()["id"])

    return ask_and_work


def assert_is_mixture(weights):
    assert set(weights) == set(DOMAINS)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    assert min(weights.values()) >= 0


class TestCreate:
    def test_is_accepted_with_the_fit_it_needs(self, client, ask, store_runs, rung):
        store_runs(made_up_runs(40))
        response = ask(seed=7)
        assert response.status_code == 202
        made = response.json()
        assert response.headers["location"] == f"/v1/recommendations/{made['id']}"
        assert (made["state"], made["weights"], made["digest"]) == ("queued", None, None)
        fit = client.get(f"/v1/fits/{made['fit']}").json()
        assert (fit["state"], fit["surrogate"], fit["seed"]) == ("queued", "linear", 7)
        assert len(rung) == 1  # for the fit: the recommendation has to wait

    def test_a_fit_of_the_very_same_runs_is_used_again(self, ask, fit):
        assert ask().json()["fit"] == fit

    @pytest.mark.parametrize("change", [{"seed": 1}, {"surrogate": "share_power"}])
    def test_another_seed_or_surrogate_is_another_fit(self, ask, fit, change):
        assert ask(**change).json()["fit"] != fit

    def test_a_new_run_is_a_new_fit(self, ask, fit, store_runs):
        store_runs([SMALL_RUN])
        assert ask().json()["fit"] != fit

    def test_one_run_for_another_is_a_new_fit(self, client, study, ask, fit, store_runs):
        run = client.get(f"/v1/studies/{study}/runs").json()["items"][0]["id"]
        client.post(f"/v1/runs/{run}/retract", json={"reason": "crashed"})
        store_runs([SMALL_RUN])
        assert ask().json()["fit"] != fit

    def test_another_objective_is_a_new_fit(self, client, study, ask, fit):
        client.patch(f"/v1/studies/{study}", json={"objective": {"loss/web": 1.0}})
        assert ask().json()["fit"] != fit

    def test_the_same_key_asks_once(self, client, study, ask, fit):
        first, again = (ask(headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert again.json() == first.json()
        assert len(client.get(f"/v1/studies/{study}/recommendations").json()["items"]) == 1

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"method": "magic"}, "/method"),
            ({"method": "pool"}, "/pool"),
            ({"method": "exact", "pool": POOL}, "/pool"),
            ({"method": "pool", "pool": []}, "/pool"),
            ({"method": "pool", "pool": [*POOL, {"web": 1.0}]}, "/pool/3/code"),
            ({"method": "pool", "pool": [{"web": 0.9, "code": 0.2, "math": 0.1}]}, "/pool/0"),
            ({"candidates": 0}, "/candidates"),
            ({"candidates": 10, "top_k": 11}, "/top_k"),
            ({"kl_to_prior": -1.0}, "/kl_to_prior"),
            ({"surrogate": "magic"}, "/surrogate"),
            ({"fit": "fit_0"}, "/fit"),
            ({"seed": -1}, "/seed"),
            ({"colour": "red"}, "/colour"),
        ],
    )
    def test_a_wrong_request_is_refused(self, ask, body, pointer):
        assert problem(ask(**body), 422)["errors"][0]["pointer"] == pointer

    def test_a_fit_of_another_study_is_refused(self, client, fit):
        other = client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"}).json()["id"]
        response = client.post(f"/v1/studies/{other}/recommendations", json={"fit": fit})
        body = problem(response, 422)
        assert "not a fit of this study" in body["detail"]

    def test_a_surrogate_other_than_the_fits_is_refused(self, ask, fit):
        body = problem(ask(fit=fit, surrogate="log_linear"), 422)
        assert body["errors"][0]["pointer"] == "/surrogate"

    def test_a_failed_fit_is_a_conflict_that_says_why(self, client, study, ask, work):
        failed = client.post(f"/v1/studies/{study}/fits", json={"surrogate": "linear"}).json()["id"]
        work()
        assert "needs" in problem(ask(fit=failed), 409)["detail"]

    def test_a_cancelled_fit_is_a_conflict(self, client, study, ask):
        fit = client.post(f"/v1/studies/{study}/fits", json={"surrogate": "linear"}).json()["id"]
        client.post(f"/v1/fits/{fit}/cancel")
        assert "cancelled" in problem(ask(fit=fit), 409)["detail"]


class TestWork:
    @pytest.mark.parametrize("method", ["regmix", "exact", "best_observed"])
    def test_recommends_by_every_method(self, recommend, fit, method):
        made = recommend(method=method)
        assert made["state"] == "succeeded", made["error"]
        assert_is_mixture(made["weights"])
        assert (made["method"], made["feasible"], made["fit"]) == (method, True, fit)
        assert made["objective"]["lower"] <= made["objective"]["mean"] <= made["objective"]["upper"]
        assert set(made["metrics"]) == {"loss/web", "loss/code"}
        assert set(made["baselines"]) == {"prior", "uniform", "best_observed"}
        assert_is_mixture(made["baselines"]["prior"]["weights"])
        assert set(made["epochs"]) == set(DOMAINS)
        assert (made["runs_used"], made["runs_available"]) == (40, 40)
        assert made["ranking"] is None

    def test_exact_finds_what_the_law_says(self, recommend, fit):
        weights = recommend(method="exact")["weights"]
        assert weights["math"] == pytest.approx(0, abs=0.01)  # it helps neither metric

    def test_a_pool_is_ranked(self, recommend, fit):
        made = recommend(method="pool", pool=POOL)
        assert [place["index"] for place in made["ranking"]] == [1, 0, 2]
        assert made["weights"] == pytest.approx(POOL[1])
        assert made["ranking"][0]["objective"] == pytest.approx(made["objective"])

    def test_constraints_hold(self, client, study, recommend, fit):
        domains = [
            {"name": "web", "tokens": 6e11, "upper": 0.3},
            {"name": "code", "tokens": 3e11, "upper": 0.4},
            {"name": "math", "tokens": 1e11},
        ]
        patched = client.patch(f"/v1/studies/{study}", json={"domains": domains})
        assert patched.status_code == 200, patched.text
        made = recommend(method="exact", fit=fit)
        assert made["weights"]["web"] <= 0.3 + 1e-9
        assert made["weights"]["code"] <= 0.4 + 1e-9
        assert made["active_constraints"]
        assert made["provenance"]["study_version"] == 2

    def test_provenance_and_digest_are_those_of_the_content(self, recommend, fit):
        made = recommend(seed=0)
        provenance = made["provenance"]
        assert (provenance["fit"], provenance["seed"]) == (fit, 0)
        assert len(provenance["runs_digest"]) == 64
        content = {name: made[name] for name in DIGESTED}
        content["provenance"] = {k: v for k, v in provenance.items() if k != "fit"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        assert made["digest"] == hashlib.sha256(text.encode()).hexdigest()

    def test_equal_inputs_give_equal_digests_and_other_seeds_others(self, recommend, fit):
        first, again = recommend(fit=fit, seed=3), recommend(fit=fit, seed=3)
        assert first["id"] != again["id"]
        assert first["digest"] == again["digest"]
        assert first["weights"] == again["weights"]
        assert recommend(fit=fit, seed=4)["digest"] != first["digest"]

    def test_is_made_after_its_fit(self, ask, store_runs, work, get):
        store_runs(made_up_runs(40))
        identity = ask().json()["id"]
        work()
        assert get(identity)["state"] == "succeeded"

    def test_fails_with_its_fit_and_says_why(self, client, study, ask, work, get):
        identity = ask().json()["id"]
        work()
        made = get(identity)
        assert made["state"] == "failed"
        assert "the fit it was to use failed" in made["error"]["detail"]
        assert "needs" in made["error"]["detail"]

    def test_fails_where_the_objective_has_changed_since_the_fit(
        self, client, study, recommend, fit
    ):
        client.patch(f"/v1/studies/{study}", json={"objective": {"loss/web": 1.0}})
        made = recommend(fit=fit)
        assert made["state"] == "failed"
        assert "fit again" in made["error"]["detail"]

    def test_never_changes_though_runs_arrive(self, recommend, fit, store_runs, get):
        made = recommend()
        store_runs(made_up_runs(5, seed=9))
        again = get(made["id"])
        assert (made["runs_available"], again["runs_available"]) == (40, 45)
        assert {**again, "runs_available": 40} == made


# What the digest covers, besides the provenance without the fit's id.
DIGESTED = (
    "method",
    "weights",
    "objective",
    "feasible",
    "inside_hull",
    "metrics",
    "baselines",
    "active_constraints",
    "epochs",
    "warnings",
    "runs_used",
)


class TestRead:
    def test_unknown_is_not_found(self, client, study):
        problem(client.get("/v1/recommendations/rec_0"), 404)

    def test_the_etag_saves_the_body(self, client, recommend, fit):
        path = f"/v1/recommendations/{recommend()['id']}"
        tag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304

    def test_waiting_ends_with_the_recommendation(self, client, recommend, fit):
        identity = recommend()["id"]
        response = client.get(f"/v1/recommendations/{identity}?wait=60")
        assert response.json()["state"] == "succeeded"

    def test_lists_in_pages(self, client, study, ask, fit):
        made = [ask(seed=seed).json()["id"] for seed in range(3)]
        page = client.get(f"/v1/studies/{study}/recommendations?limit=2").json()
        assert [item["id"] for item in page["items"]] == made[:2]
        path = f"/v1/studies/{study}/recommendations?cursor={page['next_cursor']}"
        rest = client.get(path).json()
        assert [item["id"] for item in rest["items"]] == made[2:]


class TestLatest:
    def test_is_the_newest_that_succeeded(self, client, study, recommend, ask, fit):
        recommend(fit=fit, seed=1)
        newest = recommend(fit=fit, seed=2)
        ask(fit=fit, seed=3)  # not made yet
        response = client.get(f"/v1/studies/{study}/recommendations/latest")
        assert response.json() == newest
        tag = response.headers["etag"]
        again = client.get(
            f"/v1/studies/{study}/recommendations/latest", headers={"If-None-Match": tag}
        )
        assert again.status_code == 304

    def test_none_is_not_found_and_says_of_what(self, client, study, ask):
        ask()
        body = problem(client.get(f"/v1/studies/{study}/recommendations/latest"), 404)
        assert "recommendation" in body["detail"]

    def test_reads_no_run(self, client, study, recommend, fit, sessions):
        recommend()
        statements = []
        engine = sessions.kw["bind"]
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
        client.get(f"/v1/studies/{study}/recommendations/latest")
        assert statements
        assert not any("FROM runs" in statement for statement in statements)


class TestReport:
    def test_is_one_page_with_the_recommended_weights(self, client, recommend, fit):
        made = recommend()
        response = client.get(f"/v1/recommendations/{made['id']}/report")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/html")
        assert all(name in response.text for name in DOMAINS)
        assert made["id"] in response.text

    def test_of_one_that_is_not_done_is_a_conflict(self, client, ask, fit):
        identity = ask().json()["id"]
        problem(client.get(f"/v1/recommendations/{identity}/report"), 409)
