"""A trainer and its server, both killed in mid-run: the weights are those of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from deployment import ROOT, until

from mixwright.reweighting import build_reweighter
from mixwright.reweighting.base import Observation

DOMAINS = ("code", "math", "web")
TARGETS = {"code": 1.0, "math": 1.4, "web": 2.2}
STEPS = 60
TRAINER = f"""
import json, math, sys, time
from pathlib import Path
from mixwright_client import Settings, Training
from mixwright_client.courier import Pace

url, folder = sys.argv[1], Path(sys.argv[2])
pace = Pace(poll=0.05, retry=0.05)
settings = Settings(rank=0, sync_every=1, folder=folder / "spool", pace=pace)
checkpoint = folder / "checkpoint.json"
if checkpoint.exists():
    training = Training.from_state(url, json.loads(checkpoint.read_text()), settings)
    start = json.loads(checkpoint.read_text())["step"]
else:
    body = {{
        "name": "toy",
        "domains": {list(DOMAINS)!r},
        "algorithm": "shearing",
        "options": {{"target_losses": {TARGETS!r}, "step_size": 0.05}},
    }}
    training, start = Training.register(url, body, settings), 0
(folder / "training").write_text(training.id)
for step in range(start, {STEPS}):
    time.sleep(0.02)
    losses = {{"code": 3 - 0.02 * step, "math": 2.5 - 0.01 * step, "web": 3 + math.sin(step)}}
    training.step_end(step, losses)
    if step % 10 == 9:
        part = folder / "checkpoint.part"
        part.write_text(json.dumps(training.state_dict()))
        part.replace(checkpoint)
    (folder / "step").write_text(str(step))
sys.exit(0 if training.finish(60) else 1)
"""


def start_trainer(deployment, folder):
    url = str(deployment.client.base_url)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}"}
    command = [sys.executable, "-c", TRAINER, url, str(folder)]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def step_of(folder):
    return int((folder / "step").read_text() or 0) if (folder / "step").exists() else -1


def undisturbed():
    """The weights of a training that nothing happened to."""
    reweighter = build_reweighter("shearing", {"target_losses": TARGETS, "step_size": 0.05})
    state = reweighter.init(DOMAINS, np.full(3, 1 / 3), 0)
    for step in range(STEPS):
        losses = np.array([3 - 0.02 * step, 2.5 - 0.01 * step, 3 + np.sin(step)])
        state = reweighter.update(state, Observation(step, vectors={"losses": losses})).state
    return (1 - 1e-4) * state.weights + 1e-4 / 3


def test_both_are_killed_and_nothing_is_lost(deployment, tmp_path):
    folder = tmp_path / "trainer"
    folder.mkdir()
    first = start_trainer(deployment, folder)
    until(lambda: step_of(folder) >= 25)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()

    second = start_trainer(deployment, folder)
    until(lambda: step_of(folder) >= 35)
    os.killpg(deployment.server.pid, signal.SIGKILL)
    deployment.server.wait()
    until(lambda: step_of(folder) >= 45)  # the training does not wait for the server
    deployment.start()
    assert second.wait(timeout=120) == 0

    training = (folder / "training").read_text()
    found = deployment.client.get(f"/v1/trainings/{training}/weights").json()
    expected = dict(zip(DOMAINS, undisturbed(), strict=True))
    assert found["weights"] == pytest.approx(expected, abs=1e-12)
    ledger = deployment.client.get(f"/v1/trainings/{training}/ledger?limit=1000").json()["items"]
    versions = [one["version"] for one in ledger]
    assert versions == sorted(set(versions))
    held = json.loads((folder / "checkpoint.json").read_text())["ledger"]
    known = {one["version"]: one["weights"] for one in ledger}
    assert all(known[one["version"]] == pytest.approx(one["weights"]) for one in held)
