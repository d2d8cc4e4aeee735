"""How trainings over HTTP begin, and who may do what, on both databases."""

import pytest
from small_study import SMALL_STUDY
from small_training import TRAINING, pointers, triple


def test_a_training_begins_with_version_0_and_says_what_to_send(create, get):
    made = create(seed=3)
    assert triple(made) == {"version": 0, "effective_step": 0, "weights": {"a": 0.5, "b": 0.5}}
    assert made["id"].startswith("trn_")
    assert made["requires"]["fields"] == ["excess_losses"]
    assert get(to=made["id"])["seed"] == 3
    entry = get("/ledger", to=made["id"])["items"][0]
    assert triple(entry) == triple(made)


def test_it_begins_with_the_weights_that_are_given(create):
    made = create(initial_weights={"b": 0.2, "a": 0.8}, options={})
    assert made["weights"] == {"a": 0.8, "b": 0.2}


def test_it_takes_domains_and_prior_from_its_study(create, study):
    made = create(study="small", domains=None)
    assert made["study_id"] == study
    assert made["weights"] == pytest.approx({"web": 0.6, "code": 0.3, "math": 0.1})
    part = create(study="small", domains=["math", "web"])
    assert part["weights"] == pytest.approx({"math": 1 / 7, "web": 6 / 7})
    assert pointers(create(422, study="small", domains=["math", "x"])) == ["/domains/1"]
    create(404, study="nonesuch")


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"domains": []}, "/domains"),
        ({"domains": ["a", "a"]}, "/domains"),
        ({"domains": None}, "/domains"),
        ({"algorithm": "nonesuch"}, "/algorithm"),
        ({"options": {"nonesuch": 1}}, "/options/nonesuch"),
        ({"options": {"floor": 2.0}}, "/options/floor"),
        ({"options": {"pinned": {"x": 0.0}}}, "/options/pinned"),
        ({"initial_weights": {"a": 1.0}}, "/initial_weights/b"),
        ({"initial_weights": {"a": 1.0, "b": 0.0, "x": 0.0}}, "/initial_weights/x"),
        ({"initial_weights": {"a": 0.2, "b": 0.2}}, "/initial_weights"),
        ({"initial_weights": {"a": -0.2, "b": 1.2}}, "/initial_weights/a"),
        ({"lead_steps": -1}, "/lead_steps"),
        ({"policy": "perhaps"}, "/policy"),
        ({"nonesuch": 1}, "/nonesuch"),
        ({"name": ""}, "/name"),
    ],
)
def test_what_is_wrong_with_a_training_is_named(create, wrong, at):
    assert at in pointers(create(422, **wrong))


def test_an_idempotency_key_makes_one_training(client):
    answers = [
        client.post("/v1/trainings", json=TRAINING, headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/trainings").json()["items"]) == 1


def test_trainings_are_listed_by_name_and_study(client, create, study):
    first, second = create(name="one"), create(name="two", study="small", domains=["web", "code"])
    listed = client.get("/v1/trainings", params={"limit": 1}).json()
    assert [one["id"] for one in listed["items"]] == [first["id"]]
    more = client.get("/v1/trainings", params={"cursor": listed["next_cursor"]}).json()
    assert [one["id"] for one in more["items"]] == [second["id"]]
    for parameters in ({"name": "two"}, {"study": "small"}, {"study": study}):
        found = client.get("/v1/trainings", params=parameters).json()["items"]
        assert [one["id"] for one in found] == [second["id"]]


def test_scopes(client, create, training):
    made = client.post("/v1/tokens", json={"name": "t", "scopes": ["admin"]}).json()["token"]

    def status(scopes, method, path, body=None, **more):
        admin = {"Authorization": f"Bearer {made}"}
        token = client.post(
            "/v1/tokens", json={"name": "t", "scopes": scopes, **more}, headers=admin
        ).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        return client.request(method, path, json=body, headers=headers).status_code

    told = {"step": 1, "excess_losses": {"a": 1.0, "b": 0.0}}
    of = f"/v1/trainings/{training}"
    assert status(["read"], "GET", f"{of}/weights") == 200
    assert status(["read"], "POST", f"{of}/observations", told) == 403
    assert status(["read"], "POST", "/v1/trainings", TRAINING) == 403
    assert status(["train"], "POST", "/v1/trainings", TRAINING) == 201
    assert status(["train"], "POST", f"{of}/observations", told) == 200
    assert status(["train"], "POST", f"{of}/acks", {"version": 1, "applied_step": 1}) == 200
    assert status(["train"], "POST", f"{of}/resume", {"step": 1, "version": 1}) == 200
    for what, body in (
        ("rollback", {"version": 0}),
        ("versions/1/approve", None),
        ("domains", {"domains": ["a"]}),
    ):
        assert status(["train"], "POST", f"{of}/{what}", body) == 403
    assert status(["write"], "POST", f"{of}/rollback", {"version": 0}) == 200
    assert client.get(f"{of}/weights").status_code == 401


def test_a_bound_token_reaches_the_trainings_of_its_study(client, create):
    for name in ("mine", "yours"):
        client.post("/v1/studies", json={**SMALL_STUDY, "name": name})
    ids = [create(study=name, domains=None)["id"] for name in ("mine", "yours")]
    free = create()["id"]
    body = {"name": "t", "scopes": ["train"], "study": "mine"}
    token = client.post("/v1/tokens", json=body)
    headers = {"Authorization": f"Bearer {token.json()['token']}"}
    statuses = [
        client.get(f"/v1/trainings/{one}/weights", headers=headers).status_code
        for one in (*ids, free)
    ]
    assert statuses == [200, 403, 403]
    assert client.post("/v1/trainings", json=TRAINING, headers=headers).status_code == 403
    listed = client.get("/v1/trainings", headers=headers).json()["items"]
    assert [one["id"] for one in listed] == ids[:1]
