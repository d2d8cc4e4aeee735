import json

import numpy as np
import pytest
from rated_study import DOMAINS, META_RATER, NDJSON, QUADMIX, RATERS, THETA, as_lines, documents

from mixwright.quality.function import SamplingFunction
from mixwright.quality.meta_rater import select
from mixwright.quality.uniforms import uniforms_of


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


def pointers(response):
    return {error["pointer"] for error in problem(response, 422)["errors"]}


@pytest.fixture
def rows():
    return documents(3000)


@pytest.fixture
def sampled(client, rated, rows):
    """Creates a rated study with a sample; returns its name."""

    def create(space=QUADMIX, rows=rows, **options):
        study = rated(space, **options)
        headers = {"Content-Type": NDJSON}
        path = f"/v1/studies/{study}/samples"
        assert client.post(path, content=as_lines(rows), headers=headers).status_code == 201
        return study

    return create


@pytest.fixture
def ask(client):
    def post(study, headers=None, **body):
        return client.post(f"/v1/studies/{study}/sampling-functions", json=body, headers=headers)

    return post


def arrays(rows):
    index = np.array([DOMAINS.index(row["domain"]) for row in rows])
    scores = np.array([[row[name] for name in RATERS] for row in rows])
    return index, scores, np.array([row["tokens"] for row in rows])


class TestQuadmix:
    def test_a_function_says_what_it_selects(self, ask, sampled, rows):
        made = ask(sampled(), parameters=THETA)
        assert made.status_code == 201, made.text
        body = made.json()
        assert made.headers["location"] == f"/v1/sampling-functions/{body['id']}"
        assert body["parameters"] == THETA
        function = SamplingFunction.from_json(json.dumps(body["function"]))
        index, scores, tokens = arrays(rows)
        copies = function.expected_copies(index, scores)
        found = body["implied"]
        available = {"web": 1e9, "code": 2e8}
        for place, name in enumerate(DOMAINS):
            members = index == place
            scale = available[name] / tokens[members].sum()
            selected = (tokens * copies)[members].sum() * scale
            distinct = (tokens * np.minimum(copies, 1))[members].sum() * scale
            assert found["tokens"][name] == pytest.approx(selected, rel=1e-12)
            assert found["distinct_tokens"][name] == pytest.approx(distinct, rel=1e-12)
            assert found["repetitions"][name] == pytest.approx(selected / distinct, rel=1e-12)
            assert found["available_tokens"][name] == available[name]
        assert found["expected_tokens"] == pytest.approx(sum(found["tokens"].values()))
        assert sum(found["mixture"].values()) == pytest.approx(1, abs=1e-9)
        assert found["available_of"] == "study"
        assert found["warnings"] == []
        assert body["sample"]["documents"] == 3000

    def test_without_tokens_of_the_domains_those_of_the_sample_count(self, ask, sampled, rows):
        found = ask(sampled(tokens=(1e9, None)), parameters=THETA).json()["implied"]
        assert found["available_of"] == "sample"
        web = sum(row["tokens"] for row in rows if row["domain"] == "web")
        assert found["available_tokens"]["web"] == web
        assert any("those of the sample" in warning for warning in found["warnings"])

    def test_the_order_of_uploads_does_not_matter(self, client, ask, rated):
        digests = []
        for order in ((1, 2, 3), (3, 1, 2)):
            study = rated(QUADMIX)
            client.delete(f"/v1/studies/{study}/samples")
            for seed in order:
                client.post(
                    f"/v1/studies/{study}/samples",
                    content=as_lines(documents(500, seed)),
                    headers={"Content-Type": NDJSON},
                )
            digests.append(ask(study, parameters=THETA).json()["digest"])
        assert digests[0] == digests[1]

    def test_outside_of_what_is_searched_is_a_warning(self, ask, sampled):
        theta = json.loads(json.dumps(THETA))
        theta["web"] |= {"omega": 0.9, "lambda": 5000.0}
        warnings = ask(sampled(), parameters=theta).json()["implied"]["warnings"]
        assert len(warnings) == 2
        assert "lambda of domain 'web' is 5000" in warnings[0]
        wider = sampled(QUADMIX | {"limits": {"lambda": 10_000, "omega": 1}}, name="wider")
        assert ask(wider, parameters=theta).json()["implied"]["warnings"] == []

    @pytest.mark.parametrize(
        ("change", "wanted"),
        [
            ({"parameters": THETA | {"maths": THETA["web"]}}, {"/parameters/maths"}),
            ({"parameters": {"web": THETA["web"]}}, {"/parameters/code"}),
            (
                {"parameters": THETA | {"web": THETA["web"] | {"omega": 1.5}}},
                {"/parameters/web/omega"},
            ),
            (
                {"parameters": THETA | {"web": THETA["web"] | {"lambda": -1, "eta": "x"}}},
                {"/parameters/web/lambda", "/parameters/web/eta"},
            ),
            (
                {"parameters": THETA | {"code": THETA["code"] | {"rater_weights": {"edu": 1}}}},
                {"/parameters/code/rater_weights/perplexity"},
            ),
            ({}, {"/parameters"}),
            ({"parameters": THETA, "recommendation": "rec_1"}, {"/parameters"}),
            ({"recommendation": "rec_1"}, {"/recommendation"}),
            ({"parameters": THETA, "budget_tokens": 1e6}, {"/budget_tokens"}),
            ({"parameters": THETA, "colour": "red"}, {"/colour"}),
        ],
    )
    def test_what_is_wrong_is_named(self, ask, sampled, change, wanted):
        assert pointers(ask(sampled(), **change)) == wanted

    def test_half_a_character_and_no_number_are_refused(self, client, sampled):
        study = sampled()
        for text in ('{"parameters": {"\\ud800": 1}}', '{"parameters": {"web": NaN}}'):
            response = client.post(
                f"/v1/studies/{study}/sampling-functions",
                content=text,
                headers={"Content-Type": "application/json"},
            )
            problem(response, 422)

    def test_a_sample_that_cannot_tell_ranks_is_a_conflict(self, client, ask, rated, sampled, rows):
        assert (
            "no document with tokens"
            in problem(ask(rated(QUADMIX), parameters=THETA), 409)["detail"]
        )
        study = sampled(rows=[row for row in rows if row["domain"] == "web"])
        assert "'code'" in problem(ask(study, parameters=THETA), 409)["detail"]
        client.delete(f"/v1/studies/{study}/samples")
        study = sampled(rows=[row | {"edu": 0.25} for row in rows])
        detail = problem(ask(study, parameters=THETA), 409)["detail"]
        assert "'edu'" in detail
        assert "'perplexity'" not in detail

    def test_a_rater_that_points_the_wrong_way_is_a_warning(self, ask, sampled):
        study = sampled(QUADMIX | {"lower_is_better": []}, name="turned")
        warnings = ask(study, parameters=THETA).json()["implied"]["warnings"]
        assert any("check its direction" in warning for warning in warnings)

    def test_a_study_of_mixtures_has_no_function(self, ask, study):
        problem(ask(study, parameters=THETA), 409)

    def test_the_same_key_gives_the_first_answer_though_the_sample_is_gone(
        self, client, ask, sampled
    ):
        study, key = sampled(), {"Idempotency-Key": "once"}
        first = ask(study, key, parameters=THETA)
        client.delete(f"/v1/studies/{study}/samples")
        again = ask(study, key, parameters=THETA)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json() == first.json()
        assert len(client.get(f"/v1/studies/{study}/sampling-functions").json()["items"]) == 1


class TestRecommended:
    @pytest.fixture
    def recommended(self, client, work):
        """Has parameters recommended after runs with random ones; returns the recommendation."""

        def recommend(study):
            rng = np.random.default_rng(0)
            for number in range(16):
                loss, parameters = 3 + rng.random(), THETA
                if study == "rated":
                    theta = json.loads(json.dumps(THETA))
                    theta["web"]["omega"] = float(rng.uniform(0, 0.1))
                    loss, parameters = 3 + theta["web"]["omega"], theta
                else:
                    share = float(rng.random())
                    loss, parameters = 3 - share, {"edu": share, "perplexity": 1 - share}
                run = {"external_id": str(number), "fidelity": "1m", "metrics": {"loss": loss}}
                sent = client.post(
                    f"/v1/studies/{study}/runs", json=run | {"parameters": parameters}
                )
                assert sent.status_code == 201, sent.text
            body = {"surrogate": "linear", "candidates": 200, "top_k": 5}
            rec = client.post(f"/v1/studies/{study}/recommendations", json=body).json()["id"]
            work()
            return client.get(f"/v1/recommendations/{rec}").json()

        return recommend

    def test_a_recommendation_is_its_parameters(self, ask, sampled, recommended):
        study = sampled()
        rec = recommended(study)
        assert rec["state"] == "succeeded", rec["error"]
        made = ask(study, recommendation=rec["id"]).json()
        assert made["parameters"] == rec["parameters"]
        assert made["recommendation"] == rec["id"]
        same = ask(study, parameters=rec["parameters"]).json()
        assert same["digest"] == made["digest"]
        assert same["recommendation"] is None

    def test_the_report_says_what_the_newest_function_selects(
        self, client, ask, sampled, recommended
    ):
        study = sampled()
        path = f"/v1/recommendations/{(rec := recommended(study))['id']}/report"
        assert "Computed from the tokens" in client.get(path).text
        ask(study, recommendation=rec["id"])
        page = client.get(path)
        assert page.status_code == 200
        assert "Keep the best" in page.text
        assert "Estimated from the study&#39;s sample" in page.text

    def test_raters_weights_are_recommended_too(self, ask, sampled, recommended):
        study = sampled(META_RATER, name="weighed")
        rec = recommended(study)
        made = ask(study, recommendation=rec["id"], budget_tokens=1e8).json()
        assert made["parameters"] == rec["parameters"]
        assert made["implied"]["expected_tokens"] == pytest.approx(1e8, rel=0.02)

    def test_another_studys_or_an_unfinished_one_is_refused(
        self, client, ask, sampled, recommended
    ):
        study, other = sampled(), sampled(name="other")
        rec = recommended(study)["id"]
        assert pointers(ask(other, recommendation=rec)) == {"/recommendation"}
        path = f"/v1/studies/{study}/recommendations"
        queued = client.post(path, json={"surrogate": "linear", "seed": 1}).json()["id"]
        assert "queued" in problem(ask(study, recommendation=queued), 409)["detail"]


class TestReading:
    def test_the_file_is_the_function_to_the_byte(self, client, ask, sampled):
        made = ask(sampled(), parameters=THETA).json()
        path = f"/v1/sampling-functions/{made['id']}"
        file = client.get(f"{path}/function.json")
        function = SamplingFunction.from_json(file.content)
        assert function.to_json().encode() == file.content
        assert json.loads(file.content) == made["function"]
        assert file.headers["etag"] == f'"{made["digest"]}"'
        known = {"If-None-Match": file.headers["etag"]}
        assert client.get(f"{path}/function.json", headers=known).status_code == 304
        assert client.get(path).json() == made
        etag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304

    def test_functions_are_listed_without_themselves(self, client, ask, sampled):
        study = sampled()
        ids = [ask(study, parameters=THETA).json()["id"] for _ in range(3)]
        path = f"/v1/studies/{study}/sampling-functions"
        page = client.get(path, params={"limit": 2}).json()
        assert [one["id"] for one in page["items"]] == ids[:2]
        rest = client.get(path, params={"cursor": page["next_cursor"]}).json()
        assert [one["id"] for one in rest["items"]] == ids[2:]
        assert "function" not in page["items"][0]
        assert page["items"][0]["implied"]["expected_tokens"] > 0

    def test_an_unknown_function_is_not_found(self, client):
        for path in ("", "/function.json"):
            problem(client.get(f"/v1/sampling-functions/function_0{path}"), 404)


class TestEvaluating:
    @pytest.fixture
    def made(self, ask, sampled):
        return ask(sampled(), parameters=THETA).json()

    def evaluate(self, client, made, documents, **more):
        body = {"documents": documents, **more}
        return client.post(f"/v1/sampling-functions/{made['id']}/evaluate", json=body)

    def as_asked(self, rows):
        return [
            {name: row[name] for name in ("id", "domain", "tokens")}
            | {"scores": {name: row[name] for name in RATERS}}
            for row in rows
        ]

    def test_it_is_what_the_function_does_elsewhere(self, client, made):
        others = documents(400, seed=9)
        found = self.evaluate(client, made, self.as_asked(others), seed=7).json()["documents"]
        function = SamplingFunction.from_json(json.dumps(made["function"]))
        index, scores, tokens = arrays(others)
        expected = function.expected_copies(index, scores)
        copies = function.copies(index, scores, uniforms_of([row["id"] for row in others], 7))
        assert [one["rank"] for one in found] == function.rank(index, scores).tolist()
        assert [one["expected_copies"] for one in found] == expected.tolist()
        assert [one["expected_tokens"] for one in found] == (expected * tokens).tolist()
        assert [one["copies"] for one in found] == copies.tolist()
        assert sum(copies) > 0

    def test_a_number_is_its_digits_and_without_an_id_there_are_no_copies(self, client, made):
        document = {"domain": "web", "scores": {"edu": 9.0, "perplexity": 9.0}}
        asked = [document | {"id": 7}, document | {"id": "7"}, document]
        seven, text, nameless = self.evaluate(client, made, asked).json()["documents"]
        assert seven["copies"] == text["copies"] >= 1
        assert (nameless["copies"], nameless["id"], nameless["expected_tokens"]) == (None,) * 3

    def test_every_wrong_document_is_named(self, client, made):
        good = {"domain": "web", "scores": {"edu": 1.0, "perplexity": 9.0}}
        asked = [
            good,
            good | {"domain": "maths"},
            good | {"scores": {"edu": 1.0, "fluency": 2.0}},
        ]
        assert pointers(self.evaluate(client, made, asked)) == {
            "/documents/1/domain",
            "/documents/2/scores/perplexity",
            "/documents/2/scores/fluency",
        }
        assert "/documents" in pointers(self.evaluate(client, made, []))


class TestMetaRater:
    def test_it_keeps_what_meta_rater_keeps(self, client, ask, sampled, rows):
        study = sampled(META_RATER, tokens=(None, None))
        index, scores, tokens = arrays(rows)
        budget = float(tokens.sum()) / 10
        weights = {"edu": 0.4, "perplexity": 0.6}
        made = ask(study, parameters=weights, budget_tokens=budget).json()
        assert made["parameters"] == weights
        assert made["budget_tokens"] == budget
        function = SamplingFunction.from_json(json.dumps(made["function"]))
        kept = select(scores * [1, -1], tokens, np.array([0.4, 0.6]), budget)
        np.testing.assert_array_equal(function.expected_copies(index, scores), kept)
        assert made["implied"]["expected_tokens"] == tokens[kept].sum()
        assert made["implied"]["repetitions"] == {"web": 1.0, "code": 1.0}

    def test_the_budget_is_of_the_whole_domains(self, ask, sampled):
        study = sampled(META_RATER)
        body = {"parameters": {"edu": 1.0, "perplexity": 0.0}, "budget_tokens": 1e8}
        found = ask(study, **body).json()["implied"]
        assert found["expected_tokens"] == pytest.approx(1e8, rel=0.01)

    @pytest.mark.parametrize(
        ("body", "wanted"),
        [
            ({"parameters": {"edu": 0.4, "perplexity": 0.6}}, {"/budget_tokens"}),
            (
                {"parameters": {"edu": 0.4, "perplexity": 0.6}, "budget_tokens": 0},
                {"/budget_tokens"},
            ),
            ({"parameters": {"edu": 1.0}, "budget_tokens": 1}, {"/parameters/perplexity"}),
            ({"parameters": {"edu": 0.4, "perplexity": 0.4}, "budget_tokens": 1}, {"/parameters"}),
            (
                {"parameters": {"edu": -1, "perplexity": 2.0}, "budget_tokens": 1},
                {"/parameters/edu"},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, ask, sampled, body, wanted):
        assert pointers(ask(sampled(META_RATER), **body)) == wanted
