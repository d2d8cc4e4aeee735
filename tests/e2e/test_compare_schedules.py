"""Three schedules compared by proxies in one command: server, worker, and what is kept of them."""

import json
import os
import subprocess
import sys
from urllib.parse import urlparse

import pytest
from deployment import ROOT
from small_group import NAMES, make_texts
from small_scored import RATERS, make_documents

pytest.importorskip("torch")

import torch

from mixwright.corpus.store import open_store
from mixwright.schedules import Schedule
from workers.checkpoint import Checkpoints
from workers.keeping import open_kept
from workers.order import GroupOrder
from workers.perplexity import perplexities
from workers.train import train_group

TOKENS = 40 * 8 * 64


def mixwright(deployment, *arguments, url=True, as_json=True):
    where = ["--url", str(deployment.client.base_url)] if url else []
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *map(str, arguments), *where]
        + (["--json"] if as_json else []),
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout) if as_json else done.stdout


@pytest.fixture
def corpus(deployment, tmp_path):
    options = []
    for name, documents in make_documents(documents=150).items():
        rows = [
            {"text": d.text, "id": d.id} | dict(zip(RATERS, d.scores, strict=True))
            for d in documents
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        options += ["--domain", f"{name}={tmp_path}/{name}.jsonl"]
    options += [part for rater in RATERS for part in ("--score", rater)]
    options += ["--id-field", "id", "--validation-share", "0.3", "--register"]
    return mixwright(deployment, "corpus", "build", *options, "--out", tmp_path / "store")["corpus"]


@pytest.fixture
def study(deployment):
    study = {
        "name": "letters",
        "domains": [{"name": name, "tokens": 1e5} for name in NAMES],
        "metrics": [{"name": f"loss/{name}"} for name in NAMES],
        "fidelities": [{"name": "proxy", "tokens": float(TOKENS)}],
    }
    return deployment.post("/v1/studies", study, 201)["id"]


def plan_curriculum(deployment, study):
    """A curriculum planned for a large training, by scores of a sample."""
    documents = [(name, d) for name, some in make_documents(documents=150).items() for d in some]
    sample = {
        "domain": [name for name, _ in documents],
        "tokens": [float(len(d.text)) for _, d in documents],
        "columns": {"edu": [d.scores[0] for _, d in documents]},
    }
    budget = {
        "tokens": 1e11,
        "sequence_length": 4096,
        "batch_tokens": 2**22,
        "peak_learning_rate": 3e-4,
    }
    options = {"column": "edu", "buckets": 2, "rate": "averaging", "window": 0.5}
    body = {
        "planner": "quality_curriculum",
        "budget": budget,
        "options": options,
        "documents": sample,
    }
    return deployment.post(f"/v1/studies/{study}/schedules", body, 201)["id"]


def test_three_schedules_are_compared_and_their_proxies_score_documents(
    deployment, corpus, study, tmp_path
):
    deployment.start_trainer()
    curriculum = plan_curriculum(deployment, study)
    (tmp_path / "late.json").write_text(
        json.dumps(
            {
                "planner": "drop_stable_rampup",
                "options": {"share": 0.5, "good_weights": {"high": 1.0}},
            }
        )
    )
    asked = (
        "schedule", "compare", study, "--corpus", corpus["id"], "--fidelity", "proxy",
        "--schedule", "static", "--schedule", curriculum, "--schedule", tmp_path / "late.json",
        "--replicates", 2, "--model", "65k", "--learning-rate", 0.01, "--batch-sequences", 8,
    )  # fmt: skip
    found = mixwright(deployment, *asked, "--keep")
    assert found["baseline"] == "static"
    rows = {row["name"]: row for row in found["schedules"]}
    assert list(rows) == ["static", curriculum, "late"]
    assert all(row["ended"] == row["runs"] == 2 for row in rows.values())
    late = rows["late"]["difference"]
    assert late["lower"] < late["mean"] < late["upper"]
    assert rows["late"]["metrics"]["loss/high"] < rows["static"]["metrics"]["loss/high"]

    runs = deployment.client.get(f"/v1/studies/{study}/runs").json()["items"]
    assert {run["origin"] for run in runs} == {"schedule"}
    averaged = [run for run in runs if run["metadata"]["schedule"] == curriculum]
    assert all(run["metadata"]["last_metrics"] != run["metrics"] for run in averaged)
    check_bits(deployment, corpus, found["swarm_id"], runs, tmp_path)

    kept = [urlparse(run["metadata"]["kept"]["uri"]).path for run in runs]
    assert all(os.path.exists(path) for path in kept)
    lines = [json.dumps({"text": text}) for text in make_texts(seed=9, documents=3)["low"]]
    (tmp_path / "new.jsonl").write_text("\n".join(lines))
    mixwright(
        deployment, "score", "perplexity", "--model", kept[0], "--in", tmp_path / "new.jsonl",
        "--out", tmp_path / "scored", url=False,
    )  # fmt: skip
    scored = [json.loads(line) for line in (tmp_path / "scored/new.jsonl").read_text().splitlines()]
    proxy = open_kept(type(tmp_path)(kept[0]))
    expected = perplexities(proxy, [one["text"] for one in scored])
    assert [one[f"perplexity_{proxy.name}"] for one in scored] == pytest.approx(expected.tolist())
    table = mixwright(deployment, *asked, "--tokens", 16384, as_json=False)
    assert "minus static" in table
    assert "2/2" in table


def test_domains_are_rated_by_what_they_do_at_the_end(deployment, corpus, study, tmp_path):
    deployment.start_trainer()
    asked = ("schedule", "rate", study, "--corpus", corpus["id"], "--fidelity", "proxy")
    asked += ("--share", 0.5, "--replicates", 2, "--model", "65k")
    by_candidate = mixwright(deployment, *asked, "--candidate", "high")["utilities"]
    assert list(by_candidate) == ["high"]
    rated = mixwright(deployment, *asked)["utilities"]
    assert list(rated) == list(NAMES)
    for worth in [*rated.values(), *by_candidate.values()]:
        assert worth["lower"] < worth["mean"] < worth["upper"]
    utilities = {name: worth["mean"] for name, worth in rated.items()}
    budget = {"tokens": 1e9, "sequence_length": 1000, "batch_tokens": 1e6}
    body = {
        "planner": "upsample_end",
        "budget": {**budget, "peak_learning_rate": 1e-3},
        "options": {"utilities": utilities},
    }
    planned = deployment.post(f"/v1/studies/{study}/schedules", body, 201)
    best = max(utilities, key=utilities.get)
    assert planned["stages"][1]["weights"][best] > planned["stages"][0]["weights"][best]


def check_bits(deployment, corpus, swarm_id, runs, tmp_path):
    """That every run is, to the bit, what its schedule trains here."""
    swarm = deployment.client.get(f"/v1/swarms/{swarm_id}").json()
    store, asked = open_store(corpus["uri"], corpus["digest"]), swarm["trainer"]
    schedules = {one["name"]: one["schedule"] for one in swarm["design"]["schedules"]}
    for run in runs:
        told = run["metadata"]
        schedule = schedules[told["schedule"]]
        one = {"id": run["id"], "seed": told["seed"], "stream": told["replicate"]}
        order = GroupOrder.from_json(
            {
                "group": "own",
                "corpus": {"uri": corpus["uri"], "digest": corpus["digest"]},
                "domains": list(NAMES),
                "runs": [{**one, "learning_rate": None, "schedule": schedule}],
                "sampling": {"mode": "replacement", "max_epochs": None, "pool_tokens": None},
                "width": 1,
                **{
                    name: asked[name]
                    for name in ("model", "optimizer", "tokens", "evaluation", "compile")
                },
            }
        )
        (result,) = train_group(
            order,
            store,
            torch.device("cpu"),
            checkpoints=Checkpoints(str(tmp_path / run["id"]), order, 3600.0),
            on_step=lambda _: None,
            on_evaluation=lambda _: None,
            should_stop=lambda: False,
        )
        assert run["metrics"] == {name: result.metrics[name] for name in run["metrics"]}
        assert run["realised_tokens"] == result.realised_tokens
        assert Schedule.from_json(schedule).budget.tokens == TOKENS
