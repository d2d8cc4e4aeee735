"""QuaDMix's numbers as a client sees them, against arithmetic done by others."""

import json
from pathlib import Path

import numpy as np
import pytest
from rated_study import NDJSON, QUADMIX, as_lines

ANSWERS = Path(__file__).parents[3] / "shared" / "known_answers" / "offline_known_answers.json"
pytestmark = pytest.mark.skipif(not ANSWERS.exists(), reason=f"no known answers at {ANSWERS}")


@pytest.fixture
def answer():
    known = json.loads(ANSWERS.read_text())
    return lambda name: known[name]


@pytest.fixture
def make(client, rated):
    """Makes the function of one domain, θ and documents; returns what evaluates it."""

    def create(raters, theta, rows, name):
        space = QUADMIX | {"raters": raters, "lower_is_better": raters}
        study = rated(space, domains=("web",), tokens=(None,), name=name)
        headers = {"Content-Type": NDJSON}
        sent = client.post(f"/v1/studies/{study}/samples", content=as_lines(rows), headers=headers)
        assert sent.status_code == 201, sent.text
        body = {"parameters": {"web": theta}}
        made = client.post(f"/v1/studies/{study}/sampling-functions", json=body)
        assert made.status_code == 201, made.text

        def evaluate(scores):
            asked = [
                {"domain": "web", "scores": dict(zip(raters, row, strict=True))} for row in scores
            ]
            path = f"/v1/sampling-functions/{made.json()['id']}/evaluate"
            return client.post(path, json={"documents": asked}).json()["documents"]

        return made.json(), evaluate

    return create


def test_expected_copies_at_ranks(answer, make):
    known = answer("quadmix_sampling")
    pairs = (
        (known["params"], known["r"], known["S"]),
        (known["second_params"], [0.0, 0.02, 0.1, 0.2], known["S_second_at_r0_0.02_0.1_0.2"]),
    )
    for number, (numbers, ranks, expected) in enumerate(pairs):
        ends = np.unique([*ranks[1:], 1.0])  # documents whose tokens make these their ranks
        tokens = np.diff(np.round(ends * 10_000_000).astype(int), prepend=0)
        rows = [
            {"domain": "web", "tokens": int(count), "loss": float(place)}
            for place, count in enumerate(tokens)
        ]
        _, evaluate = make(
            ["loss"], {"rater_weights": {"loss": 1.0}, **numbers}, rows, f"s{number}"
        )
        places = [-1.0, *(float(np.searchsorted(ends, rank)) for rank in ranks[1:])]
        found = evaluate([[place] for place in places])
        assert [one["rank"] for one in found] == pytest.approx(ranks, abs=1e-15)
        assert [one["expected_copies"] for one in found] == pytest.approx(expected, abs=1e-9)


def test_token_weighted_ranks(answer, make):
    """The known scores are merged as they are; ours are z-scores first.

    So the weights are α times the spread of a rater's scores: the merged scores are the known ones
    but for one factor and one constant, and ranks do not see these.
    """
    known = answer("quadmix_rank")
    scores, tokens = np.array(known["q_smaller_is_better"]), np.array(known["tokens"])
    mean = np.average(scores, axis=0, weights=tokens)
    weights = known["alpha"] * np.sqrt(np.average((scores - mean) ** 2, axis=0, weights=tokens))
    weights /= weights.sum()
    theta = {
        "rater_weights": dict(zip(("a", "b"), weights.tolist(), strict=True)),
        "lambda": 20,
        "omega": 0.75,
        "eta": 0.8,
        "epsilon": 0.001,
    }
    rows = [
        {"domain": "web", "tokens": int(count), "a": float(a), "b": float(b)}
        for (a, b), count in zip(scores, tokens, strict=True)
    ]
    made, evaluate = make(["a", "b"], theta, rows, "ranks")
    found = evaluate(scores.tolist())
    assert [one["rank"] for one in found] == pytest.approx(known["token_weighted_rank"], abs=1e-12)
    copies = known["S_lambda20_omega0.75_eta0.8_eps0.001"]
    assert [one["expected_copies"] for one in found] == pytest.approx(copies, abs=1e-9)
    expected = known["expected_domain_tokens"]
    assert made["implied"]["expected_tokens"] == pytest.approx(expected, abs=1e-6)
