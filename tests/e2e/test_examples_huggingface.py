"""The example for Hugging Face's Trainer against a real server: as it is, and killed in between.

`WITNESS` writes down the domains of every batch that reaches the model. It also waits, before
weights are handed out, until all that was reported is answered: without that, the step from which
weights hold depends on how fast the server is, and no two runs could be compared bit for bit.
"""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from deployment import ROOT, Deployment

pytest.importorskip("transformers")

EXAMPLE = ROOT / "examples/online_huggingface.py"
DOMAINS, STEPS, BATCH, DIES_AT = ("alphabet", "sums", "noise"), 120, 16, 74  # saved every 50 steps
WITNESS = """
import json, os, runpy, signal, sys, time
import numpy as np
from mixwright_client.huggingface import MixtureTrainer
from mixwright_client.training import Training

seen, dies_at = open(sys.argv[1], "a"), int(sys.argv[2])
compute_loss, hand_out = MixtureTrainer.compute_loss, Training._hand_out

def witnessed(self, model, inputs, *args, **kwargs):
    step = self.state.global_step
    counts = np.bincount(inputs["domain_id"].numpy(), minlength=3).tolist()
    print(json.dumps([step, counts]), file=seen, flush=True)
    if step == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return compute_loss(self, model, inputs, *args, **kwargs)

def patient(self, step):
    while not self._courier._spool.is_empty():
        time.sleep(0.001)
    hand_out(self, step)

MixtureTrainer.compute_loss, Training._hand_out = witnessed, patient
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("server"))
    deployment.start()
    yield deployment
    deployment.stop()


class Run:
    """What one run of the example left behind."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.command = [EXAMPLE, "--url", str(server.client.base_url), "--out", folder]

    def started(self, *before, steps=STEPS):
        """Start the example, and return its exit status."""
        command = [sys.executable, *before, *self.command, "--steps", steps]
        path = os.pathsep.join([str(ROOT), str(ROOT / "sdk/src")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(list(map(str, command)), env=environment, check=False).returncode

    def witnessed(self, dies_at=-1):
        self.folder.mkdir(exist_ok=True)
        return self.started("-c", WITNESS, self.folder / "seen", dies_at)

    @property
    def seen(self):
        """Rows of each domain by step; of a step that was done twice, the last."""
        return dict(map(json.loads, (self.folder / "seen").read_text().splitlines()))

    @property
    def saved(self):
        """The training's state in the last checkpoint."""
        state = json.loads((self.folder / f"checkpoint-{STEPS}/trainer_state.json").read_text())
        return state["stateful_callbacks"]["MixtureCallback"]["attributes"]["mixture"]

    @property
    def losses(self):
        state = json.loads((self.folder / f"checkpoint-{STEPS}/trainer_state.json").read_text())
        return [entry["loss"] for entry in state["log_history"] if "loss" in entry]

    @property
    def model(self):
        return (self.folder / "model.safetensors").read_bytes()

    @property
    def ledger(self):
        """The weights that hold, by the step that they were really applied at."""
        items = self._read("ledger?limit=1000")["items"]
        return {
            one["applied_step"] or one["effective_step"]: one["weights"]
            for one in items
            if one["state"] == "published"
        }

    @property
    def observed(self):
        """The steps of observations that were applied and still count."""
        events = self._read("events?limit=1000")["items"]
        return [one["content"]["step"] for one in events if one["kind"] == "observe"]

    def _read(self, what):
        answer = self.server.client.get(f"/v1/trainings/{self.saved['training']}/{what}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    run = Run(server, tmp_path_factory.mktemp("undisturbed"))
    assert run.witnessed() == 0
    return run


def follows(counts, weights):
    """Whether a batch has each domain's share, to less than one row."""
    share = BATCH * np.array([weights[name] for name in DOMAINS])
    return sum(counts) == BATCH and np.all(np.abs(np.array(counts) - share) < 1)


def test_it_trains_and_its_data_follow_the_weights(undisturbed):
    assert undisturbed.losses[-1] < 0.6 * undisturbed.losses[0]
    assert undisturbed.observed == list(range(9, STEPS, 10))
    ledger = undisturbed.ledger
    assert len(ledger) > STEPS / 10 - 2
    assert all(before != after for before, after in pairwise(ledger.values()))
    assert sorted(undisturbed.seen) == list(range(STEPS))
    for step, counts in undisturbed.seen.items():
        assert follows(counts, ledger[max(start for start in ledger if start <= step)])
    drawn = np.sum(list(undisturbed.seen.values()), axis=0).tolist()
    assert undisturbed.saved["sampler"]["counts"] == dict(zip(DOMAINS, drawn, strict=True))


def test_killed_and_started_again_it_is_the_same_run(undisturbed, server, tmp_path):
    run = Run(server, tmp_path / "killed")
    assert run.witnessed(dies_at=DIES_AT) == -signal.SIGKILL
    assert run.witnessed() == 0
    assert len(run.saved["ledger"]) == len(undisturbed.saved["ledger"])
    assert run.ledger == undisturbed.ledger
    assert run.seen == undisturbed.seen
    assert run.model == undisturbed.model


def test_as_it_is_it_trains(server, tmp_path):
    run = Run(server, tmp_path)
    assert run.started() == 0
    assert run.losses[-1] < run.losses[0]
    assert len(run.observed) == STEPS / 10


@pytest.mark.slow
def test_two_ranks_share_its_batches_and_go_on_together(server, tmp_path):
    run = Run(server, tmp_path / "ranks")
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    assert run.started(*ranks, steps=STEPS // 2) == 0
    assert run.started(*ranks) == 0
    assert sum(run.saved["sampler"]["counts"].values()) == STEPS * 2 * BATCH
    assert run.observed == list(range(9, STEPS, 10))
    assert run.losses[-1] < run.losses[0]
