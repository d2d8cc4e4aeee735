"""Swarms of schedules: what is asked, grouped, ordered, kept out of fits, and compared."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from small_corpus import SMALL_CORPUS, SMALL_SWARM

from app.runs import service as runs
from app.studies import service as studies
from app.studies.definition import to_core
from mixwright.schedules import Schedule
from workers.order import GroupOrder
from workers.pace import pace_of

TARGET = {
    "tokens": 1e12,
    "sequence_length": 4096,
    "batch_tokens": 4_194_304,
    "peak_learning_rate": 3e-4,
}
STATIC = {"name": "static", "planner": "static"}
DROP = {"name": "drop", "planner": "drop_stable_rampup", "options": {"share": 0.5}}


@pytest.fixture
def corpus(client):
    response = client.post("/v1/corpora", json={**SMALL_CORPUS, "raters": ["edu"]})
    assert response.status_code == 201, response.text


@pytest.fixture
def start(client, study, corpus):
    def send(*schedules, status=202, trainer=None, **design):
        trainer = {**SMALL_SWARM["trainer"], "replicates": 3, **(trainer or {})}
        design = {"kind": "schedules", "schedules": list(schedules), **design}
        body = {"fidelity": "1m", "design": design, "trainer": trainer}
        response = client.post(f"/v1/studies/{study}/swarms", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def orders(client, rung):
    """Claims every group; returns leases and orders."""

    def claim():
        groups = [group for group, queue in rung if queue == "train"]
        answers = [
            client.post(f"/v1/groups/{group}/claim", json={"worker": "w"}) for group in groups
        ]
        assert all(answer.status_code == 200 for answer in answers)
        return {g: answer.json() for g, answer in zip(groups, answers, strict=True)}

    return claim


def runs_of(client, study, state=""):
    return client.get(f"/v1/studies/{study}/runs{state}").json()["items"]


def test_a_swarm_trains_every_schedule_with_every_seed(start, client, study):
    planned = client.post(
        f"/v1/studies/{study}/schedules",
        json={"planner": "anneal", "budget": TARGET, "options": {"share": 0.5}},
    ).json()
    given = {"budget": TARGET, "stages": planned["stages"]}
    swarm = start(STATIC, planned["id"], {"name": "same", "schedule": given})
    assert (swarm["runs_total"], swarm["design"]["kind"]) == (9, "schedules")
    named = {one["name"]: one for one in swarm["design"]["schedules"]}
    assert list(named) == ["static", planned["id"], "same"]
    assert named[planned["id"]]["schedule"] == named["same"]["schedule"]
    budget = named["same"]["schedule"]["budget"]
    assert (budget["tokens"], budget["sequence_length"], budget["batch_tokens"]) == (4096, 64, 512)
    assert budget["peak_learning_rate"] == 0.01
    stored = runs_of(client, study)
    assert {run["origin"] for run in stored} == {"schedule"}
    told = sorted((r["metadata"]["schedule"], r["metadata"]["seed"]) for r in stored)
    assert told == sorted((name, seed) for name in named for seed in range(3))
    assert all(abs(sum(run["weights"].values()) - 1) < 1e-9 for run in stored)


def test_runs_whose_batches_differ_are_in_groups_of_their_own(start, orders):
    start(STATIC, DROP, trainer={"width": 16})
    claims = orders()
    assert [len(claim["order"]["runs"]) for claim in claims.values()] == [3, 3]
    for claim in claims.values():
        order = GroupOrder.from_json(claim["order"])
        pace = pace_of(order, order.shape(257), order.runs)
        assert pace.sequences.sum() * 64 == pytest.approx(4096, abs=1024)
    assert len(set(pace.sequences.tolist())) > 1


def test_a_sweep_comes_first_and_its_rate_is_the_peak(start, client, orders, rung):
    start(STATIC, trainer={"optimizer": {"learning_rate": "sweep", "batch_sequences": 8}})
    (sweep,) = [group for group, _ in rung]
    claim = client.post(f"/v1/groups/{sweep}/claim", json={"worker": "w"}).json()
    assert all(run.get("weights") for run in claim["order"]["runs"])
    done = {"lease_token": claim["lease"]["token"], "learning_rate": 0.125}
    assert client.post(f"/v1/groups/{sweep}/complete", json=done).status_code == 200
    later = [group for group, _ in rung if group != sweep]
    claim = client.post(f"/v1/groups/{later[0]}/claim", json={"worker": "w"}).json()
    schedule = Schedule.from_json(claim["order"]["runs"][0]["schedule"])
    assert schedule.budget.peak_learning_rate == 0.125
    assert schedule.stages[0].rate.at(0) == 0.125


def complete(client, claims, loss):
    """Report every run with `loss(schedule's name, seed)`."""
    for group, claim in claims.items():
        results = []
        for run in claim["order"]["runs"]:
            metadata = client.get(f"/v1/runs/{run['id']}").json()["metadata"]
            value = loss(metadata["schedule"], metadata["seed"])
            metrics = {"loss/web": value, "loss/code": value + 1}
            realised = {"web": 3000.0, "code": 1000.0, "math": 96.0}
            results.append({"run": run["id"], "metrics": metrics, "realised_tokens": realised})
        body = {"lease_token": claim["lease"]["token"], "results": results}
        assert client.post(f"/v1/groups/{group}/complete", json=body).status_code == 200


def test_schedules_are_compared_by_pairs_of_seeds(start, client, orders, study):
    swarm = start(STATIC, DROP)
    path = f"/v1/swarms/{swarm['id']}/comparison"
    before = client.get(path).json()["schedules"]
    assert [(row["ended"], row["objective"], row["difference"]) for row in before] == [
        (0, None, None)
    ] * 2
    better = [0.1, 0.3, 0.05]
    complete(client, orders(), lambda name, seed: seed + 2 - (name == "drop") * better[seed])
    found = client.get(path).json()
    assert found["baseline"] == "static"
    first, second = found["schedules"]
    assert first["difference"] is None
    factor = second["difference"]["mean"] / -np.mean(better)  # of the study's objective
    interval = ttest_1samp(-np.array(better), 0).confidence_interval(0.95)
    assert second["difference"]["lower"] == pytest.approx(factor * interval.low)
    assert second["difference"]["upper"] == pytest.approx(factor * interval.high)
    assert second["difference"]["count"] == 3
    assert second["metrics"]["loss/web"] == pytest.approx(3 - np.mean(better))
    assert client.get("/v1/swarms/swarm_none/comparison").status_code == 404
    page = client.get(f"/v1/swarms/{swarm['id']}/report")
    assert page.status_code == 200
    assert "comparison-differences" in page.text
    assert f"{second['difference']['mean']:+.2f}" in page.text


def test_runs_of_schedules_enter_no_fit(start, client, orders, study, sessions):
    def counted():
        with sessions() as session:
            row = studies.load(session, study)
            completed = runs.completed(session, study, to_core(row.definition))
            return len(completed.ids), runs.count_completed(session, study)

    start(STATIC, DROP)
    complete(client, orders(), lambda name, seed: 3.0)
    assert {run["state"] for run in runs_of(client, study)} == {"succeeded"}
    assert counted() == (0, 0)
    run = runs_of(client, study)[0]["id"]
    retracted = client.post(f"/v1/runs/{run}/retract", json={"reason": "a mistake"})
    assert retracted.status_code == 200
    assert counted() == (0, 0)


def test_a_swarm_of_mixtures_has_nothing_to_compare(client, study, corpus):
    swarm = client.post(f"/v1/studies/{study}/swarms", json=SMALL_SWARM).json()
    assert client.get(f"/v1/swarms/{swarm['id']}/comparison").status_code == 409
    assert client.get(f"/v1/swarms/{swarm['id']}/report").status_code == 409


def stage(**changes):
    curve = {"start": 1024.0, "end": 1024.0, "start_token": 0.0, "end_token": 1e6}
    one = {
        "name": "all", "start_token": 0.0, "end_token": 1e6, "batch_tokens": curve,
        "learning_rate": {**curve, "start": 0.1, "end": 0.1}, "weights": {"web": 1.0},
    }  # fmt: skip
    return {**one, **changes}


def whole(*stages):
    budget = {
        "tokens": 1e6,
        "sequence_length": 64,
        "batch_tokens": 1024.0,
        "peak_learning_rate": 0.1,
    }
    return {"name": "given", "schedule": {"budget": budget, "stages": list(stages)}}


SELECTED = {"weights": None, "selection": {"where": [{"column": "edu"}], "tokens": {"web": 1.0}}}


@pytest.mark.parametrize(
    ("schedule", "where", "words"),
    [
        (whole(stage(weights={"books": 1.0})), "/stages/all", "'books', which is not one"),
        (whole(stage(end_token=9e5)), "/stages", "the budget is 1e+06"),
        (whole(stage(weights={"web": 0.4})), "/stages/all/weights", "sum to 1"),
        (
            whole(stage(weights=None, selection={"where": []})),
            "/stages/all",
            "does not say the `tokens`",
        ),
        (
            whole(
                stage(**{**SELECTED, "selection": {**SELECTED["selection"], "best_first": True}})
            ),
            "/stages/all/selection/best_first",
            "'best_first' cannot be trained",
        ),
        (
            whole(
                stage(weights=None, selection={"where": [{"column": "dclm"}], "tokens": {"web": 1}})
            ),
            "/stages/all",
            "have scores of 'edu'",
        ),
        (
            whole(stage(end_token=999_000.0), stage(name="end", start_token=999_000.0)),
            "/stages/end",
            "less than a step",
        ),
        ({"name": "f", "planner": "frames"}, "/documents", "documents are needed"),
        ({"name": "f", "planner": "none"}, "/planner", "must be one of"),
        ("sch_none", "", "there is no schedule"),
    ],
)
def test_a_schedule_that_cannot_be_trained_is_named(start, client, study, schedule, where, words):
    answer = start(STATIC, schedule, status=422)
    (error,) = answer["errors"]
    assert error["pointer"] == f"/design/schedules/1{where}"
    assert words in error["detail"]
    assert runs_of(client, study) == []


def test_selected_documents_are_trained_on_where_the_corpus_has_their_scores(start):
    assert start(whole(stage(**SELECTED)))["runs_total"] == 3


NEW = {"new_weights": {"math": 1.0}, "share": 0.5, "subset": 0.5}


def test_a_subset_over_several_epochs_is_trained_with_scores_and_without(start, orders):
    any_documents = {"name": "any", "planner": "continual", "options": NEW}
    best = {**any_documents, "name": "best", "options": {**NEW, "column": "edu"}}
    start(any_documents, best)
    runs = [run for claim in orders().values() for run in claim["order"]["runs"]]
    selections = [run["schedule"]["stages"][0]["selection"] for run in runs]
    assert {one.get("best_by") for one in selections} == {None, "edu"}
    assert all(one["subset_tokens"] == 2048 / 4 for one in selections)


def test_a_subset_that_the_corpus_does_not_have_is_refused(start):
    one = {"name": "large", "planner": "continual", "options": {**NEW, "epochs": 1}}
    answer = start(one, status=422, trainer={"tokens": 40_960})
    assert "wants a subset of 11264 tokens of 'math', and" in answer["errors"][0]["detail"]
    one["options"] = {**one["options"], "column": "dclm", "epochs": 4}
    answer = start(one, status=422)
    assert "have scores of 'edu'" in answer["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"where": [{"above": 1.0}]}, "/where/0/column"),
        ({"where": [{"column": "edu", "above": "high"}]}, "/where/0/above"),
        ({"tokens": {"web": -1.0}}, "/tokens/web"),
        ({"subset_tokens": "few"}, "/subset_tokens"),
    ],
)
def test_a_selection_that_cannot_be_read_is_named(start, changed, where):
    given = whole(stage(**{**SELECTED, "selection": {**SELECTED["selection"], **changed}}))
    pointers = [error["pointer"] for error in start(given, status=422)["errors"]]
    assert pointers[-1].endswith(f"/schedule/stages/0/selection{where}")


def test_schedules_have_one_name_each_and_their_kind(start, client, study):
    start(STATIC, STATIC, status=422)
    start(STATIC, status=422, kind="dirichlet")
    start({"name": "neither"}, status=422)
    start(STATIC, status=422, trainer={"sampling": {"mode": "epochs"}})


def test_proxies_are_kept_where_that_is_asked(start, orders):
    start(STATIC, trainer={"keep": True})
    assert all(claim["order"]["keep"] for claim in orders().values())
