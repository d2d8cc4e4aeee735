import copy
import csv
import io
import json

import pytest
from small_study import SMALL_RUN
from sqlalchemy import event, func, select

from app.db.models import RunRow
from app.runs.repository import count_completed


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


def post(client, study, run):
    return client.post(
        f"/v1/studies/{study}/runs",
        content=json.dumps(run),
        headers={"Content-Type": "application/json"},
    )


def changed(**change):
    return {**copy.deepcopy(SMALL_RUN), **change}


def num_runs(sessions):
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(RunRow))


class TestCreate:
    def test_stores_the_run(self, client, study):
        response = post(client, study, SMALL_RUN)
        assert response.status_code == 201
        run = response.json()
        assert run["id"].startswith("run_")
        assert run["state"] == "succeeded"
        assert run["weights"] == SMALL_RUN["weights"]
        assert run["metadata"] == {"seed": 7}
        assert client.get(f"/v1/runs/{run['id']}").json() == run

    def test_the_same_run_again_is_200_and_the_same(self, client, sessions, study):
        first = post(client, study, SMALL_RUN)
        again = post(client, study, SMALL_RUN)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert num_runs(sessions) == 1

    def test_the_order_of_names_does_not_make_other_content(self, client, study):
        post(client, study, SMALL_RUN)
        shuffled = changed(weights=dict(reversed(SMALL_RUN["weights"].items())))
        assert post(client, study, shuffled).status_code == 200

    def test_other_content_under_the_same_external_id_is_a_conflict(self, client, sessions, study):
        post(client, study, SMALL_RUN)
        body = problem(post(client, study, changed(cost=0.5)), 409)
        assert "r1" in body["detail"]
        assert body["errors"][0]["pointer"] == "/external_id"
        assert num_runs(sessions) == 1

    def test_without_external_id_every_run_is_new(self, client, sessions, study):
        for _ in range(2):
            assert post(client, study, changed(external_id=None)).status_code == 201
        assert num_runs(sessions) == 2

    def test_rounded_weights_are_normalised_and_kept_raw(self, client, study):
        weights = {"web": 0.501, "code": 0.3, "math": 0.2}
        run = post(client, study, changed(weights=weights)).json()
        assert sum(run["weights"].values()) == pytest.approx(1, abs=1e-12)
        assert run["weights"]["web"] == pytest.approx(0.501 / 1.001)
        assert run["raw_weights"] == weights

    def test_a_missing_metric_stays_missing(self, client, study):
        run = post(client, study, changed(metrics={"loss/web": 3.0})).json()
        assert run["metrics"] == {"loss/web": 3.0}

    @pytest.mark.parametrize(
        ("change", "pointer", "says"),
        [
            ({"weights": {"web": 0.5, "code": 0.5}}, "/weights/math", "missing"),
            (
                {"weights": {"web": 0.5, "code": 0.3, "math": 0.1, "mars": 0.1}},
                "/weights/mars",
                "not a domain",
            ),
            ({"weights": {"web": 1.2, "code": -0.2, "math": 0.0}}, "/weights/code", "-0.2"),
            ({"weights": {"web": float("nan"), "code": 0.5, "math": 0.5}}, "/weights/web", ""),
            ({"weights": {"web": float("inf"), "code": 0.5, "math": 0.5}}, "/weights/web", ""),
            ({"weights": {"web": 0.6, "code": 0.4, "math": 0.2}}, "/weights", "1.2"),
            ({"weights": {"web": "0.5", "code": 0.3, "math": 0.2}}, "/weights/web", "number"),
            ({"metrics": {"loss/web": float("nan")}}, "/metrics/loss~1web", "finite"),
            ({"metrics": {"loss/web": float("inf")}}, "/metrics/loss~1web", "finite"),
            ({"metrics": {"loss/web": 1e308}}, "/metrics/loss~1web", "1e+15"),
            ({"metrics": {"loss/web": "3.1"}}, "/metrics/loss~1web", "number"),
            ({"metrics": {"loss/mars": 3.1}}, "/metrics/loss~1mars", "not a metric"),
            ({"metrics": {}}, "/metrics", ""),
            ({"fidelity": "7b"}, "/fidelity", "'1m', '1b'"),
            ({"cost": -1}, "/cost", ""),
            ({"colour": "red"}, "/colour", ""),
        ],
    )
    def test_bad_input_names_field_and_remedy(self, client, sessions, study, change, pointer, says):
        body = problem(post(client, study, changed(**change)), 422)
        details = {error["pointer"]: error["detail"] for error in body["errors"]}
        assert pointer in details
        assert says in details[pointer]
        assert num_runs(sessions) == 0

    def test_an_unknown_study_is_404(self, client):
        problem(post(client, "mars", SMALL_RUN), 404)

    def test_a_body_that_is_not_json_is_422(self, client, study):
        response = client.post(f"/v1/studies/{study}/runs", content=b"{nope")
        problem(response, 422)

    def test_a_failed_commit_is_an_error_and_stores_nothing(self, client, sessions, study):
        @event.listens_for(sessions, "before_commit")
        def refuse(session):
            if session.info.get("refuse", True) and session.connection().in_transaction():
                raise RuntimeError("disk full")

        response = post(client, study, SMALL_RUN)
        event.remove(sessions, "before_commit", refuse)
        problem(response, 500)
        assert num_runs(sessions) == 0


class TestBatch:
    def batch(self, client, study, runs):
        return client.post(
            f"/v1/studies/{study}/runs:batch",
            content=json.dumps({"runs": runs}),
            headers={"Content-Type": "application/json"},
        )

    def test_stores_all_in_order(self, client, study):
        runs = [changed(external_id=f"r{i}") for i in range(1200)]
        response = self.batch(client, study, runs)
        assert response.status_code == 201
        assert response.json()["created"] == 1200
        ids = response.json()["ids"]
        assert ids == sorted(ids)
        assert client.get(f"/v1/runs/{ids[7]}").json()["external_id"] == "r7"

    def test_ten_thousand_with_three_bad_rows_stores_nothing(self, client, sessions, study):
        runs = [changed(external_id=f"r{i}") for i in range(10_000)]
        runs[17] = changed(external_id="r17", weights={"web": 1.0, "code": 0.0})
        runs[4_000] = changed(external_id="r4000", fidelity="7b")
        runs[9_999] = changed(external_id="r9999", metrics={"loss/mars": 1.0})
        body = problem(self.batch(client, study, runs), 422)
        assert [error["pointer"] for error in body["errors"]] == [
            "/runs/17/weights/math",
            "/runs/4000/fidelity",
            "/runs/9999/metrics/loss~1mars",
        ]
        assert num_runs(sessions) == 0

    def test_the_same_batch_again_changes_nothing(self, client, sessions, study):
        runs = [changed(external_id=f"r{i}") for i in range(3)]
        first, again = (self.batch(client, study, runs).json() for _ in range(2))
        assert again == {**first, "created": 0, "already_stored": 3}
        assert num_runs(sessions) == 3

    def test_a_row_with_other_content_stores_nothing(self, client, sessions, study):
        post(client, study, SMALL_RUN)
        runs = [changed(external_id="r0"), changed(cost=0.5)]
        body = problem(self.batch(client, study, runs), 409)
        assert [error["pointer"] for error in body["errors"]] == ["/runs/1/external_id"]
        assert num_runs(sessions) == 1

    def test_an_external_id_twice_with_other_content_is_a_conflict(self, client, sessions, study):
        problem(self.batch(client, study, [changed(), changed(cost=0.5)]), 409)
        assert num_runs(sessions) == 0

    def test_an_external_id_twice_with_the_same_content_is_one_run(self, client, sessions, study):
        ids = self.batch(client, study, [changed(), changed()]).json()["ids"]
        assert ids[0] == ids[1]
        assert num_runs(sessions) == 1

    def test_more_than_ten_thousand_is_refused(self, client, study):
        runs = [changed(external_id=None)] * 10_001
        problem(self.batch(client, study, runs), 422)

    def test_a_body_of_20_megabytes_is_413(self, client, sessions, study):
        runs = [changed(external_id=None, metadata={"text": "x" * 20_000_000})]
        body = problem(self.batch(client, study, runs), 413)
        assert "smaller" in body["detail"]
        assert num_runs(sessions) == 0

    def test_a_large_body_of_undeclared_length_is_413(self, client, study):
        chunks = (b"x" * 1_000_000 for _ in range(20))
        problem(client.post(f"/v1/studies/{study}/runs:batch", content=chunks), 413)


class TestList:
    @pytest.fixture(autouse=True)
    def _runs(self, client, study):
        for index in range(7):
            fidelity = "1b" if index % 3 == 0 else "1m"
            post(client, study, changed(external_id=f"r{index}", fidelity=fidelity))

    def ids(self, client, study, query=""):
        found, cursor = [], ""
        while cursor is not None:
            url = f"/v1/studies/{study}/runs?limit=3{query}{cursor and '&cursor=' + cursor}"
            page = client.get(url).json()
            found += [item["external_id"] for item in page["items"]]
            cursor = page["next_cursor"]
        return found

    def test_pages_cover_all_runs_once_in_order(self, client, study):
        assert self.ids(client, study) == [f"r{index}" for index in range(7)]

    def test_pages_are_stable_under_inserts(self, client, study):
        page = client.get(f"/v1/studies/{study}/runs?limit=3").json()
        post(client, study, changed(external_id="late"))
        rest = client.get(f"/v1/studies/{study}/runs?cursor={page['next_cursor']}").json()
        assert [item["external_id"] for item in rest["items"]] == ["r3", "r4", "r5", "r6", "late"]

    def test_filters(self, client, study):
        run = client.get(f"/v1/studies/{study}/runs?limit=1").json()["items"][0]["id"]
        client.post(f"/v1/runs/{run}/retract", json={"reason": "wrong data"})
        assert self.ids(client, study, "&fidelity=1b") == ["r0", "r3", "r6"]
        assert self.ids(client, study, "&state=retracted") == ["r0"]
        assert self.ids(client, study, "&state=succeeded&fidelity=1b") == ["r3", "r6"]

    def test_a_bad_limit_is_422(self, client, study):
        body = problem(client.get(f"/v1/studies/{study}/runs?limit=5000"), 422)
        assert body["errors"][0]["pointer"] == "/limit"

    def test_csv_holds_every_run(self, client, study):
        response = client.get(f"/v1/studies/{study}/runs.csv")
        rows = list(csv.DictReader(io.StringIO(response.text)))
        assert response.headers["content-type"].startswith("text/csv")
        assert [row["external_id"] for row in rows] == [f"r{index}" for index in range(7)]
        assert float(rows[0]["weight:web"]) == 0.5
        assert float(rows[0]["metric:loss/code"]) == 2.2


POINTS = {
    "points": [
        {"tokens": 2e8, "metrics": {"loss/web": 3.5}},
        {"tokens": 1e8, "metrics": {"loss/web": 4.0}},
    ]
}


class TestPoints:
    @pytest.fixture
    def run(self, client, study):
        return post(client, study, SMALL_RUN).json()["id"]

    def test_are_kept_by_tokens(self, client, run):
        response = client.post(f"/v1/runs/{run}/points", json=POINTS)
        assert response.status_code == 200
        assert [p["tokens"] for p in response.json()["points"]] == [1e8, 2e8]
        assert client.get(f"/v1/runs/{run}/points").json() == response.json()

    def test_again_change_nothing(self, client, run):
        first = client.post(f"/v1/runs/{run}/points", json=POINTS).json()
        assert client.post(f"/v1/runs/{run}/points", json=POINTS).json() == first

    def test_with_other_metrics_are_a_conflict(self, client, run):
        client.post(f"/v1/runs/{run}/points", json=POINTS)
        other = {"points": [{"tokens": 1e8, "metrics": {"loss/web": 4.1}}]}
        body = problem(client.post(f"/v1/runs/{run}/points", json=other), 409)
        assert body["errors"][0]["pointer"] == "/points/0/tokens"

    def test_of_an_unknown_metric_are_refused(self, client, run):
        bad = {"points": [{"tokens": 1e8, "metrics": {"mars": 4.1}}]}
        body = problem(client.post(f"/v1/runs/{run}/points", json=bad), 422)
        assert body["errors"][0]["pointer"] == "/points/0/metrics/mars"


def test_the_count_of_runs_that_count_is_kept(client, sessions, study):
    for index in range(3):
        post(client, study, changed(external_id=f"r{index}"))
        post(client, study, changed(external_id=f"r{index}"))
    batch = {"runs": [changed(external_id=f"r{index}") for index in range(1, 6)]}
    client.post(f"/v1/studies/{study}/runs:batch", json=batch)
    run = client.get(f"/v1/studies/{study}/runs").json()["items"][0]["id"]
    for _ in range(2):
        client.post(f"/v1/runs/{run}/retract", json={"reason": "wrong data"})
    with sessions() as session:
        assert count_completed(session, study) == 5


class TestRetract:
    def test_says_why_and_is_kept(self, client, study):
        run = post(client, study, SMALL_RUN).json()["id"]
        response = client.post(f"/v1/runs/{run}/retract", json={"reason": "wrong data"})
        assert response.json()["state"] == "retracted"
        assert response.json()["retraction"]["reason"] == "wrong data"
        again = client.post(f"/v1/runs/{run}/retract", json={"reason": "other"})
        assert again.json() == response.json()

    def test_an_unknown_run_is_404(self, client):
        problem(client.post("/v1/runs/run_0/retract", json={"reason": "x"}), 404)
