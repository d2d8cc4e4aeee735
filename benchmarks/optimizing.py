"""Bayesian optimisation against a swarm of twice its cost, with proxies trained for real.

On the text of the Python installation, with two proxy scales: the 65k model on 12,288 bytes costs a
quarter of the same on 49,152. `mixwright optimize` spends 16 large runs' worth; the swarm
trains 32 large runs and recommends by `auto`. Then each recommendation is trained three times at
the large size with new seeds, which are the same for both, and compared.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from app.cli.checking import check_by_training
from app.cli.corpus import register_corpus
from app.cli.demo import MAX_EPOCHS, TARGET_TOKENS, TRAINER, WANTED, own_server
from app.cli.recommending import fit_study, recommend_by
from app.cli.swarming import follow
from app.cli.terminal import Answer
from benchmarks.tables import Section, machine, versions
from mixwright.corpus.python_text import python_corpus

SEEDS = (0, 1, 2)
SWARM, BUDGET = 32, 16.0
QUIET = Answer(as_json=True)


def study(name, store):
    return {
        "name": name,
        "domains": [
            {"name": domain, "tokens": float(tokens)}
            for domain, tokens in zip(store.domains, store.train_tokens, strict=True)
        ],
        "metrics": [{"name": f"loss/{domain}"} for domain in store.domains],
        "objective": {f"loss/{domain}": 1 / len(WANTED) for domain in WANTED},
        "fidelities": [
            {"name": "small", "cost": 0.25, "parameters": 65e3, "tokens": 12_288.0},
            {"name": "large", "cost": 1.0, "parameters": 65e3, "tokens": 49_152.0},
        ],
        "target_fidelity": "large",
        "constraints": {"repetition": {"target_tokens": TARGET_TOKENS, "max_epochs": MAX_EPOCHS}},
    }


def optimized(client, name, seed):
    """What `mixwright optimize` recommends, and what it spent where."""
    command = [sys.executable, "-m", "app.cli.main", "optimize", name, "--corpus", "python"]
    command += ["--model", "65k", "--budget", str(BUDGET), "--seed", str(seed), "--json"]
    environment = {**os.environ, "MIXWRIGHT_URL": client.url}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["recommendation"]["weights"], found["runs"]


def swarmed(client, name, seed, trainer):
    """What a swarm of twice the cost recommends."""
    body = {
        "count": SWARM,
        "fidelity": "large",
        "design": {"kind": "dirichlet", "seed": seed},
        "trainer": trainer,
    }
    follow(client, QUIET, client.post(f"/v1/studies/{name}/swarms", body)["id"])
    fit = fit_study(client, QUIET, name, "auto", None, seed)
    return recommend_by(client, QUIET, name, {"fit": fit["id"], "method": "regmix"})["weights"]


def sections():
    """The section of docs/benchmarks.md."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, own_server(Path(folder)) as client:
        store = python_corpus(Path(folder) / "corpora")
        corpus = register_corpus(client, str(store.folder), store, "python")["id"]
        trainer = {**TRAINER, "corpus": corpus}
        for seed in SEEDS:
            for kind in ("bayesopt", "swarm"):
                client.post("/v1/studies", study(f"{kind}-{seed}", store))
            ours, runs = optimized(client, f"bayesopt-{seed}", seed)
            theirs = swarmed(client, f"swarm-{seed}", seed, trainer)
            rows.append(_compare(client, seed, ours, theirs, runs, trainer))
    return [
        Section(
            "Bayesian optimisation against a swarm, trained for real",
            f"Losses of prose in nats per byte. `mixwright optimize` with a budget of {BUDGET:g} "
            f"large runs; a swarm of {SWARM} large runs with `auto`. Both recommendations are "
            "trained with three new seeds, common to both; the gain has the standard error of its "
            "differences.",
            ("seed", "runs of optimize", "optimize", "swarm", "gain of optimize"),
            rows,
            f"Machine: {machine()}; {versions('torch')}.",
        )
    ]


def _compare(client, seed, ours, theirs, runs, trainer):
    found = {"weights": ours, "baselines": {"swarm": {"weights": theirs}}}
    checked = check_by_training(client, QUIET, f"swarm-{seed}", "large", found, trainer)
    one, other = (np.array(row["losses"]) for row in checked)
    gains = other - one
    spent = ", ".join(f"{count} {name}" for name, count in sorted(runs.items()))
    error = gains.std(ddof=1) / len(gains) ** 0.5
    return (
        seed,
        spent,
        f"{one.mean():.4f}",
        f"{other.mean():.4f}",
        f"{gains.mean():.4f} ± {error:.4f}",
    )
