"""Studies of other spaces than that of mixtures, over HTTP."""

import copy
import csv
import io

import numpy as np
import pytest
from small_study import SMALL_STUDY
from space_studies import POINTS, QUADMIX_STUDY, STUDIES, THETA, planted_loss


@pytest.fixture(params=sorted(STUDIES))
def kind(request):
    return request.param


@pytest.fixture
def create(client):
    def create(document):
        response = client.post("/v1/studies", json=document)
        assert response.status_code == 201, response.text
        return response.json()

    return create


@pytest.fixture
def post(client):
    def post(path, body, status=None):
        response = client.post(path, json=body)
        assert status is None or response.status_code == status, response.text
        return response.json()

    return post


def run_of(parameters, **fields):
    loss = float(planted_loss(parameters))
    return {"fidelity": "1m", "parameters": parameters, "metrics": {"loss": loss}, **fields}


def ask_and_tell(post, study, count, **asked):
    """Ask for proposals and complete them with the planted loss."""
    found = post(f"/v1/studies/{study}/proposals", {"count": count, **asked}, 201)
    for run in found["items"]:
        result = {
            "lease_token": run["lease"]["token"],
            "metrics": {"loss": float(planted_loss(run["parameters"]))},
            "realised_tokens": {"web": 1e6, "code": 2e6},
        }
        ended = post(f"/v1/runs/{run['id']}/complete", result, 200)
        assert ended["parameters"] == run["parameters"]
        assert ended["weights"] is None
    return found


def pointers(answer):
    return {error["pointer"] for error in answer["errors"]}


def test_a_study_says_what_its_space_is(create, client, kind):
    study = create(STUDIES[kind])
    assert study["space"]["raters"] == STUDIES[kind]["space"]["raters"]
    if kind == "quadmix":
        assert study["space"]["steepness"] == "linear"
        limits = {"lambda": 1000.0, "omega": 0.1, "eta": 1.0, "epsilon": 0.001}
        assert study["space"]["limits"] == limits
    assert create(SMALL_STUDY)["space"] == {"kind": "mixture"}


def test_the_whole_loop(create, post, client, work, kind):
    """Swarm, fit, predict, recommend: what is recommended is better than the best run."""
    study = create(STUDIES[kind])["id"]
    ask_and_tell(post, study, 96)
    runs = client.get(f"/v1/studies/{study}/runs", params={"limit": 200}).json()["items"]
    best = min(run["metrics"]["loss"] for run in runs)
    fit = post(f"/v1/studies/{study}/fits", {"surrogate": "gp"}, 202)["id"]
    work()
    found = client.get(f"/v1/fits/{fit}").json()
    assert found["state"] == "succeeded", found["error"]
    assert found["objective"]["spearman"] > 0.8
    predicted = post(f"/v1/fits/{fit}/predict", {"parameters": [POINTS[kind]]}, 200)
    [point] = predicted["predictions"]
    assert abs(point["objective"]["mean"] - planted_loss(POINTS[kind])) < 0.2
    methods = {"quadmix": ["regmix", "evolve"], "meta_rater": ["regmix", "exact"]}[kind]
    for method in [*methods, "best_observed", "pool"]:
        asked = {"fit": fit, "method": method, "candidates": 5000}
        if method == "pool":
            asked["pool"] = [run["parameters"] for run in runs[:5]]
        rec = post(f"/v1/studies/{study}/recommendations", asked, 202)["id"]
        work()
        rec = client.get(f"/v1/recommendations/{rec}").json()
        assert rec["state"] == "succeeded", rec["error"]
        assert rec["weights"] is None
        assert rec["feasible"]
        assert rec["epochs"] == {}
        assert all("weights" not in one for one in rec["baselines"].values())
        if method in ("regmix", "evolve"):
            assert planted_loss(rec["parameters"]) < best
        if method == "best_observed":
            assert planted_loss(rec["parameters"]) == pytest.approx(best)
            assert rec["parameters"] in [run["parameters"] for run in runs]
    assert set(rec["baselines"]) == {
        "best_observed",
        {"quadmix": "sampler_mean", "meta_rater": "uniform"}[kind],
    }
    export = client.get(f"/v1/recommendations/{rec['id']}/export", params={"format": "json"})
    assert export.status_code == 409
    assert "sampling-functions" in export.json()["detail"]
    export = client.get(f"/v1/runs/{runs[0]['id']}/export", params={"format": "json"})
    assert export.status_code == 409


def test_what_parameters_select_is_told_before_anything_is_trained(create, post, client):
    create(QUADMIX_STUDY)
    (run,) = post("/v1/studies/quality/proposals", {"count": 1}, 201)["items"]
    ranks, tokens = (np.arange(10**6) + 0.5) / 10**6, {"web": 6e9, "code": 3e9}
    for name, theta in run["parameters"].items():
        size, omega, eta, epsilon = (theta[one] for one in ("lambda", "omega", "eta", "epsilon"))
        copies = (2 / (1 + np.exp(np.minimum(-size * (omega - ranks), 700)))) ** eta
        expected = np.where(ranks <= omega, copies, 0) + epsilon
        selected = tokens[name] * expected.mean()
        distinct = tokens[name] * np.minimum(expected, 1).mean()
        assert run["selects"]["tokens"][name] == pytest.approx(selected, rel=1e-4)
        assert run["selects"]["repetitions"][name] == pytest.approx(selected / distinct, rel=1e-4)
    told = run["selects"]
    assert told["expected_tokens"] == pytest.approx(sum(told["tokens"].values()))
    shares = [told["tokens"][name] / told["expected_tokens"] for name in tokens]
    assert list(told["mixture"].values()) == pytest.approx(shares)
    assert client.get(f"/v1/runs/{run['id']}").json()["selects"] == told


def test_without_tokens_or_a_threshold_nobody_knows_what_is_selected(create, post):
    domains = [{"name": "web", "tokens": 6e9}, {"name": "code"}]
    for document in (QUADMIX_STUDY | {"domains": domains}, STUDIES["meta_rater"], SMALL_STUDY):
        name = create(document)["name"]
        (run,) = post(f"/v1/studies/{name}/proposals", {"count": 1}, 201)["items"]
        assert run["selects"] is None


def test_bayesian_optimisation(create, post, client, worker, kind):
    study = create(STUDIES[kind])["id"]
    asked = {"strategy": "bayesopt", "wait": 60}
    ask_and_tell(post, study, 4, **asked)
    for _ in range(3):
        found = ask_and_tell(post, study, 2, **asked)
    found = post(f"/v1/studies/{study}/proposals", {"count": 0, **asked}, 201)
    recommended = found["recommendation"]
    assert recommended["weights"] is None
    runs = client.get(f"/v1/studies/{study}/runs").json()["items"]
    first = [run["metrics"]["loss"] for run in runs[:4]]
    assert planted_loss(recommended["parameters"]) < sum(first) / 4


def test_bayesian_optimisation_of_a_pool(create, post, client, kind):
    study = create(STUDIES[kind])["id"]
    items = post(f"/v1/studies/{study}/proposals", {"count": 12}, 201)["items"]
    pool = [{"parameters": one["parameters"], "fidelity": "1m"} for one in items]
    other = create({**STUDIES[kind], "name": "other"})["id"]
    seen = set()
    for _ in range(4):
        found = ask_and_tell(post, other, 2, strategy="bayesopt", pool=pool, wait=60)
        for run in found["items"]:
            assert run["parameters"] == pool[run["pool_index"]]["parameters"]
            assert run["pool_index"] not in seen
            seen.add(run["pool_index"])
    assert found["recommendation"]["parameters"] in [one["parameters"] for one in pool]
    swarm = ask_and_tell(post, other, 4, pool=pool)
    assert seen.isdisjoint({run["pool_index"] for run in swarm["items"]})
    assert len(swarm["items"]) == 4


def test_what_is_posted_comes_back_digit_by_digit(create, post, client):
    study = create(QUADMIX_STUDY)["id"]
    theta = copy.deepcopy(THETA)
    theta["web"]["rater_weights"] = {"edu": 2, "noise": -1}
    assert pointers(post(f"/v1/studies/{study}/runs", run_of(theta), 422)) == {
        "/parameters/web/rater_weights/noise"
    }
    theta["web"]["rater_weights"] = {"edu": 0.333333, "noise": 0.667}  # made to sum to 1
    batch = {"runs": [run_of(THETA, external_id="a"), run_of(theta, external_id="b")]}
    assert post(f"/v1/studies/{study}/runs:batch", batch, 201)["created"] == 2
    assert post(f"/v1/studies/{study}/runs:batch", batch, 201)["created"] == 0
    first, second = client.get(f"/v1/studies/{study}/runs").json()["items"]
    assert first["parameters"] == THETA
    assert second["parameters"]["code"] == THETA["code"]
    assert sum(second["parameters"]["web"]["rater_weights"].values()) == pytest.approx(1, abs=1e-9)
    again = post(f"/v1/studies/{study}/runs", run_of(second["parameters"]), 201)
    assert again["parameters"] == second["parameters"]
    table = client.get(f"/v1/studies/{study}/runs.csv").text
    row = next(csv.DictReader(io.StringIO(table)))
    assert float(row["parameter:web/omega"]) == 0.05
    assert float(row["parameter:web/rater_weights/edu"]) == 0.5


@pytest.mark.parametrize(
    ("space", "wrong"),
    [
        ({"kind": "cloud"}, {"/space/kind"}),
        ({"kind": "quadmix"}, {"/space/raters"}),
        ({"kind": "quadmix", "raters": ["a", "b", "a"]}, {"/space/raters/2"}),
        (
            {"kind": "meta_rater", "raters": ["a"], "lower_is_better": ["b"]},
            {"/space/lower_is_better/0"},
        ),
        (
            {"kind": "meta_rater", "raters": ["a"], "steepness": "log", "limits": {"eta": 1}},
            {"/space/steepness", "/space/limits"},
        ),
        ({"kind": "mixture", "raters": ["a"]}, {"/space/raters"}),
        (
            {"kind": "quadmix", "raters": ["tokens", "a", "domain", "id"]},
            {"/space/raters/0", "/space/raters/2", "/space/raters/3"},
        ),
        ({"kind": "quadmix", "raters": ["a"], "limits": {"omega": 1.5}}, {"/space/limits/omega"}),
        ({"kind": "quadmix", "raters": ["a"], "limits": {"lambda": 1}}, {"/space/limits/lambda"}),
        ({"kind": "quadmix", "raters": ["a"], "limits": {"depth": 1}}, {"/space/limits/depth"}),
        ({"kind": "quadmix", "raters": ["a"], "steepness": "steep"}, {"/space/steepness"}),
    ],
)
def test_a_wrong_space_is_refused(client, space, wrong):
    answer = client.post("/v1/studies", json={**QUADMIX_STUDY, "space": space})
    assert answer.status_code == 422
    assert pointers(answer.json()) == wrong


def test_limits_on_shares_are_refused_where_shares_are_what_comes_out(client, kind):
    document = copy.deepcopy(STUDIES[kind])
    document["domains"][0].update(lower=0.1, upper=0.9)
    document["constraints"] = {
        "linear": [{"coefficients": {"web": 1}, "upper": 0.5}],
        "repetition": {"target_tokens": 1e9},
    }
    answer = client.post("/v1/studies", json=document)
    assert answer.status_code == 422
    assert pointers(answer.json()) == {
        "/domains/0/lower",
        "/domains/0/upper",
        "/constraints/linear",
        "/constraints/repetition",
    }


def test_the_space_stays_once_there_are_runs(create, client, post):
    study = create(QUADMIX_STUDY)["id"]
    other = {"kind": "quadmix", "raters": ["edu", "noise"], "limits": {"omega": 0.5}}
    changed = client.patch(f"/v1/studies/{study}", json={"space": other})
    assert changed.status_code == 200, changed.text
    assert changed.json()["space"]["limits"]["omega"] == 0.5
    post(f"/v1/studies/{study}/runs", run_of(THETA), 201)
    refused = client.patch(f"/v1/studies/{study}", json={"space": {**other, "limits": {}}})
    assert refused.status_code == 422
    assert pointers(refused.json()) == {"/space"}
    same = client.patch(f"/v1/studies/{study}", json={"space": other, "name": "renamed"})
    assert same.status_code == 200, same.text


def test_wrong_parameters_are_all_named(create, post, client):
    study = create(QUADMIX_STUDY)["id"]
    theta = copy.deepcopy(THETA)
    theta["web"].update(omega=-1, extra=2)
    del theta["web"]["eta"]
    theta["sea"] = theta.pop("code")
    assert pointers(
        post(f"/v1/studies/{study}/runs", run_of(THETA) | {"parameters": theta}, 422)
    ) == {
        "/parameters/web/omega",
        "/parameters/web/extra",
        "/parameters/web/eta",
        "/parameters/sea",
        "/parameters/code",
    }
    theta = copy.deepcopy(THETA)
    theta["web"].update({"lambda": 10**400})
    answer = post(f"/v1/studies/{study}/runs", run_of(THETA) | {"parameters": theta})
    assert "/parameters/web/lambda" in pointers(answer)


def test_numbers_beyond_what_is_searched_name_the_limit(create, post):
    study = create(QUADMIX_STUDY)["id"]
    theta = copy.deepcopy(THETA)
    theta["web"].update({"lambda": 1001, "omega": 0.2})
    answer = post(f"/v1/studies/{study}/runs", run_of(theta), 422)
    assert pointers(answer) == {"/parameters/web/lambda", "/parameters/web/omega"}
    assert "space.limits.lambda" in answer["detail"]


def test_each_space_has_its_own_field(create, post, client, kind):
    study, weights = create(STUDIES[kind])["id"], {"web": 0.5, "code": 0.5}
    run = {"fidelity": "1m", "metrics": {"loss": 1.0}}
    path = f"/v1/studies/{study}/runs"
    assert pointers(post(path, run, 422)) == {"/parameters"}
    assert pointers(post(path, {**run, "weights": weights}, 422)) == {"/parameters", "/weights"}
    both = {**run, "weights": weights, "parameters": POINTS[kind]}
    assert pointers(post(path, both, 422)) == {"/weights"}
    pool = [{"fidelity": "1m", "weights": weights}]
    asked = {"pool": pool, "strategy": "bayesopt"}
    assert pointers(post(f"/v1/studies/{study}/proposals", asked, 422)) == {
        "/pool/0/parameters",
        "/pool/0/weights",
    }
    mixtures = create(SMALL_STUDY)["id"]
    run = {**run, "metrics": {"loss/web": 1.0}, "parameters": POINTS[kind]}
    path = f"/v1/studies/{mixtures}/runs"
    assert pointers(post(path, run, 422)) == {"/parameters", "/weights"}


def test_what_a_space_does_not_have_is_refused(create, post, kind):
    study = create(STUDIES[kind])["id"]
    asks, recommends = f"/v1/studies/{study}/proposals", f"/v1/studies/{study}/recommendations"
    wrong_design = {"quadmix": "dirichlet", "meta_rater": "sampler"}[kind]
    answer = post(asks, {"options": {"design": wrong_design}}, 422)
    assert pointers(answer) == {"/options/design"}
    method, other = {"quadmix": ("exact", "evolve"), "meta_rater": ("evolve", "regmix")}[kind]
    answer = post(recommends, {"method": method}, 422)
    assert pointers(answer) == {"/method"}
    assert other in answer["detail"]
    budget = {"selected_tokens": {"lower": 1e6}, "method": "best_observed"}
    assert pointers(post(recommends, budget, 422)) == {"/selected_tokens"}
    if kind == "quadmix":
        assert pointers(post(asks, {"strategy": "climb"}, 422)) == {"/strategy"}
        for ends, wrong in (
            ({}, "/selected_tokens"),
            ({"lower": 2, "upper": 1}, "/selected_tokens/lower"),
            ({"lower": -1}, "/selected_tokens/lower"),
        ):
            assert pointers(post(recommends, {"selected_tokens": ends}, 422)) == {wrong}
        no_tokens = [{"name": "web"}, {"name": "code", "tokens": 1e9}]
        unknown = create({**QUADMIX_STUDY, "name": "unknown", "domains": no_tokens})["id"]
        path = f"/v1/studies/{unknown}/recommendations"
        answer = post(path, {"selected_tokens": {"lower": 1}}, 422)
        assert pointers(answer) == {"/selected_tokens"}
        assert "'web'" in answer["detail"]


def test_a_token_budget_is_kept(create, post, client, work):
    from mixwright.quality.notation import parse
    from mixwright.quality.quadmix import space_of

    study = create(QUADMIX_STUDY)["id"]
    ask_and_tell(post, study, 64)
    space = space_of(["web", "code"], ["edu", "noise"])
    for method in ("regmix", "evolve"):
        asked = {
            "surrogate": "linear",
            "method": method,
            "candidates": 2000,
            "selected_tokens": {"lower": 5e8, "upper": 5.5e8},
        }
        rec = post(f"/v1/studies/{study}/recommendations", asked, 202)["id"]
        work()
        rec = client.get(f"/v1/recommendations/{rec}").json()
        assert rec["state"] == "succeeded", rec["error"]
        theta = parse(rec["parameters"], space.domains, space.raters)
        [tokens] = space.expected_tokens(space.encode(theta)[None], [6e9, 3e9]).sum(axis=1)
        assert 5e8 * (1 - 1e-9) <= tokens <= 5.5e8 * (1 + 1e-9)
    asked["selected_tokens"] = {"lower": 5e9}
    for method in ("regmix", "evolve"):
        rec = post(f"/v1/studies/{study}/recommendations", {**asked, "method": method}, 202)["id"]
        work()
        rec = client.get(f"/v1/recommendations/{rec}").json()
        assert rec["state"] == "failed"
        assert "budget" in rec["error"]["detail"]
