"""From rated documents to proxies trained on what parameters select: commands, server, worker.

The parameters are those of QuaDMix and of Meta-rater.
"""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from deployment import ROOT, children_of, until
from small_group import NAMES
from small_scored import META_RATER, RATERS, SPACE, make_documents, make_scored_order, theta

pytest.importorskip("torch")

import torch

from mixwright.corpus.store import open_store
from workers.checkpoint import Checkpoints
from workers.train import train_group

TOKENS = 60 * 8 * 64
QUADMIX = {**SPACE, "limits": {"omega": 1.0, "epsilon": 1.0}}
EMPTY = theta(omega=0.0, epsilon=0.0)
SOME = [theta(), EMPTY, theta(omega=0.1, epsilon=0.3)]
WEIGHTS = [{"edu": share, "noise": 1 - share} for share in (0.0, 0.5, 1.0)]
BY_RANKS = {**META_RATER, "normalisation": "rank_normal"}
CASES = {
    "quadmix": (QUADMIX, SOME, {}, ["succeeded", "failed", "succeeded"]),
    "meta_rater": (BY_RANKS, WEIGHTS, {"budget_tokens": 20_000.0}, ["succeeded"] * 3),
}


@pytest.fixture
def corpus(deployment, tmp_path):
    """Built from JSON lines and registered by the command."""
    options = []
    for name, documents in make_documents(documents=150).items():
        rows = (
            {"body": d.text, "name": d.id, **dict(zip(RATERS, d.scores, strict=True))}
            for d in documents
        )
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        options += ["--domain", f"{name}={tmp_path}/{name}.jsonl"]
    options += [part for rater in RATERS for part in ("--score", rater)]
    options += ["--id-field", "name", "--text-field", "body", "--validation-share", "0.3"]
    found = mixwright(
        deployment, "corpus", "build", *options, "--out", tmp_path / "store", "--register"
    )
    return found["corpus"]


def mixwright(deployment, *arguments):
    url = str(deployment.client.base_url)
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *map(str, arguments), "--url", url, "--json"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}"},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def create(deployment, space=QUADMIX):
    study = {
        "name": "letters",
        "space": space,
        "domains": [{"name": name, "tokens": 1e5} for name in NAMES],
        "metrics": [{"name": f"loss/{name}"} for name in NAMES],
        "fidelities": [{"name": "proxy", "tokens": float(TOKENS)}],
    }
    return deployment.post("/v1/studies", study, 201)["id"]


def ask(deployment, study, corpus, design, sampling):
    trainer = {
        "corpus": corpus["id"],
        "model": {"preset": "65k"},
        "optimizer": {"learning_rate": 0.01, "batch_sequences": 8},
        "sampling": sampling,
        "width": 3,
    }
    body = {"fidelity": "proxy", "design": design, "trainer": trainer}
    return deployment.post(f"/v1/studies/{study}/swarms", body, 202)["id"]


def ended(deployment, swarm):
    def look():
        found = deployment.client.get(f"/v1/swarms/{swarm}").json()
        return found if found["state"] in ("succeeded", "failed") else None

    return until(look, 240)


def runs_of(deployment, study):
    return deployment.client.get(f"/v1/studies/{study}/runs", params={"limit": 100}).json()["items"]


@pytest.mark.parametrize("case", CASES)
def test_a_swarm_by_parameters_outlives_its_worker_and_ends_with_the_same_bits(
    deployment, corpus, tmp_path, case
):
    assert corpus["raters"] == list(RATERS)
    space, chosen, sampling, states = CASES[case]
    study = create(deployment, space)
    trainer = deployment.start_trainer()
    swarm = ask(deployment, study, corpus, {"kind": "given", "parameters": chosen}, sampling)

    def progress():
        return deployment.client.get(f"/v1/swarms/{swarm}").json()["progress"]

    until(lambda: progress() > 0.1, 120)
    for child in children_of(trainer.pid):
        os.kill(child, signal.SIGKILL)
    os.killpg(trainer.pid, signal.SIGKILL)
    trainer.wait()
    deployment.start_trainer()
    found = ended(deployment, swarm)
    runs = runs_of(deployment, study)
    assert [run["state"] for run in runs] == states
    assert ("the parameters select no document" in json.dumps(runs)) == ("failed" in states)

    store = open_store(corpus["uri"], corpus["digest"])
    asked = found["trainer"]
    order = make_scored_order(
        store,
        [run["parameters"] for run in runs],
        tokens=TOKENS,
        space=deployment.client.get(f"/v1/studies/{study}").json()["space"],
        sampling={"mode": "replacement", "max_epochs": None, "pool_tokens": None, **sampling},
        **{part: asked[part] for part in ("model", "optimizer", "evaluation")},
    )
    expected = train_group(
        order,
        store,
        torch.device("cpu"),
        checkpoints=Checkpoints(str(tmp_path / "own"), order, 3600.0),
        on_step=lambda _: None,
        on_evaluation=lambda _: None,
        should_stop=lambda: False,
    )
    for run, result in zip(runs, expected, strict=True):
        if run["state"] == "succeeded":
            known = {name: result.metrics[name] for name in run["metrics"]}
            assert run["metrics"] == known
            assert run["metadata"]["selected_tokens"] == result.selected_tokens


def test_a_designed_swarm_with_a_sweep_is_trained(deployment, corpus):
    study = create(deployment)
    deployment.start_trainer()
    found = mixwright(
        deployment, "swarm", study, "--corpus", corpus["id"], "--fidelity", "proxy",
        "--count", 4, "--model", "65k", "--learning-rate", "sweep", "--batch-sequences", 8,
        "--tokens", 4096,
    )  # fmt: skip
    assert found["state"] == "succeeded"
    assert found["design"]["kind"] == "sampler"
    runs = runs_of(deployment, study)
    assert len(runs) == 4
    assert len({json.dumps(run["parameters"]) for run in runs}) == 4
    for run in runs:
        assert run["weights"] is None
        assert sum(run["realised_tokens"].values()) == 4096
        assert set(run["metadata"]["selected_tokens"]) == set(NAMES)


def test_a_designed_swarm_of_weights_of_raters_needs_its_budget(deployment, corpus):
    study = create(deployment, META_RATER)
    deployment.start_trainer()
    swarm = (
        "swarm", study, "--corpus", corpus["id"], "--fidelity", "proxy", "--count", 3,
        "--model", "65k", "--learning-rate", 0.01, "--batch-sequences", 8, "--tokens", 4096,
    )  # fmt: skip
    with pytest.raises(subprocess.CalledProcessError) as caught:
        mixwright(deployment, *swarm)
    assert "budget_tokens" in caught.value.stdout.decode()
    found = mixwright(deployment, *swarm, "--budget-tokens", 20_000)
    assert (found["state"], found["design"]["kind"]) == ("succeeded", "dirichlet")
    runs = runs_of(deployment, study)
    assert len({json.dumps(run["parameters"]) for run in runs}) == 3
    for run in runs:
        assert 20_000 <= sum(run["metadata"]["selected_tokens"].values()) < 20_500


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_runs_through(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples/quadmix.py", "--small", "--folder", tmp_path],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = re.findall(r"^(.+?) +(\d\.\d{4}) +([\d,]+) +(\d+)%", done.stdout, re.M)
    found = {name: (float(loss), int(noise)) for name, loss, _, noise in rows}
    assert len(found) == 6
    assert all(2 < loss < 5 for loss, _ in found.values())
    assert found["the best by grade"][1] < found["random"][1]
    assert (tmp_path / "quadmix.svg").read_text().lstrip().startswith("<?xml")
