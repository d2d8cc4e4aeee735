"""Functions whose raters are normalised by ranks: on the server, and where they are applied."""

import itertools
import json

import numpy as np
import pandas
import pytest
from quality_cases import fit_rater
from rated_study import (
    DOMAINS,
    META_RATER,
    NDJSON,
    QUADMIX,
    RATERS,
    THETA,
    as_lines,
    documents,
    rated_study,
)

from mixwright.quality.function import SamplingFunction
from mixwright_client import sampling_function
from mixwright_client.sampling import Chooser

BY_RANKS = {"normalisation": "rank_normal"}
ROWS = documents(3000)
INDEX = np.array([DOMAINS.index(row["domain"]) for row in ROWS])
SCORES = np.array([[row[name] for name in RATERS] for row in ROWS])
TOKENS = np.array([row["tokens"] for row in ROWS])
WEIGHTS = {"parameters": {"edu": 0.5, "perplexity": 0.5}, "budget_tokens": 1e8}


@pytest.fixture
def make(client, rated):
    """Makes a function of a study whose sample was sent in parts; returns it as answered."""

    def make(space, rows=ROWS, cuts=(), name="rated"):
        study = rated(space, name=name)
        client.delete(f"/v1/studies/{study}/samples")
        for start, end in itertools.pairwise((0, *cuts, len(rows))):
            path, headers = f"/v1/studies/{study}/samples", {"Content-Type": NDJSON}
            sent = client.post(path, content=as_lines(rows[start:end]), headers=headers)
            assert sent.status_code == 201, sent.text
        body = WEIGHTS if space["kind"] == "meta_rater" else {"parameters": THETA}
        made = client.post(f"/v1/studies/{study}/sampling-functions", json=body)
        assert made.status_code == 201, made.text
        return made.json()

    return make


def read(made):
    return SamplingFunction.from_json(json.dumps(made["function"]))


@pytest.mark.parametrize(
    ("space", "recorded"),
    [
        (QUADMIX | BY_RANKS, "rank_normal"),
        (META_RATER | BY_RANKS, "rank_normal_of_documents"),
        (QUADMIX, "z_score"),
        (META_RATER, "z_score_of_documents"),
    ],
)
def test_raters_are_normalised_as_the_space_says(client, make, space, recorded):
    made = make(space)
    sample = client.get("/v1/studies/rated/samples").json()["raters"]
    weights = np.ones(len(TOKENS)) if "documents" in recorded else TOKENS
    for place, rater in enumerate(read(made).raters):
        higher, kind = rater.name == "edu", recorded.removesuffix("_of_documents")
        fitted = fit_rater(rater.name, higher, SCORES[:, place], weights, kind)
        assert rater.to_json() == fitted.to_json() | {"normalisation": recorded}
        assert sample[rater.name]["normalisation"] == recorded


@pytest.mark.parametrize("space", [QUADMIX | BY_RANKS, META_RATER | BY_RANKS])
def test_the_division_of_the_sample_changes_no_bit_of_ranks(make, space):
    assert make(space)["digest"] == make(space, cuts=(700, 1500))["digest"]


@pytest.mark.parametrize("space", [QUADMIX | BY_RANKS, META_RATER | BY_RANKS])
def test_server_core_and_client_choose_the_same(client, make, space):
    path = f"/v1/sampling-functions/{make(space)['id']}"
    asked = [
        {name: row[name] for name in ("id", "domain", "tokens")}
        | {"scores": {name: row[name] for name in RATERS}}
        for row in ROWS
    ]
    body = {"documents": asked, "seed": 3}
    found = client.post(f"{path}/evaluate", json=body).json()["documents"]
    text = client.get(f"{path}/function.json").text
    there = sampling_function.SamplingFunction.from_json(text)
    expected = there.expected_copies(INDEX, SCORES)
    assert [one["expected_copies"] for one in found] == expected.tolist()
    (frame,) = Chooser(there, 3, copies_column="copies").frames([pandas.DataFrame(ROWS)])
    copies = dict(zip(frame["id"], frame["copies"].tolist(), strict=True))
    assert [one["copies"] for one in found] == [copies.get(row["id"], 0) for row in ROWS]
    assert 0 < len(copies) < len(ROWS)


def test_an_outlier_no_longer_decides(make):
    wild = [*ROWS, ROWS[0] | {"id": "wild", "perplexity": 1e12}]
    web = INDEX == 0  # there, both raters count alike
    better = []
    for name, space in (("calm", QUADMIX), ("ranks", QUADMIX | BY_RANKS)):
        function = read(make(space, wild, name=name))
        kept = function.expected_copies(INDEX, SCORES)[web] >= 1
        better.append(SCORES[web][~kept, 1].mean() - SCORES[web][kept, 1].mean())
    assert better[1] > 1.1 * better[0]


def test_what_is_no_normalisation_is_refused(client):
    for space, says in (
        (QUADMIX | {"normalisation": "minmax"}, "'z_score' or 'rank_normal'"),
        ({"kind": "mixture", "normalisation": "z_score"}, "leave it out"),
    ):
        response = client.post("/v1/studies", json=rated_study(space))
        assert response.status_code == 422
        assert [one["pointer"] for one in response.json()["errors"]] == ["/space/normalisation"]
        assert says in response.text


def test_studies_from_before_are_of_the_same_space(client, rated, sessions):
    from app.db.models import StudyRow

    study = rated(QUADMIX)
    run = {"fidelity": "1m", "metrics": {"loss": 3.0}, "parameters": THETA}
    assert client.post(f"/v1/studies/{study}/runs", json=run).status_code == 201
    with sessions.begin() as session:
        row = session.query(StudyRow).one()
        space = {n: v for n, v in row.definition["space"].items() if n != "normalisation"}
        row.definition = {**row.definition, "space": space}
    assert client.patch(f"/v1/studies/{study}", json={"name": "later"}).status_code == 200
    other = client.patch("/v1/studies/later", json={"space": QUADMIX | BY_RANKS})
    assert [one["pointer"] for one in other.json()["errors"]] == ["/space"]
