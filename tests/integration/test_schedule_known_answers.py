"""Known answers of schedules, as they are met over HTTP, on both databases."""

import json
from pathlib import Path

import pytest

ANSWERS = Path(__file__).parents[3] / "shared/known_answers/offline_known_answers.json"
QUADRANT = {
    "HL": "high PPL, low PD",
    "HH": "high PPL, high PD",
    "LL": "low PPL, low PD",
    "LH": "low PPL, high PD",
}


@pytest.fixture(scope="module")
def answers():
    if not ANSWERS.exists():
        pytest.skip("the table of known answers is not at hand")
    return json.loads(ANSWERS.read_text())


@pytest.fixture
def plan(client):
    """Plans in a study of these domains."""

    def send(weights, planner, budget, **more):
        study = {
            "name": "known",
            "domains": [{"name": name, "prior": share} for name, share in weights.items()],
            "metrics": [{"name": "loss"}],
            "fidelities": [{"name": "1m"}],
        }
        assert client.post("/v1/studies", json=study).status_code == 201
        body = {"planner": planner, "budget": budget, **more}
        response = client.post("/v1/studies/known/schedules", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    return send


@pytest.fixture
def moment(client):
    def read(schedule, token):
        response = client.get(f"/v1/schedules/{schedule['id']}/at", params={"token": token})
        assert response.status_code == 200, response.text
        return response.json()

    return read


def budget(tokens, batch, sequence=1, rate=1e-3):
    return {
        "tokens": tokens,
        "sequence_length": sequence,
        "batch_tokens": batch,
        "peak_learning_rate": rate,
    }


def test_upsampling_at_the_end(answers, plan):
    known = answers["upsample"]
    base = dict(zip("abc", known["base"], strict=True))
    final = dict(zip("abc", known["final"], strict=True))
    options = {"share": known["fraction"], "final_weights": final}
    made = plan(base, "upsample_end", budget(1e6, 1000), options=options)
    assert list(made["effective_weights"].values()) == pytest.approx(known["effective"], abs=1e-12)


def test_drop_stable_rampup(answers, plan, moment):
    known = answers["drop_stable_rampup"]
    options = {"share": 0.5, "drop": known["drop"], "stable": known["stable_frac"]}
    options["final"] = known["B_end"] / known["B0"]
    made = plan({"a": 1.0}, "drop_stable_rampup", budget(1024 * 1e7, known["B0"]), options=options)
    turn = made["stages"][1]["start_token"]
    for share, batch in zip(known["t"], known["B"], strict=True):
        token = min(turn + share * (1024e7 - turn), made["steps"]["tokens"] - 1)
        assert moment(made, token)["batch_tokens"] == pytest.approx(batch, abs=1)


def test_the_functional_scaling_law_judges_drop_stable_rampup(answers, plan):
    """The table has the law's sum over ten steps, the evidence that sum and its integral.

    A piece has the batch of its middle: the ramp to 16 is at 2 there, as in the table.
    """
    known = answers["fsl_surrogate"]
    first, (*_, low, high) = known["B_const"][0], known["B_dsr"]
    drop = low / first
    options = {
        "share": 0.2,
        "drop": drop,
        "final": drop * (high / low) ** 2,
        "stable": 0.5,
        # η of the law is per batch before: η / B of the table
        "rate": known["eta"] / first,
        "source": known["s"],
        "capacity": known["beta"],
        "noise_base": known["sigma"][0],
        "noise_good": known["sigma"][-1],
        "pieces": len(known["sigma"]),
    }
    made = plan({"a": 1.0}, "drop_stable_rampup", budget(10e6, 1e6, 1000), options=options)
    found, loss = made["evidence"]["loss_as_sum"], made["evidence"]["loss"]
    assert found["constant_batch"] == pytest.approx(known["L_const"], rel=1e-9)
    assert found["three_phases"] == pytest.approx(known["L_dsr"], rel=1e-9)
    assert loss["optimum"] <= loss["three_phases"] < loss["constant_batch"]


@pytest.mark.parametrize(
    ("name", "method"),
    [("sma", "simple"), ("ema_decay0.5", "exponential"), ("wma_linear", "linear")],
)
def test_averages_of_checkpoints(answers, plan, name, method):
    known = answers["cma"]
    checkpoints = known["ckpts_old_to_new"]
    options = {"rate": "averaging", "buckets": 2, "window": 0.5, "weights": method}
    options["checkpoints"] = len(checkpoints)
    documents = {"domain": ["a"] * 4, "tokens": [1.0] * 4, "columns": {"quality": [1, 2, 3, 4]}}
    made = plan(
        {"a": 1.0}, "quality_curriculum", budget(16e3, 1e3), options=options, documents=documents
    )
    before, averaged = (stage["averaged"] for stage in made["steps"]["stages"])
    assert before == []
    assert [one["steps"] for one in averaged] == [13, 14, 15, 16]
    assert [one["tokens"] for one in averaged] == [13_000, 14_000, 15_000, 16_000]
    mean = [
        sum(one["weight"] * values[i] for one, values in zip(averaged, checkpoints, strict=True))
        for i in range(2)
    ]
    assert mean == pytest.approx(known[name], rel=1e-9)


def test_frames(answers, plan):
    known = answers["frames"]
    count = len(known["ppl_strong"])
    documents = {
        "domain": ["web"] * count,
        "tokens": [1.0] * count,
        "columns": {
            "perplexity_strong": known["ppl_strong"],
            "perplexity_weak": known["ppl_weak"],
        },
    }
    made = plan({"web": 1.0}, "frames", budget(1e6, 1000), documents=documents)
    assert [stage["name"] for stage in made["stages"]] == [
        QUADRANT[one] for one in known["stage_order"]
    ]
    assert {stage["end_token"] - stage["start_token"] for stage in made["stages"]} == {2.5e5}
    rows = list(zip(known["ppl_strong"], known["pd"], known["quadrant_ppl_pd"], strict=True))
    for stage in made["stages"]:
        perplexity, difference = stage["selection"]["where"]
        assert known["median_ppl"] in perplexity.values()
        chosen = [
            QUADRANT[quadrant]
            for strong, apart, quadrant in rows
            if is_within(perplexity, strong) and is_within(difference, apart)
        ]
        assert chosen == [stage["name"]] * 2


def is_within(condition, value):
    if "up_to" in condition:
        return value <= condition["up_to"] + 1e-9
    return value > condition["above"] + 1e-9


def test_the_critical_mixture_ratio(answers, plan):
    crossing = answers["cmr"]["crit_by_linear_interp"]
    options = {
        "new_weights": {"new": 1.0},
        "tolerance": crossing["eps"],
        "runs": [
            [{"at": {"share": share, "tokens": 2e8 * 50}, "loss": {"general": delta}}]
            for share, delta in zip(crossing["R"], crossing["general_delta"], strict=True)
        ],
    }
    made = plan({"old": 1.0, "new": 0.0}, "continual", budget(1e9, 1e6), options=options)
    assert made["evidence"]["share"] == pytest.approx(crossing["R_crit"], rel=1e-9)
    assert made["effective_weights"]["new"] == pytest.approx(crossing["R_crit"], rel=1e-9)


def test_the_law_of_critical_ratios_extrapolates(answers, plan):
    """Losses that cross the tolerance exactly at the ratios of three lengths give their law."""
    law = answers["cmr"]["R_law"]
    shares = [0.05, 0.9]

    def loss(share, critical):
        return 0.05 + (share - critical) * 0.1

    runs = [
        [{"at": {"share": share, "tokens": 2e8 * time}, "loss": {"general": loss(share, critical)}}]
        for time, critical in zip(law["T"], law["R"], strict=True)
        for share in shares
    ]
    options = {"new_weights": {"new": 1.0}, "tolerance": 0.05, "runs": runs}
    made = plan({"old": 1.0, "new": 0.0}, "continual", budget(2e8 * 200, 1e6), options=options)
    assert made["evidence"]["critical"] == pytest.approx(law["R"], abs=1e-9)
    expected = law["a"] * 200 ** law["s"] + law["b"]
    assert made["evidence"]["share"] == pytest.approx(expected, rel=1e-5)
    assert any("extrapolates" in one for one in made["warnings"])


@pytest.mark.parametrize(
    ("column", "shape"),
    [
        ("linear", "linear"),
        ("sqrt", "one_minus_sqrt"),
        ("exp", "geometric"),
        ("cos", "cosine"),
    ],
)
def test_warm_up_stable_decay(answers, plan, moment, column, shape):
    known = answers["wsd"]
    options = {
        "rate": "wsd",
        "warmup": known["warm"] / known["total"],
        "decay": known["decay_frac"],
        "decay_shape": shape,
        "final_rate": known["min"] / known["peak"],
    }
    given = budget(known["total"] * 1000, 1000, 10, known["peak"])
    made = plan({"a": 1.0}, "static", given, options=options)
    assert made["steps"]["count"] == known["total"]
    for step, rate in zip(known["steps"], known[column], strict=True):
        found = moment(made, step * 1000)
        assert found["step"] == step
        assert found["learning_rate"] == pytest.approx(rate, rel=1e-6)


def test_what_repeated_tokens_are_worth(answers, client):
    known = answers["repeat_effective_data"]
    for place, (epochs, worth) in enumerate(
        zip(known["epochs"], known["ratio_to_fresh"], strict=True)
    ):
        study = {
            "name": f"known-{place}",
            "domains": [{"name": "web", "tokens": 1e6}],
            "metrics": [{"name": "loss"}],
            "fidelities": [{"name": "1m"}],
        }
        assert client.post("/v1/studies", json=study).status_code == 201
        body = {"planner": "static", "budget": budget(epochs * 1e6, 1e3)}
        found = client.post(f"/v1/studies/known-{place}/schedules", json=body).json()
        assert found["epochs"]["web"] == pytest.approx(epochs)
        assert found["worth"]["web"] == pytest.approx(worth, rel=1e-6)


def test_what_repetition_costs_a_model(answers, client):
    for place, case in enumerate(answers["repeat_loss"]["cases"]):
        study = {
            "name": f"known-{place}",
            "domains": [{"name": "web", "tokens": case["U"]}],
            "metrics": [{"name": "loss"}],
            "fidelities": [{"name": "1m"}],
        }
        assert client.post("/v1/studies", json=study).status_code == 201
        body = {"planner": "static", "budget": budget(case["D"], 1e6)}
        made = client.post(f"/v1/studies/known-{place}/schedules", json=body).json()
        path, size = f"/v1/schedules/{made['id']}/repetition", {"parameters": case["N"]}
        found = client.get(path, params=size).json()
        assert found["loss"] == pytest.approx(case["L_with_exponent_0.353_and_full_Rstars"])
        assert found["cost"] == pytest.approx(found["loss"] - found["loss_if_fresh"])
        assert (found["cost"] > 0) == (case["D"] > case["U"])
        worth = found["effective_tokens"] / found["trained_tokens"]
        assert worth == pytest.approx(made["worth"]["web"])


@pytest.fixture
def evened_out(answers, client):
    """Plans UniMax's shares of the table's domains, whose study has its cap."""
    known = answers["unimax"]
    sizes = known["chars"]
    caps = {"repetition": {"max_epochs": known["max_epochs"], "target_tokens": sum(sizes)}}
    study = {
        "name": "known",
        "domains": [{"name": f"d{i}", "tokens": size} for i, size in enumerate(sizes)],
        "metrics": [{"name": "loss"}],
        "fidelities": [{"name": "1m"}],
        "constraints": caps,
    }
    assert client.post("/v1/studies", json=study).status_code == 201

    def send(tokens):
        body = {"planner": "static", "budget": budget(tokens, 10), "options": {"shares": "unimax"}}
        return client.post("/v1/studies/known/schedules", json=body)

    return send


def test_unimax(answers, evened_out):
    known = answers["unimax"]
    made = evened_out(known["budget"]).json()
    assert list(made["effective_weights"].values()) == pytest.approx(known["p"], rel=1e-6)
    assert list(made["epochs"].values()) == pytest.approx(known["epochs"], rel=1e-6)
    tokens = [share * known["budget"] for share in made["stages"][0]["weights"].values()]
    assert tokens == pytest.approx(known["alloc"], rel=1e-6)


def test_unimax_short_of_tokens(answers, evened_out):
    short = answers["unimax"]["saturated"]
    answer = evened_out(short["budget"])
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/budget/tokens"]
    assert "every domain is at its cap of 4 epochs" in answer.json()["detail"]
    assert f"train on at most {short['sum']:.0f}" in answer.json()["detail"]
    made = evened_out(short["sum"]).json()
    tokens = [share * short["sum"] for share in made["stages"][0]["weights"].values()]
    assert tokens == pytest.approx(short["alloc"], rel=1e-6)
