"""Trainings that follow a schedule, over HTTP, on both databases."""

import json

import pytest
from small_study import SMALL_STUDY
from sqlalchemy import select

from app.db.session import reading
from app.db.training_models import TrainingEventRow, TrainingRow
from app.trainings import service
from mixwright.reweighting.canonical import canonical
from mixwright.reweighting.ledger import (
    Follow,
    Observe,
    Resume,
    standing_document,
    standing_from,
)
from mixwright.reweighting.training import fold

BUDGET = {
    "tokens": 1e9,
    "sequence_length": 1000,
    "batch_tokens": 1e6,
    "peak_learning_rate": 3e-4,
}
PRIOR = {"web": 0.6, "code": 0.3, "math": 0.1}
LATE = {"web": 0.0, "code": 0.0, "math": 1.0}
KINDS = {"follow": Follow, "observe": Observe, "resume": Resume}


@pytest.fixture
def plan(client, study):
    def send(planner="upsample_end", to=study, budget=BUDGET, **more):
        body = {"planner": planner, "budget": budget, **more}
        response = client.post(f"/v1/studies/{to}/schedules", json=body)
        assert response.status_code == 201, response.text
        return response.json()["id"]

    return send


@pytest.fixture
def upsampled(plan):
    def send(share=0.2, **more):
        return plan(options={"share": share, "final_weights": {"math": 1.0}, **more})

    return send


@pytest.fixture
def call(client):
    def send(method, path, status=200, body=None, **query):
        response = client.request(method, f"/v1/trainings{path}", json=body, params=query)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def follow(call):
    def send(schedule, status=201, **more):
        return call("POST", "", status, {"name": "main", "schedule": schedule, **more})

    return send


@pytest.fixture
def ledger(call):
    def read(training):
        items = call("GET", f"/{training}/ledger")["items"]
        return [(one["version"], one["effective_step"], one["state"]) for one in items]

    return read


@pytest.fixture
def observe(call):
    def send(training, step, status=200):
        body = {"step": step, "losses": {"web": 3.0, "code": 2.0, "math": 2.5}}
        return call("POST", f"/{training}/observations", status, body)

    return send


def pointers(answer):
    return sorted(error["pointer"] for error in answer["errors"])


def test_its_ledger_is_the_schedules(upsampled, follow, call, ledger, study):
    schedule = upsampled()
    made = follow(schedule)
    assert made["schedule"] == schedule
    assert made["study_id"] == study
    assert (made["version"], made["effective_step"]) == (0, 0)
    assert made["weights"] == pytest.approx(PRIOR)
    assert ledger(made["id"]) == [(0, 0, "published"), (1, 800, "published")]
    entry = call("GET", f"/{made['id']}/ledger")["items"][1]
    assert entry["weights"] == LATE


def test_steps_are_counted_with_the_batches_of_a_ramp(plan, follow, ledger, client):
    schedule = plan("drop_stable_rampup", options={"share": 0.5, "stable": 0.5})
    steps = client.get(f"/v1/schedules/{schedule}").json()["steps"]["stages"]
    found = [step for _, step, _ in ledger(follow(schedule)["id"])]
    assert found == [one["first_step"] for one in steps] == [0, 500, 1500]


def test_stages_that_select_give_their_realised_shares(plan, follow, call):
    documents = {
        "domain": ["web"] * 10 + ["code"] * 10,
        "tokens": [10.0] * 20,
        "columns": {"quality": [float(one) for one in range(20)]},
    }
    made = follow(plan("quality_curriculum", documents=documents, options={"buckets": 2}))
    first, second = call("GET", f"/{made['id']}/ledger")["items"]
    assert first["weights"] == {"web": 1.0, "code": 0.0, "math": 0.0}
    assert second["weights"] == {"web": 0.0, "code": 1.0, "math": 0.0}


def test_observations_are_kept_and_the_weights_follow_the_schedule(
    upsampled, follow, call, observe
):
    made = follow(upsampled(), lead_steps=50)["id"]
    early = observe(made, 700)
    assert (early["version"], early["applied"]) == (0, True)
    assert observe(made, 700) == early
    ahead = observe(made, 760)
    assert (ahead["version"], ahead["effective_step"], ahead["weights"]) == (1, 800, LATE)
    assert call("GET", f"/{made}/weights")["version"] == 1
    assert observe(made, 500)["applied"] is False
    kinds = [one["kind"] for one in call("GET", f"/{made}/events")["items"]]
    assert kinds == ["begin", "follow", "observe", "observe", "observe"]
    back = call("POST", f"/{made}/resume", body={"step": 600, "version": 1})
    assert (back["version"], back["weights"]) == (0, pytest.approx(PRIOR))
    assert observe(made, 760)["version"] == 1


def test_stages_to_come_may_change_and_others_not(upsampled, follow, call, ledger, observe):
    first = upsampled()
    made = follow(first)["id"]
    observe(made, 300)
    other = upsampled(final_weights={"code": 1.0})
    answer = call("PATCH", f"/{made}", body={"schedule": other})
    assert (answer["version"], answer["applied"]) == (0, True)
    assert call("PATCH", f"/{made}", body={"schedule": other}) == answer
    assert ledger(made) == [(0, 0, "published"), (1, 800, "void"), (2, 800, "published")]
    assert call("GET", f"/{made}")["schedule"] == other
    shorter = upsampled(share=0.4)
    refused = call("PATCH", f"/{made}", 409, {"schedule": shorter})
    assert "stage 'base', which began at step 0" in refused["detail"]
    assert observe(made, 800)["weights"] == {"web": 0.0, "code": 1.0, "math": 0.0}
    refused = call("PATCH", f"/{made}", 409, {"schedule": first})
    assert "stage 'upsampled', which began at step 800" in refused["detail"]
    assert ledger(made)[-1] == (2, 800, "published")


def test_a_longer_budget_changes_no_stage_that_has_begun(plan, follow, call, ledger):
    options = {"share": 0.5, "anneal_weights": {"math": 1.0}}
    made = follow(plan("anneal", options=options))["id"]
    longer = plan("anneal", budget={**BUDGET, "tokens": 2e9}, options={**options, "share": 0.75})
    call("PATCH", f"/{made}", body={"schedule": longer})
    assert ledger(made)[-1] == (2, 500, "published")


def test_only_the_schedule_changes_the_weights(upsampled, follow, call):
    made = follow(upsampled())["id"]
    for path, body in (
        ("rollback", {"version": 0}),
        ("domains", {"domains": ["web", "code"]}),
        ("versions/1/approve", None),
    ):
        assert "follow the schedule" in call("POST", f"/{made}/{path}", 409, body)["detail"]
    made = call("POST", "", 201, {"name": "t", "domains": ["a"], "algorithm": "static"})["id"]
    assert "does not follow" in call("PATCH", f"/{made}", 409, {"schedule": upsampled()})["detail"]


def test_what_goes_with_no_schedule_is_refused(client, plan, upsampled, follow, call):
    schedule = upsampled()
    wrong = {
        "algorithm": "doremi",
        "options": {"floor": 0.1},
        "initial_weights": PRIOR,
        "domains": list(PRIOR),
        "policy": "approve",
    }
    assert pointers(follow(schedule, 422, **wrong)) == sorted(f"/{name}" for name in wrong)
    assert pointers(follow("sch_0", 422)) == ["/schedule"]
    assert pointers(call("POST", "", 422, {"name": "t", "domains": ["a"]})) == ["/algorithm"]
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "other"})
    assert pointers(follow(schedule, 422, study="other")) == ["/schedule"]
    made = follow(schedule, study="small")["id"]
    elsewhere = plan(to="other")
    assert pointers(call("PATCH", f"/{made}", 422, {"schedule": elsewhere})) == ["/schedule"]


def test_folding_the_log_anew_gives_the_same_digits(upsampled, follow, call, observe, sessions):
    made = follow(upsampled(), lead_steps=10)["id"]
    for step in (100, 200, 795):
        observe(made, step)
    call("POST", f"/{made}/resume", body={"step": 150, "version": 0})
    call("PATCH", f"/{made}", body={"schedule": upsampled(final_weights={"code": 1.0})})
    observe(made, 900)
    with reading(sessions) as session:
        query = select(TrainingEventRow).where(TrainingEventRow.training_id == made)
        log = session.scalars(query.order_by(TrainingEventRow.number)).all()
        begun, *_ = standings = [standing_from_bytes(row.standing) for row in log]
        rules = service._rules(session.get_one(TrainingRow, made))
        events = [
            Observe(row.content) if row.kind == "observe" else KINDS[row.kind](**row.content)
            for row in log[1:]
        ]
    end, ledger = fold(rules, begun, events)
    assert canonical(standing_document(end)) == canonical(standing_document(standings[-1]))
    items = call("GET", f"/{made}/ledger")["items"]
    assert [(one.version, one.fate) for one in ledger] == [
        (one["version"], one["state"]) for one in items
    ]


def standing_from_bytes(text):
    return standing_from(json.loads(text))


def test_the_page_of_a_training_says_what_it_follows(upsampled, follow, client):
    schedule = upsampled()
    made = follow(schedule)["id"]
    page = client.get(f"/v1/trainings/{made}/report")
    assert page.status_code == 200
    assert schedule in page.text
