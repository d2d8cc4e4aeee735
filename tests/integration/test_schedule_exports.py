"""Exports of schedules over HTTP, on both databases."""

import io
import zipfile

import pytest
import yaml

from mixwright.exports import EXPORTS
from mixwright.exports.staged import STAGED

BUDGET = {
    "tokens": 100 * 4096e3,
    "sequence_length": 1000,
    "batch_tokens": 4096e3,
    "peak_learning_rate": 3e-4,
}
LENGTHS = {"web": 800.0, "code": 1500.0, "math": 600.0}


@pytest.fixture
def plan(client, study):
    def send(planner="anneal", **more):
        body = {"planner": planner, "budget": BUDGET, "seed": 7, **more}
        response = client.post(f"/v1/studies/{study}/schedules", json=body)
        assert response.status_code == 201, response.text
        return response.json()["id"]

    return send


@pytest.fixture
def export(client):
    def get(schedule, status=200, accept="*/*", **query):
        path = f"/v1/schedules/{schedule}/export"
        response = client.get(path, params=query, headers={"Accept": accept})
        assert response.status_code == status, response.text
        return response

    return get


ANNEAL = {"share": 0.25, "anneal_weights": {"web": 0.5, "math": 0.5}}


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_takes_a_schedule(client, study, plan, export, name):
    domains = client.get(f"/v1/studies/{study}").json()["domains"]
    for domain in domains:
        domain["mean_document_tokens"] = LENGTHS[domain["name"]]
    client.patch(f"/v1/studies/{study}", json={"domains": domains})
    made = plan(options=ANNEAL)
    response = export(made, format=name)
    written = export(made, format=name, accept="application/json").json()
    if name in STAGED:
        assert response.text == written["files"][0]["text"]
        assert made in response.text
        assert response.headers["content-type"].split(";")[0] == STAGED[name].media_type
        return
    assert response.headers["content-type"] == "application/zip"
    assert response.content == export(made, format=name).content
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        texts = {one: archive.read(one).decode() for one in archive.namelist()}
    assert texts == {one["filename"]: one["text"] for one in written["files"]}
    assert len(texts) == 2
    assert any("segment 2" in one for one in texts.values())


def test_the_text_is_the_schedule(plan, export):
    made = plan(options=ANNEAL)
    data = yaml.safe_load(export(made, format="levanter").text)["data"]
    assert data["train_weights"] == [
        [0, {"web": 0.6, "code": 0.3, "math": 0.1}],
        [75, {"web": 0.5, "math": 0.5}],
    ]
    stages = yaml.safe_load(export(made, format="nanotron").text)["data_stages"]
    assert [one["start_training_step"] for one in stages] == [1, 76]
    assert {one["data"]["seed"] for one in stages} == {7}
    foundry = yaml.safe_load(export(made, format="llm_foundry", seed=1).text)
    assert foundry["max_duration"] == "409600000tok"
    assert foundry["train_loader"]["dataset"]["shuffle_seed"] == 1


def test_a_ramp_and_a_selection_are_told(plan, export):
    made = plan("drop_stable_rampup")
    warnings = export(made, format="nanotron", accept="application/json").json()["warnings"]
    assert any("batch size changes" in one for one in warnings)
    documents = {
        "domain": ["web", "code"] * 20,
        "tokens": [10.0] * 40,
        "columns": {"quality": [float(one) for one in range(40)]},
    }
    made = plan("quality_curriculum", documents=documents, options={"buckets": 4})
    written = export(made, format="nanotron", accept="application/json").json()
    assert any("select documents" in one for one in written["warnings"])
    stages = yaml.safe_load(written["files"][0]["text"])["data_stages"]
    assert [one["data"]["dataset"]["dataset_weights"] for one in stages] == [[0.5, 0.5]] * 4


def test_past_stages_are_the_same_bytes_in_a_schedule_that_changes_later_ones(plan, export):
    first = plan(options=ANNEAL)
    second = plan(options={**ANNEAL, "anneal_weights": {"code": 1.0}})
    for name, until in (("nanotron", '  - name: "anneal"'), ("levanter", "    - [75,")):
        bodies = [
            "\n".join(
                line for line in export(one, format=name).text.splitlines() if line[0] != "#"
            ).split(until)[0]
            for one in (first, second)
        ]
        assert bodies[0] == bodies[1] != ""
    files = [
        export(one, format="megatron", accept="application/json").json()["files"]
        for one in (first, second)
    ]
    assert files[0][0] == files[1][0]
    assert files[0][1] != files[1][1]


def test_past_stages_are_the_same_bytes_in_the_canonical_form_of_a_longer_training(plan, export):
    first = plan(options=ANNEAL)
    longer = {**BUDGET, "tokens": 1.5 * BUDGET["tokens"]}
    second = plan(options={**ANNEAL, "share": 0.5}, budget=longer)
    texts = [export(one, format="canonical").text for one in (first, second)]
    begun, rest = (text.split('"stages": [')[1].split('"name": "anneal"') for text in texts)
    assert begun[0] == rest[0]
    assert begun[1] != rest[1]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"format": "stone"}, "/format"),
        ({}, "/format"),
        ({"format": "levanter", "unit": "epochs"}, "/unit"),
        ({"format": "levanter", "colour": "red"}, "/colour"),
        ({"format": "huggingface", "unit": "document_probability"}, "/mean_document_tokens"),
    ],
)
def test_a_wrong_query_is_refused_and_named(plan, export, query, pointer):
    answer = export(plan(), 422, **query).json()
    assert pointer in [wrong["pointer"] for wrong in answer["errors"]]


def test_an_unknown_schedule_is_not_found(export, study):
    export("sch_0", 404, format="canonical")
