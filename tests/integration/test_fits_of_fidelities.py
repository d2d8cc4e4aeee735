from small_study import made_up_runs


def test_the_target_is_fitted_with_runs_of_every_fidelity(client, study, store_runs, work):
    store_runs(made_up_runs(30))
    store_runs(made_up_runs(4, "1b", seed=1))
    asked = client.post(f"/v1/studies/{study}/fits", json={"surrogate": "multi_fidelity_gp"})
    work()
    fit = client.get(f"/v1/fits/{asked.json()['id']}").json()
    assert (fit["state"], fit["fitted_fidelity"], fit["runs_used"]) == ("succeeded", "1b", 4)
    assert fit["metrics"]["loss/web"]["mae"] < 0.05
    assert "30 runs of other fidelities" in fit["warnings"][0]
    mixture = {"web": 0.5, "code": 0.3, "math": 0.2}
    body = {"mixtures": [mixture]}
    (found,) = client.post(f"/v1/fits/{fit['id']}/predict", json=body).json()["predictions"]
    assert abs(found["metrics"]["loss/web"]["mean"] - 3.0) < 0.05
    assert found["inside_hull"]
    asked = client.post(
        f"/v1/studies/{study}/recommendations", json={"fit": fit["id"], "method": "exact"}
    )
    work()
    found = client.get(f"/v1/recommendations/{asked.json()['id']}").json()
    assert found["state"] == "succeeded"
    assert client.get(f"/v1/recommendations/{found['id']}/report").status_code == 200
