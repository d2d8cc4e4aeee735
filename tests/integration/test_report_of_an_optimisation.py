"""The report over HTTP, of a study whose runs an optimiser proposed."""

from small_study import made_up_runs


def report(client, study, work):
    body = {"surrogate": "linear", "candidates": 2000, "top_k": 20}
    asked = client.post(f"/v1/studies/{study}/recommendations", json=body).json()
    work()
    response = client.get(f"/v1/recommendations/{asked['id']}/report")
    assert response.status_code == 200, response.text
    return response.text


def test_a_study_without_optimisation_has_no_section(client, study, store_runs, work):
    store_runs(made_up_runs(20))
    assert "Bayesian optimisation" not in report(client, study, work)


def test_what_the_optimiser_thought_is_in_the_report(client, study, store_runs, work):
    store_runs([*made_up_runs(20), *made_up_runs(6, "1b", seed=1)])
    ask = {"strategy": "bayesopt", "wait": 0, "options": {"wanted": "pareto"}}
    client.post(f"/v1/studies/{study}/proposals", json=ask)
    work()
    (item,) = client.get(f"/v1/studies/{study}/optimisations").json()["items"]
    html = report(client, study, work)
    assert '<section id="optimisation">' in html
    assert item["steps"][-1]["stopping"]["sentence"].split("'")[-1] in html
    assert "The front as a table" in html
    assert 'data-picture="belief-0"' in html
