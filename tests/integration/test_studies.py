import pytest
from small_study import SMALL_STUDY


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    return body


def pointers(response):
    return {error["pointer"] for error in problem(response, 422)["errors"]}


class TestCreate:
    def test_defaults_are_filled_in(self, client):
        response = client.post("/v1/studies", json=SMALL_STUDY)

        assert response.status_code == 201
        study = response.json()
        assert response.headers["location"] == f"/v1/studies/{study['id']}"
        assert [domain["prior"] for domain in study["domains"]] == pytest.approx([0.6, 0.3, 0.1])
        assert study["objective"] == {"loss/web": 0.5, "loss/code": 0.5}
        assert study["domains"][0]["upper"] == 1.0
        assert study["metrics"][0]["direction"] == "minimize"
        assert study["created_at"].endswith("Z")

    def test_without_tokens_the_prior_is_uniform(self, client):
        domains = [{"name": "a"}, {"name": "b"}]
        study = client.post("/v1/studies", json={**SMALL_STUDY, "domains": domains}).json()
        assert [domain["prior"] for domain in study["domains"]] == [0.5, 0.5]

    def test_a_single_fidelity_is_the_target(self, client):
        asked = {k: v for k, v in SMALL_STUDY.items() if k != "target_fidelity"}
        study = client.post("/v1/studies", json={**asked, "fidelities": [{"name": "1m"}]}).json()
        assert study["target_fidelity"] == "1m"

    def test_several_fidelities_need_a_target(self, client):
        asked = {k: v for k, v in SMALL_STUDY.items() if k != "target_fidelity"}
        assert pointers(client.post("/v1/studies", json=asked)) == {"/target_fidelity"}

    def test_a_taken_name_is_a_conflict(self, client, study):
        assert "small" in problem(client.post("/v1/studies", json=SMALL_STUDY), 409)["detail"]

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"colour": "red"}, "/colour"),
            ({"name": "a b"}, "/name"),
            ({"domains": []}, "/domains"),
            ({"domains": [{"name": "a"}, {"name": "a"}]}, "/domains/1/name"),
            ({"domains": [{"name": "a", "lower": 0.7, "upper": 0.2}]}, "/domains/0/lower"),
            ({"domains": [{"name": "a", "prior": 0.4}, {"name": "b"}]}, "/domains/1/prior"),
            (
                {"domains": [{"name": "a", "prior": 0.4}, {"name": "b", "prior": 0.4}]},
                "/domains",
            ),
            ({"domains": [{"name": "a", "tokens": "many"}]}, "/domains/0/tokens"),
            ({"metrics": [{"name": "x", "direction": "sideways"}]}, "/metrics/0/direction"),
            ({"objective": {"loss/mars": 1.0}}, "/objective/loss~1mars"),
            ({"target_fidelity": "7b"}, "/target_fidelity"),
            (
                {"constraints": {"linear": [{"coefficients": {"mars": 1.0}, "upper": 0.5}]}},
                "/constraints/linear/0/coefficients/mars",
            ),
            (
                {"constraints": {"linear": [{"coefficients": {"web": 1.0}}]}},
                "/constraints/linear/0",
            ),
        ],
    )
    def test_bad_input_names_the_field(self, client, change, pointer):
        assert pointer in pointers(client.post("/v1/studies", json={**SMALL_STUDY, **change}))

    def test_every_wrong_field_is_named(self, client):
        change = {"objective": {"x": 1.0, "y": 2.0}, "target_fidelity": "7b"}
        response = client.post("/v1/studies", json={**SMALL_STUDY, **change})
        assert pointers(response) == {"/objective/x", "/objective/y", "/target_fidelity"}

    def test_infeasible_repetition_says_the_largest_target(self, client):
        repetition = {"target_tokens": 1e13, "max_epochs": 4}
        response = client.post(
            "/v1/studies", json={**SMALL_STUDY, "constraints": {"repetition": repetition}}
        )
        body = problem(response, 422)
        assert body["errors"][0]["pointer"] == "/constraints/repetition/target_tokens"
        assert "4e+12" in body["detail"]  # 4 epochs of 1e12 tokens

    def test_infeasible_bounds_are_refused(self, client):
        domains = [{"name": "a", "upper": 0.3}, {"name": "b", "upper": 0.3}]
        response = client.post("/v1/studies", json={**SMALL_STUDY, "domains": domains})
        assert "/constraints" in pointers(response)


class TestRead:
    def test_by_id_and_by_name(self, client, study):
        by_name = client.get("/v1/studies/small").json()
        assert client.get(f"/v1/studies/{study}").json() == by_name

    def test_an_unchanged_study_is_304(self, client, study):
        etag = client.get(f"/v1/studies/{study}").headers["etag"]
        response = client.get(f"/v1/studies/{study}", headers={"If-None-Match": etag})
        assert response.status_code == 304
        assert response.content == b""

    def test_an_unknown_study_is_404(self, client):
        assert "mars" in problem(client.get("/v1/studies/mars"), 404)["detail"]

    def test_pages_cover_all_studies_once(self, client):
        for index in range(5):
            client.post("/v1/studies", json={**SMALL_STUDY, "name": f"s{index}"})
        names, cursor = [], ""
        while cursor is not None:
            page = client.get(f"/v1/studies?limit=2{cursor and '&cursor=' + cursor}").json()
            names += [item["name"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert names == ["s0", "s1", "s2", "s3", "s4"]


class TestUpdate:
    def test_changes_what_is_named_and_keeps_the_rest(self, client, study):
        before = client.get(f"/v1/studies/{study}").json()
        after = client.patch(f"/v1/studies/{study}", json={"objective": {"loss/web": 1.0}}).json()
        assert after["objective"] == {"loss/web": 1.0}
        assert after["version"] == before["version"] + 1
        assert after["domains"] == before["domains"]

    def test_an_outdated_version_is_412(self, client, study):
        etag = client.get(f"/v1/studies/{study}").headers["etag"]
        patch = {"objective": {"loss/web": 1.0}}
        headers = {"If-Match": etag}
        assert client.patch(f"/v1/studies/{study}", json=patch, headers=headers).is_success
        problem(client.patch(f"/v1/studies/{study}", json=patch, headers=headers), 412)

    def test_domains_cannot_be_lost(self, client, study):
        patch = {"domains": SMALL_STUDY["domains"][:2]}
        assert pointers(client.patch(f"/v1/studies/{study}", json=patch)) == {"/domains"}

    def test_metrics_can_be_added_at_the_end(self, client, study):
        metrics = [*SMALL_STUDY["metrics"], {"name": "loss/math"}]
        response = client.patch(f"/v1/studies/{study}", json={"metrics": metrics})
        assert [m["name"] for m in response.json()["metrics"]][-1] == "loss/math"


class TestDelete:
    def test_takes_its_runs_along(self, client, study):
        assert client.delete(f"/v1/studies/{study}").status_code == 204
        problem(client.get(f"/v1/studies/{study}"), 404)
