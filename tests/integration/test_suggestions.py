"""The ready queue: what is computed ahead, taken, withdrawn, and what is said when nothing is."""

import itertools
import threading

import pytest
from small_study import SMALL_STUDY, made_up_runs
from sqlalchemy import func, select

from app.auth.access import Principal, Scope
from app.db.models import OptimiserRow, RunRow, StudyRow, SuggestionRow
from app.db.session import reading, writing
from app.proposals import service as proposals
from app.proposals.schemas import Ask
from app.suggestions import service as suggestions
from app.suggestions.service import AHEAD
from mixwright.bayesopt import model


@pytest.fixture
def ask(client, study):
    """Asks without waiting: what is ready is taken."""

    def send(status=201, study=study, **asked):
        body = {"strategy": "bayesopt", "wait": 0, **asked}
        response = client.post(f"/v1/studies/{study}/proposals", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return send


@pytest.fixture
def ready(sessions):
    """The suggestions that are ready: fidelity and weights."""

    def read():
        with reading(sessions) as session:
            query = select(SuggestionRow).order_by(SuggestionRow.rank)
            return [(row.fidelity, row.weights) for row in session.scalars(query)]

    return read


@pytest.fixture
def history(client, study):
    return lambda: client.get(f"/v1/studies/{study}/optimisations").json()["items"]


def tell(client, run, loss=2.0):
    body = {
        "lease_token": run["lease"]["token"],
        "metrics": {"loss/web": loss, "loss/code": loss},
    }
    response = client.post(f"/v1/runs/{run['id']}/complete", json=body)
    assert response.status_code == 200, response.text


def test_nothing_is_ready_at_first_and_the_next_ask_finds_it(ask, work, ready):
    found = ask()
    assert (found["items"], found["shortfall"]["reason"]) == ([], "none_ready")
    work()
    first = ready()
    assert len(first) == AHEAD
    found = ask(count=2)
    assert [(run["fidelity"], run["weights"]) for run in found["items"]] == first[:2]
    assert found["shortfall"] is None
    assert ready() == first[2:]


def test_an_ask_takes_rows_and_computes_nothing(ask, work, store_runs, monkeypatch):
    store_runs(made_up_runs(20))
    ask()
    work()

    def fail(*_, **__):
        raise AssertionError("an ask computed something")

    monkeypatch.setattr("app.suggestions.thinking.think", fail)
    assert len(ask(count=3)["items"]) == 3


def test_every_result_has_suggestions_computed_anew_and_stale_ones_withdrawn(
    ask, work, ready, client, rung, history
):
    ask()
    work()
    runs = ask(count=2)["items"]
    work()
    before = ready()
    tell(client, runs[0])
    assert rung
    work()
    after = ready()
    assert after
    assert not any(one in before for one in after)
    assert [step["runs"] for step in history()[0]["steps"]] == [1]
    tell(client, runs[1], 1.5)
    work()
    steps = history()[0]["steps"]
    assert [step["runs"] for step in steps] == [1, 2]
    assert {step["version"] for step in steps} != {""}
    assert steps[0]["runs_digest"] != steps[1]["runs_digest"]


def test_one_who_waits_gets_suggestions_that_know_every_result(ask, client, worker, history):
    for step in range(3):
        found = ask(wait=30)
        tell(client, found["items"][0], 2.0 - 0.1 * step)
    found = ask(wait=30, count=0)
    assert found["recommendation"] is not None
    assert history()[0]["steps"][-1]["runs"] == 3


def test_a_suggestion_that_was_taken_while_others_were_computed_is_not_suggested_again(
    ask, work, ready, monkeypatch
):
    ask()
    work()
    import app.suggestions.thinking as thinking

    think, taken = thinking.think, []

    def take_meanwhile(*arguments):
        found = think(*arguments)
        if not taken:
            taken.extend(ask(count=1)["items"])
        return found

    monkeypatch.setattr(thinking, "think", take_meanwhile)
    ask(count=3)
    work()
    held = [(run["fidelity"], run["weights"]) for run in taken]
    assert held
    assert not any(one in held for one in ready())


def test_equal_runs_and_seeds_give_equal_suggestions(client, work, sessions):
    found = []
    for name in ("one", "other"):
        client.post("/v1/studies", json={**SMALL_STUDY, "name": name})
        client.post(f"/v1/studies/{name}/runs:batch", json={"runs": made_up_runs(25)})
        body = {"strategy": "bayesopt", "wait": 0, "seed": 5}
        client.post(f"/v1/studies/{name}/proposals", json=body)
        work()
        answer = client.post(f"/v1/studies/{name}/proposals", json={**body, "count": 3}).json()
        found.append([(run["fidelity"], run["weights"]) for run in answer["items"]])
    assert found[0] == found[1]


def test_another_way_of_asking_has_a_queue_of_its_own(ask, work, history, store_runs):
    store_runs(made_up_runs(15))
    ask()
    ask(fidelity="1b", seed=3)
    work()
    assert ask(fidelity="1b", seed=3)["items"][0]["fidelity"] == "1b"
    assert [one["seed"] for one in history()] == [0, 3]


def test_a_changed_study_makes_suggestions_stale(ask, work, client, study, sessions):
    ask()
    work()
    got = client.get(f"/v1/studies/{study}")
    changed = [
        {**one, "upper": 0.2} if one["name"] == "web" else one for one in got.json()["domains"]
    ]
    response = client.patch(
        f"/v1/studies/{study}",
        json={"domains": changed},
        headers={"If-Match": got.headers["etag"]},
    )
    assert response.status_code == 200, response.text
    ask(count=0)
    work()
    assert all(run["weights"]["web"] <= 0.2 + 1e-9 for run in ask(count=4)["items"])


def test_a_covariance_that_cannot_be_factorised_is_told_to_who_asks(
    ask, work, store_runs, monkeypatch
):
    from scipy.linalg import LinAlgError

    def broken(*_, **__):
        raise LinAlgError

    store_runs(made_up_runs(12))
    ask()
    with monkeypatch.context() as patch:
        patch.setattr(model, "cholesky", broken)
        patch.setattr("mixwright.bayesopt.learning._search", lambda search: pytest.fail("cached"))
        patch.undo()
        patch.setattr(model, "cholesky", broken)
        work()
        problem = ask(409)
    assert "not positive definite" in problem["detail"]
    store_runs(made_up_runs(1, seed=9))  # a result has it tried again
    work()
    assert ask()["items"]


def test_an_outlier_is_reported_with_what_was_expected(ask, work, store_runs, client, study):
    runs = made_up_runs(30)
    runs[7]["metrics"]["loss/web"] = 1e6
    runs[7]["external_id"] = "corrupt"
    store_runs(runs)
    ask()
    work()
    (found,) = ask()["outliers"]
    said = client.get(f"/v1/runs/{found['run']}").json()
    assert said["external_id"] == "corrupt"
    assert found["value"] > 1e5
    assert found["expected"] < 10


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({"design": "dirichlet"}, "/options/design"),
        ({"wanted": "bounded"}, "/options/bounds"),
        ({"bounds": {"loss/web": 3.0}}, "/options/bounds"),
        ({"wanted": "bounded", "bounds": {"loss/none": 3.0}}, "/options/bounds/loss~1none"),
        ({"wanted": "pareto", "recipe": "admire"}, "/options/recipe"),
        ({"recipe": "magic"}, "/options/recipe"),
    ],
)
def test_options_that_do_not_go_together_are_named(ask, options, at):
    problem = ask(422, options=options)
    assert at in [one["pointer"] for one in problem["errors"]]


def test_an_entry_that_a_pool_has_twice_is_named(ask):
    entry = {"weights": {"web": 0.5, "code": 0.3, "math": 0.2}, "fidelity": "1b"}
    other = {**entry, "fidelity": "1m"}
    problem = ask(422, pool=[entry, other, entry])
    assert [one["pointer"] for one in problem["errors"]] == ["/pool/2"]


@pytest.mark.parametrize(
    "options",
    [
        {"wanted": "worst_case"},
        {"wanted": "bounded", "bounds": {"loss/code": 2.0}},
        {"wanted": "pareto"},
        {"recipe": "expected_improvement"},
        {"recipe": "max_value_entropy"},
        {"recipe": "knowledge_gradient"},
        pytest.param({"recipe": "admire"}, marks=pytest.mark.slow),
    ],
    ids=lambda options: options.get("wanted") or options.get("recipe"),
)
def test_every_way_of_choosing_proposes_and_recommends(ask, work, store_runs, options):
    store_runs([*made_up_runs(20), *made_up_runs(5, "1b", seed=1)])
    ask(options=options)
    work()
    found = ask(options=options)
    assert len(found["items"]) == 1
    best = found["recommendation"]
    assert best["weights"]["math"] < 0.3  # it helps neither loss
    if options.get("wanted") == "bounded":
        assert best["weights"]["code"] > 0.45  # loss/code is 2.5 - code
    if options.get("wanted") == "pareto":
        webs = [entry["metrics"]["loss/web"] for entry in best["front"]]
        codes = [entry["metrics"]["loss/code"] for entry in best["front"]]
        assert len(webs) > 3
        order = sorted(range(len(webs)), key=webs.__getitem__)
        assert all(codes[a] >= codes[b] for a, b in itertools.pairwise(order))


def test_runs_that_lack_a_metric_teach_the_others(ask, work, store_runs):
    runs = made_up_runs(24)
    for run in runs[::2]:
        run["metrics"].pop("loss/code")
    store_runs(runs)
    ask()
    work()
    found = ask()
    assert found["recommendation"]["weights"]["math"] < 0.2


def test_points_of_loss_curves_are_learned_from_when_asked_for(client, work):
    scales = [
        {"name": "1m", "cost": 0.1, "parameters": 1e6, "tokens": 1e8},
        {"name": "1b", "cost": 1.0, "parameters": 1e9, "tokens": 1e8},
    ]
    client.post("/v1/studies", json={**SMALL_STUDY, "name": "curves", "fidelities": scales})
    client.post("/v1/studies/curves/runs:batch", json={"runs": made_up_runs(10)})
    for run in client.get("/v1/studies/curves/runs").json()["items"]:
        later = run["metrics"]
        half = {name: value + 0.4 for name, value in later.items()}
        body = {"points": [{"tokens": 5e7, "metrics": half}]}
        assert client.post(f"/v1/runs/{run['id']}/points", json=body).status_code in (200, 201)
    body = {"strategy": "bayesopt", "wait": 0, "options": {"curves": True}}
    client.post("/v1/studies/curves/proposals", json=body)
    work()
    found = client.post("/v1/studies/curves/proposals", json=body).json()
    assert found["recommendation"]["weights"]["math"] < 0.3


def test_runs_that_never_end_do_not_stop_others(ask, work, store_runs):
    store_runs(made_up_runs(10))
    seen = set()
    for _ in range(6):
        ask(count=4)
        work()
        for run in ask(count=4)["items"]:
            seen.add((run["fidelity"], *run["weights"].values()))
    assert len(seen) > 20


def test_a_result_for_a_mixture_whose_suggestion_was_withdrawn_counts(
    ask, work, ready, client, study
):
    ask()
    work()
    fidelity, weights = ready()[0]
    (run,) = ask(count=1, fidelity=fidelity, seed=9)["items"] or [None]  # nothing there yet
    assert run is None
    body = {"runs": [{**made_up_runs(1)[0], "fidelity": fidelity, "weights": weights}]}
    assert client.post(f"/v1/studies/{study}/runs:batch", json=body).status_code == 201
    work()
    assert (fidelity, weights) not in ready()
    assert ask()["recommendation"] is not None


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_64_who_ask_for_the_last_unit_of_budget_exactly_one_gets_it(
    postgresql_url, client, sessions, study, work, rung
):
    """200 rounds, in each of which one more run is allowed."""
    if "sqlite" in str(sessions.kw["bind"].url):
        pytest.skip("one writer at a time is all that SQLite has")
    rounds, clients = 200, 64
    principal = Principal("test", frozenset(Scope), None)
    asked = Ask(strategy="bayesopt", wait=0.0)

    def ask_once(granted):
        with writing(sessions, lambda *bell: rung.append(bell)) as session:
            granted.append(len(proposals.ask(session, principal, study, asked).items))

    for allowed in range(1, rounds + 1):
        with writing(sessions, lambda *bell: rung.append(bell)) as session:
            row = session.get_one(StudyRow, study)
            row.definition = {**row.definition, "budget": {"max_runs": allowed, "max_cost": None}}
            suggestions.prepare(session, row, proposals.suggestions_for(asked), 1)
        work()
        granted = []
        threads = [threading.Thread(target=ask_once, args=(granted,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(granted) == [0] * (clients - 1) + [1], allowed
    with reading(sessions) as session:
        assert session.scalar(select(func.count()).select_from(RunRow)) == rounds
        assert session.scalar(select(func.count()).select_from(OptimiserRow)) == 1
