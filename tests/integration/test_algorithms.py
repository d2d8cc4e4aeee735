import pytest

from mixwright.recommend import RECOMMENDERS
from mixwright.reweighting import REWEIGHTERS
from mixwright.schedules import PLANNERS
from mixwright.spaces import SPACES
from mixwright.surrogates import SURROGATES
from mixwright.swarm import SWARM_DESIGNS


@pytest.fixture
def algorithms(client):
    response = client.get("/v1/algorithms")
    assert response.status_code == 200
    assert response.json()["next_cursor"] is None
    return response.json()["items"]


@pytest.mark.parametrize(
    ("kind", "registered"),
    [
        ("surrogate", SURROGATES),
        ("recommender", RECOMMENDERS),
        ("swarm_design", [*SWARM_DESIGNS, "sampler"]),
        ("space", SPACES),
        ("optimiser", ["bayesopt", "climb"]),
        ("reweighter", REWEIGHTERS),
        ("planner", PLANNERS),
    ],
)
def test_everything_registered_is_listed(algorithms, kind, registered):
    listed = [one["name"] for one in algorithms if one["kind"] == kind]
    assert sorted(listed) == sorted(registered)


def test_everything_says_where_it_comes_from_and_what_it_takes(algorithms):
    for one in algorithms:
        assert one["title"]
        assert one["source"]
        assert one["evidence"] in ("exact", "secondary", "recalled", "interpretation")
        assert one["options"]["type"] == "object"
        assert one["options"]["additionalProperties"] is False


def test_options_are_those_of_the_request(algorithms):
    (regmix,) = [one for one in algorithms if one["name"] == "regmix"]
    assert set(regmix["options"]["properties"]) == {"candidates", "top_k", "selected_tokens"}
    assert regmix["options"]["properties"]["candidates"]["default"] == 100_000


def test_the_options_of_a_surrogate_are_accepted_by_a_fit(client, study, algorithms):
    for one in algorithms:
        if one["kind"] == "surrogate":
            properties = one["options"]["properties"]
            defaults = {name: declared["default"] for name, declared in properties.items()}
            body = {"surrogate": one["name"], "options": defaults}
            response = client.post(f"/v1/studies/{study}/fits", json=body)
            assert response.status_code == 202, response.text


def test_a_reweighter_says_what_its_trainer_must_send(algorithms):
    (doremi,) = [one for one in algorithms if one["name"] == "doremi"]
    assert doremi["requires"]["fields"] == ["excess_losses"]
    assert {"step_size", "floor", "pinned", "max_step"} <= set(doremi["options"]["properties"])
