import json

import pytest
from small_study import made_up_runs

from mixwright.exports import EXPORTS
from mixwright.exports.staged import STAGED

LENGTHS = {"web": 800.0, "code": 1500.0, "math": 600.0}


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


@pytest.fixture
def recommendation(client, study, store_runs, work):
    """The id of a recommendation that succeeded."""
    store_runs(made_up_runs(40))
    body = {"surrogate": "linear", "method": "exact", "kl_to_prior": 0.5}
    response = client.post(f"/v1/studies/{study}/recommendations", json=body)
    work()
    return response.json()["id"]


@pytest.fixture
def describe(client, study):
    """Adds to what the study says of its domains."""

    def patch(**values):
        domains = client.get(f"/v1/studies/{study}").json()["domains"]
        for domain in domains:
            domain |= {field: known[domain["name"]] for field, known in values.items()}
        response = client.patch(f"/v1/studies/{study}", json={"domains": domains})
        assert response.status_code == 200, response.text

    return patch


@pytest.fixture
def export(client, recommendation):
    def get(accept="*/*", **query):
        return client.get(
            f"/v1/recommendations/{recommendation}/export",
            params=query,
            headers={"Accept": accept},
        )

    return get


def test_formats_are_listed_with_their_units(client):
    formats = client.get("/v1/export-formats").json()["items"]
    assert [one["name"] for one in formats] == list(EXPORTS)
    for one in formats:
        assert one["default_unit"] == one["units"][0]["name"]
        assert one["title"]
        assert one["media_type"]
        assert (one["stages"] == "one file") == (one["name"] in STAGED)


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_writes_every_domain(export, describe, name):
    describe(mean_document_tokens=LENGTHS)
    needed = {
        "token_budget": 1e10,
        "sequence_length": 4096,
        "seed": 0,
    }
    response = export(format=name, **needed)
    assert response.status_code == 200, response.text
    assert all(domain in response.text for domain in ("web", "code", "math"))
    assert response.headers["content-type"].split(";")[0] == EXPORTS[name].media_type
    assert EXPORTS[name].filename in response.headers["content-disposition"]


def test_the_text_is_the_recommended_mixture(client, recommendation, export):
    weights = client.get(f"/v1/recommendations/{recommendation}").json()["weights"]
    canonical = json.loads(export(format="generic_json", unit="token_share").text)
    for domain, weight in weights.items():
        assert json.dumps(canonical).count(domain) >= 1
        assert find_weight(canonical, domain) == pytest.approx(weight, abs=1e-6)


def find_weight(document, domain):
    if isinstance(document, dict):
        if isinstance(document.get(domain), int | float):
            return document[domain]
        found = [find_weight(value, domain) for value in document.values()]
        return next((one for one in found if one is not None), None)
    return None


def test_json_has_text_and_warnings_side_by_side(export):
    plain = export(format="levanter")
    wrapped = export(accept="application/json", format="levanter").json()
    assert wrapped["text"] == plain.text
    assert wrapped["unit"] == EXPORTS["levanter"].units[0]
    assert wrapped["filename"] == EXPORTS["levanter"].filename
    assert any("placeholder" in warning for warning in wrapped["warnings"])
    assert plain.headers["vary"] == "Accept"


def test_json_names_the_unit_that_was_used(export, describe):
    asked = {"accept": "application/json", "format": "huggingface"}
    assert export(**asked).json()["unit"] == "token_share"
    describe(mean_document_tokens=LENGTHS)
    assert export(**asked).json()["unit"] == "document_probability"


def test_paths_are_those_of_the_study(export, describe):
    assert "/path/to/web" in export(format="megatron").text
    describe(path={"web": "/data/web", "code": "s3://b/code", "math": "/data/math"})
    written = export(accept="application/json", format="megatron").json()
    assert "/data/web" in written["text"]
    assert "s3://b/code" in written["text"]
    assert not any("placeholder" in warning for warning in written["warnings"])


def test_a_proposal_is_exported_like_a_recommendation(client, study):
    run = client.post(f"/v1/studies/{study}/proposals", json={}).json()["items"][0]
    text = client.get(
        f"/v1/runs/{run['id']}/export", params={"format": "generic_json", "unit": "token_share"}
    ).text
    written = json.loads(text)
    for domain, weight in run["weights"].items():
        assert (find_weight(written, domain) or 0.0) == pytest.approx(weight, abs=1e-6)
    assert run["id"] in text
    assert client.get("/v1/runs/run_0/export?format=canonical").status_code == 404


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"format": "stone"}, "/format"),
        ({}, "/format"),
        ({"format": "levanter", "unit": "epochs"}, "/unit"),
        ({"format": "levanter", "unit": "stone"}, "/unit"),
        ({"format": "levanter", "token_budget": -1}, "/token_budget"),
        ({"format": "levanter", "sequence_length": 0}, "/sequence_length"),
        ({"format": "levanter", "colour": "red"}, "/colour"),
        (
            {"format": "huggingface", "unit": "document_probability"},
            "/mean_document_tokens",
        ),
    ],
)
def test_a_wrong_query_is_refused_and_named(export, query, pointer):
    body = problem(export(**query), 422)
    assert pointer in [wrong["pointer"] for wrong in body["errors"]]


def test_what_is_not_done_is_a_conflict(client, study):
    asked = client.post(f"/v1/studies/{study}/recommendations", json={"surrogate": "linear"})
    path = f"/v1/recommendations/{asked.json()['id']}/export?format=canonical"
    assert "queued" in problem(client.get(path), 409)["detail"]


def test_an_unknown_recommendation_is_not_found(client, study):
    problem(client.get("/v1/recommendations/rec_0/export?format=canonical"), 404)
