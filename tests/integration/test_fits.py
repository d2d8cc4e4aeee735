import threading

import pytest
from small_study import SMALL_RUN, made_up_runs
from sqlalchemy import event, select, update

from app.db.models import FitRow, RunRow
from app.db.session import writing
from app.fits import service as fits
from app.jobs import service as jobs


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


@pytest.fixture
def ask(client, study):
    def post(**body):
        return client.post(f"/v1/studies/{study}/fits", json={"surrogate": "linear", **body})

    return post


@pytest.fixture
def fit(ask, store_runs, work):
    """The id of a fit that succeeded."""
    store_runs(made_up_runs(30))
    fit_id = ask().json()["id"]
    work()
    return fit_id


class TestCreate:
    def test_is_accepted_and_rung_for(self, client, ask, rung):
        response = ask(seed=3)
        assert response.status_code == 202
        fit = response.json()
        assert response.headers["location"] == f"/v1/fits/{fit['id']}"
        assert fit["id"].startswith("fit_")
        assert (fit["state"], fit["progress"], fit["error"]) == ("queued", 0.0, None)
        assert (fit["surrogate"], fit["seed"], fit["metrics"]) == ("linear", 3, None)
        assert [queue for _, queue in rung] == ["fit"]
        assert client.get(f"/v1/fits/{fit['id']}").json() == fit

    def test_an_unknown_surrogate_is_refused_with_the_valid_ones(self, ask, rung):
        body = problem(ask(surrogate="magic"), 422)
        assert "share_power" in body["detail"]
        assert body["errors"][0]["pointer"] == "/surrogate"
        assert rung == []

    def test_an_unknown_fidelity_is_refused_with_the_valid_ones(self, ask):
        body = problem(ask(fidelity="7b"), 422)
        assert "'1m', '1b'" in body["detail"]
        assert body["errors"][0]["pointer"] == "/fidelity"

    @pytest.mark.parametrize("options", [{"words": 2}, {"terms": "many"}, {"terms": -1}])
    def test_options_are_checked_when_asked_for(self, ask, options):
        body = problem(ask(surrogate="share_power", options=options), 422)
        assert body["errors"][0]["pointer"] == f"/options/{next(iter(options))}"

    @pytest.mark.parametrize(
        "body", [{"seed": -1}, {"seed": 1.5}, {"seed": 2**32}, {"colour": "red"}, {"options": 3}]
    )
    def test_a_malformed_request_is_refused(self, ask, body):
        (wrong,) = problem(ask(**body), 422)["errors"]
        assert wrong["pointer"] == f"/{next(iter(body))}"

    def test_an_unknown_study_is_not_found(self, client):
        problem(client.post("/v1/studies/nowhere/fits", json={}), 404)

    def test_the_same_key_asks_for_one_fit(self, client, study, sessions, rung):
        def post():
            headers = {"Idempotency-Key": "k1"}
            return client.post(
                f"/v1/studies/{study}/fits", json={"surrogate": "linear"}, headers=headers
            )

        first, again = post(), post()
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        assert again.json() == first.json()
        assert len(rung) == 1


class TestWork:
    def test_stores_report_and_digest(self, client, fit):
        read = client.get(f"/v1/fits/{fit}").json()
        assert (read["state"], read["progress"], read["error"]) == ("succeeded", 1.0, None)
        assert len(read["runs_digest"]) == 64
        assert read["study_version"] == 1
        assert read["chosen"]["surrogate"] == "linear"
        assert read["fitted_fidelity"] == "1m"
        assert (read["runs_used"], read["runs_available"]) == (30, 30)
        assert read["metrics"]["loss/web"]["spearman"] > 0.98
        assert set(read["metrics"]) == {"loss/web", "loss/code"}

    def test_out_of_fold_predictions_are_there_for_every_run(self, client, fit):
        held_out = client.get(f"/v1/fits/{fit}/out-of-fold").json()
        assert len(held_out["run_ids"]) == 30
        assert len(held_out["objective"]["predicted"]) == 30

    def test_out_of_fold_predictions_of_a_queued_fit_are_a_conflict(self, client, ask):
        response = client.get(f"/v1/fits/{ask().json()['id']}/out-of-fold")
        assert response.status_code == 409

    def test_too_few_runs_fail_the_fit_with_a_problem(self, client, ask, store_runs, work):
        store_runs(made_up_runs(2))
        fit_id = ask().json()["id"]
        work()
        read = client.get(f"/v1/fits/{fit_id}").json()
        assert read["state"] == "failed"
        assert read["error"]["status"] == 422
        assert "needs" in read["error"]["detail"]
        assert read["metrics"] is None

    def test_retracted_runs_are_left_out(self, client, ask, store_runs, work, study):
        store_runs(made_up_runs(30))
        run = client.get(f"/v1/studies/{study}/runs").json()["items"][0]["id"]
        client.post(f"/v1/runs/{run}/retract", json={"reason": "crashed"})
        fit_id = ask().json()["id"]
        work()
        assert client.get(f"/v1/fits/{fit_id}").json()["runs_used"] == 29
        assert run not in client.get(f"/v1/fits/{fit_id}/out-of-fold").json()["run_ids"]

    def test_an_unexpected_error_fails_the_fit_and_tells_nothing_else(
        self, client, ask, store_runs, work, sessions
    ):
        store_runs(made_up_runs(30))
        fit_id = ask().json()["id"]
        with sessions() as session, session.begin():
            session.execute(update(RunRow).values(weights={}))  # which no request can do
        work()
        read = client.get(f"/v1/fits/{fit_id}").json()
        assert (read["state"], read["error"]["status"]) == ("failed", 500)
        assert "worker's log" in read["error"]["detail"]

    def test_ringing_twice_fits_once(self, client, ask, store_runs, work, rung):
        store_runs(made_up_runs(30))
        fit_id = ask().json()["id"]
        rung.append(rung[0])
        work()
        rung.append(("job_0", "fit"))
        work()
        assert client.get(f"/v1/fits/{fit_id}").json()["state"] == "succeeded"

    def test_a_result_that_comes_after_the_lease_was_lost_is_not_stored(
        self, client, ask, store_runs, sessions, rung, fit
    ):
        fit_id = ask(seed=5).json()["id"]
        job_id, _ = rung.pop()
        with writing(sessions, lambda *_: None) as session:
            lease = jobs.claim(session, job_id, 60.0)
            jobs.cancel(session, job_id)
        with pytest.raises(jobs.LeaseLostError):
            fits.work(sessions, lambda *_: None, lease, lambda _: None)
        read = client.get(f"/v1/fits/{fit_id}").json()
        assert (read["state"], read["metrics"]) == ("cancelled", None)
        with sessions() as session:
            assert session.scalar(select(FitRow.model).where(FitRow.id == fit_id)) is None


class TestRead:
    def test_an_unknown_fit_is_not_found(self, client, study):
        problem(client.get("/v1/fits/fit_0"), 404)

    def test_the_etag_saves_the_body(self, client, fit):
        first = client.get(f"/v1/fits/{fit}")
        again = client.get(f"/v1/fits/{fit}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

    def test_waiting_ends_with_the_fit(self, client, fit):
        assert client.get(f"/v1/fits/{fit}?wait=60").json()["state"] == "succeeded"

    def test_waiting_ends_with_the_time(self, client, ask):
        fit_id = ask().json()["id"]
        assert client.get(f"/v1/fits/{fit_id}?wait=0.2").json()["state"] == "queued"

    @pytest.mark.parametrize("wait", ["61", "-1", "soon"])
    def test_waiting_is_bounded(self, client, ask, wait):
        problem(client.get(f"/v1/fits/{ask().json()['id']}?wait={wait}"), 422)

    def test_waiting_holds_no_connection_and_no_place(self, client, app, ask, sessions):
        fit_id = ask().json()["id"]
        pool, most = sessions.kw["bind"].pool, app.state.places._value
        answers = []
        waiters = [
            threading.Thread(
                target=lambda: answers.append(client.get(f"/v1/fits/{fit_id}?wait=1.5"))
            )
            for _ in range(2 * most)
        ]
        for waiter in waiters:
            waiter.start()
        idle = 0
        while any(waiter.is_alive() for waiter in waiters):
            idle += pool.checkedout() == 0 and app.state.places._value == most
            threading.Event().wait(0.02)
        assert [answer.status_code for answer in answers] == [200] * len(waiters)
        assert idle > 0

    def test_lists_fits_in_pages_without_reports(self, client, study, fit, ask):
        others = [ask(seed=seed).json()["id"] for seed in (1, 2)]
        page = client.get(f"/v1/studies/{study}/fits?limit=2").json()
        assert [item["id"] for item in page["items"]] == [fit, others[0]]
        assert "metrics" not in page["items"][0]
        rest = client.get(f"/v1/studies/{study}/fits?cursor={page['next_cursor']}").json()
        assert [item["id"] for item in rest["items"]] == [others[1]]
        assert rest["next_cursor"] is None

    def test_listing_reads_neither_reports_nor_models(self, client, study, fit, sessions):
        statements = []
        engine = sessions.kw["bind"]
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
        client.get(f"/v1/studies/{study}/fits")
        fits_read = [one for one in statements if "FROM fits" in one]
        assert fits_read
        assert not any("fits.report" in one or "fits.model" in one for one in fits_read)


class TestCancel:
    def test_a_queued_fit_is_never_done(self, client, ask, store_runs, work):
        store_runs(made_up_runs(30))
        fit_id = ask().json()["id"]
        for _ in range(2):
            cancelled = client.post(f"/v1/fits/{fit_id}/cancel")
            assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        work()
        assert client.get(f"/v1/fits/{fit_id}").json()["state"] == "cancelled"

    def test_what_has_succeeded_is_a_conflict(self, client, fit):
        assert "succeeded" in problem(client.post(f"/v1/fits/{fit}/cancel"), 409)["detail"]


class TestPredict:
    def predict(self, client, fit, *mixtures):
        return client.post(f"/v1/fits/{fit}/predict", json={"mixtures": list(mixtures)})

    def test_gives_every_metric_and_the_objective(self, client, fit):
        inside = {"web": 0.4, "code": 0.3, "math": 0.3}
        corner = {"web": 1.0, "code": 0.0, "math": 0.0}
        response = self.predict(client, fit, inside, corner)
        assert response.status_code == 200
        one, other = response.json()["predictions"]
        assert (one["inside_hull"], other["inside_hull"]) == (True, False)
        expected = {"loss/web": 3.1, "loss/code": 2.2}
        for name, value in expected.items():
            got = one["metrics"][name]
            assert got["mean"] == pytest.approx(value, abs=0.02)
            assert got["lower"] <= got["mean"] <= got["upper"]
        assert one["objective"]["mean"] == pytest.approx(2.65, abs=0.02)

    def test_names_every_wrong_weight(self, client, fit):
        body = problem(
            self.predict(
                client,
                fit,
                SMALL_RUN["weights"],
                {"web": 0.5, "code": 0.5},
                {"web": 0.5, "code": 0.3, "maths": 0.2},
                {"web": -0.5, "code": 0.75, "math": 0.75},
                {"web": 0.5, "code": 0.5, "math": 0.2},
            ),
            422,
        )
        pointers = [wrong["pointer"] for wrong in body["errors"]]
        assert pointers == [
            "/mixtures/1/math",
            "/mixtures/2/math",
            "/mixtures/2/maths",
            "/mixtures/3/web",
            "/mixtures/4",
        ]

    def test_no_mixture_and_too_many_are_refused(self, client, fit):
        problem(self.predict(client, fit), 422)
        problem(self.predict(client, fit, *[SMALL_RUN["weights"]] * 10_001), 422)

    def test_a_fit_that_is_not_done_is_a_conflict(self, client, ask):
        fit_id = ask().json()["id"]
        body = problem(self.predict(client, fit_id, SMALL_RUN["weights"]), 409)
        assert "queued" in body["detail"]

    def test_a_fit_that_failed_is_a_conflict_that_says_why(self, client, ask, work):
        fit_id = ask().json()["id"]
        work()
        body = problem(self.predict(client, fit_id, SMALL_RUN["weights"]), 409)
        assert "needs" in body["detail"]

    def test_metrics_that_the_study_gained_since_are_left_out(self, client, study, fit):
        metrics = [{"name": "loss/web"}, {"name": "loss/code"}, {"name": "accuracy"}]
        patched = client.patch(f"/v1/studies/{study}", json={"metrics": metrics})
        assert patched.status_code == 200, patched.text
        (prediction,) = self.predict(client, fit, SMALL_RUN["weights"]).json()["predictions"]
        assert set(prediction["metrics"]) == {"loss/web", "loss/code"}
