"""Sends requests about trainings."""

import pytest
from small_training import TRAINING


@pytest.fixture
def create(client):
    def send(status=201, **more):
        response = client.post("/v1/trainings", json={**TRAINING, **more})
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def training(create):
    return create()["id"]


@pytest.fixture
def post(client, training):
    def send(what, status=200, to=training, **body):
        response = client.post(f"/v1/trainings/{to}/{what}", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def observe(post):
    def send(step, a, b, status=200, **more):
        excess = {"a": a, "b": b}
        return post("observations", status, step=step, excess_losses=excess, **more)

    return send


@pytest.fixture
def get(client, training):
    def send(what="", to=training, status=200, **parameters):
        response = client.get(f"/v1/trainings/{to}{what}", params=parameters)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def ledger(get):
    return lambda **more: [
        (entry["version"], entry["effective_step"], entry["state"])
        for entry in get("/ledger", **more)["items"]
    ]
