"""What observations do over HTTP, on both databases."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_training import pointers, triple


def test_an_observation_gives_new_weights(observe, get):
    found = observe(500, 0.5, 0.1)
    assert (found["version"], found["effective_step"]) == (1, 500)
    assert (found["applied"], found["reason"]) == (True, None)
    raised = np.exp([0.5, 0.1]) / np.exp([0.5, 0.1]).sum()
    expected = (1 - 1e-3) * raised + 1e-3 / 2
    assert list(found["weights"].values()) == pytest.approx(expected.tolist(), abs=1e-12)
    assert sum(found["weights"].values()) == pytest.approx(1.0, abs=1e-9)
    assert get("/weights") == triple(found)


def test_weights_take_effect_no_sooner_than_the_lead(create, post):
    training = create(lead_steps=64)["id"]
    found = post("observations", to=training, step=500, excess_losses={"a": 1.0, "b": 0.0})
    assert found["effective_step"] == 564


def test_the_same_again_is_given_the_same_answer(observe, ledger, get):
    first = observe(500, 0.5, 0.1)
    observe(600, 0.0, 0.3)
    before = ledger()
    assert observe(500, 0.5, 0.1) == first
    assert ledger() == before
    assert len(get("/events")["items"]) == 3


def test_other_content_for_a_step_is_a_conflict(observe, ledger, get):
    observe(500, 0.5, 0.1)
    before = ledger()
    assert pointers(observe(500, 0.5, 0.2, 409)) == ["/step"]
    observe(500, 0.5, 0.1, 409, learning_rate=0.1)
    assert ledger() == before
    assert get()["refused"] == 0


def test_a_step_before_the_last_is_kept_and_not_applied(observe, get, post):
    newest = observe(500, 0.5, 0.1)
    late = observe(400, 0.9, 0.1)
    assert late["applied"] is False
    assert "before 500" in late["reason"]
    assert triple(late) == triple(newest)
    assert observe(400, 0.9, 0.1) == late
    observe(400, 0.0, 0.1, 409)
    assert get("/events")["items"][-1]["content"]["step"] == 400


def test_null_is_a_domain_that_was_not_seen(observe):
    observe(1, 0.5, 0.1)
    assert observe(2, None, 0.3)["applied"] is True


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"step": 1}, "/excess_losses"),
        ({"step": 1, "excess_losses": {}}, "/excess_losses"),
        ({"step": 1, "losses": {"a": 1.0, "b": 1.0}}, "/excess_losses"),
        ({"step": 1, "excess_losses": {"a": None, "b": None}}, "/excess_losses"),
        ({"step": 1, "excess_losses": {"a": float("nan"), "b": 1.0}}, "/excess_losses/a"),
        ({"step": 1, "excess_losses": {"a": 1.0, "b": float("inf")}}, "/excess_losses/b"),
        ({"step": 1, "excess_losses": {"a": 1e300, "b": 1.0}}, "/excess_losses/a"),
        ({"step": 1, "excess_losses": {"a": 1.0, "x": 1.0}}, "/excess_losses/x"),
        ({"step": 1, "gram": {"rows": ["a"], "columns": ["a"], "values": []}}, "/gram/values"),
        (
            {"step": 1, "excess_losses": {"a": 1.0, "b": 1.0}, "weights_version": 9},
            "/weights_version",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_and_counted(client, training, get, body, at):
    before = get("/weights")
    response = client.post(
        f"/v1/trainings/{training}/observations",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert pointers(response.json())[0] == at
    assert get()["refused"] == 1
    assert get("/weights") == before
    assert len(get("/events")["items"]) == 1


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"excess_losses": {"a": 1.0, "b": 1.0}}, "/step"),
        ({"step": -1}, "/step"),
        ({"step": 1.5}, "/step"),
        ({"step": "1"}, "/step"),
        ({"step": 1, "excess_losses": {"a": "1", "b": 1.0}}, "/excess_losses/a"),
        ({"step": 1, "nonesuch": 1}, "/nonesuch"),
    ],
)
def test_what_is_no_observation_is_refused(post, body, at):
    assert at in pointers(post("observations", 422, **body))


def test_a_refused_step_may_be_told_again(observe):
    observe(10, None, None, 422)
    assert observe(10, 0.5, 0.1)["version"] == 1


def test_a_matrix_and_blocks_are_taken_in(create, post):
    training = create(algorithm="static")["id"]
    gram = {"rows": ["a", "b"], "columns": ["b", "a"], "values": [[1.0, None], [2.0, 3.0]]}
    found = post(
        "observations",
        to=training,
        step=1,
        gram=gram,
        block_losses={"ids": [3, 4], "losses": [1.0, None]},
        scores={"hellaswag": 0.4},
        learning_rate=1e-3,
        batch_size=64,
        weights_version=0,
    )
    assert found["applied"] is True


def test_a_training_that_is_not_there_is_404(client):
    for what in ("", "/weights", "/ledger", "/events"):
        assert client.get(f"/v1/trainings/trn_0{what}").status_code == 404
    body = {"step": 1}
    assert client.post("/v1/trainings/trn_0/observations", json=body).status_code == 404


def test_two_trainers_with_one_training_agree_on_what_is_the_same(client, training, ledger):
    """Each step is told by two at once; where they differ, one of them is told so."""

    def tell(step_and_trainer):
        step, trainer = step_and_trainer
        value = 0.5 if step % 3 else 0.1 * trainer
        body = {"step": step, "excess_losses": {"a": value, "b": 0.2}}
        return step, client.post(f"/v1/trainings/{training}/observations", json=body)

    with ThreadPoolExecutor(4) as pool:
        found = []
        for step in range(1, 13):
            found += pool.map(tell, [(step, 1), (step, 2)])
    for step in range(1, 13):
        answers = [answer for told, answer in found if told == step]
        assert sorted(answer.status_code for answer in answers) == (
            [200, 200] if step % 3 else [200, 409]
        )
        if step % 3:
            assert answers[0].json() == answers[1].json()
    assert [version for version, _, _ in ledger()] == list(range(13))
