"""Two processes of torch.distributed, on CPU."""

import json
import os
import subprocess
import sys

import pytest
from fake_server import DOMAINS, FakeServer

pytest.importorskip("torch")

RANK = """
import json, sys, time, torch
import torch.distributed as dist
from mixwright_client import BatchPlan, DomainLoss, Pace, Settings, Training, local_sample_weights
from mixwright_client.client import ClientError
from mixwright_client.gradients import averaged

rank, folder, url = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
domains = ["a", "b", "c"]
body = {"name": "small", "domains": domains, "algorithm": "odm"}
settings = Settings(sync_every=4, report_every=2, folder=folder, pace=Pace(0.01, 0.01))
try:
    Training.register("http://127.0.0.1:1", body, settings)
except ClientError as error:
    refusal = str(error)
training = Training.register(url if rank == 0 else "http://nowhere", body, settings)
sampler = training.batch_sampler(dict.fromkeys(domains, 40), BatchPlan(8, rank=rank, world=2))
losses = DomainLoss(domains)
batches = []
for step in range(16):
    batches.append(sampler.next_batch().tolist())
    losses.add(torch.tensor([1.0 + rank, 5.0]), torch.tensor([0, 1 + rank]))
    training.step_end(step, losses)
    time.sleep(0.03)
training.finish(20)
shares = local_sample_weights(torch.tensor([1.0 + rank, 3.0]))
print(json.dumps({
    "refusal": refusal, "batches": batches, "state": training.state_dict(),
    "shares": shares.tolist(), "mean": averaged(torch.tensor([rank * 2.0])).tolist(),
}))
dist.destroy_process_group()
"""


PROBING_RANK = """
import json, sys, torch
import torch.distributed as dist
from mixwright_client import BatchPlan, Pace, Settings, Training

rank, folder, url = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
domains = ["a", "b", "c"]
body = {"name": "small", "domains": domains, "algorithm": "aioli"}
settings = Settings(
    sync_every=2, folder=folder, pace=Pace(0.01, 0.01), patience=60
)
training = Training.register(url, body, settings)
sampler = training.batch_sampler(dict.fromkeys(domains, 40), BatchPlan(8, rank=rank, world=2))
measured = []

def evaluate():
    measured.append(rank + 1 / (1 + len(measured)))
    dist.barrier()
    return dict.fromkeys(domains, measured[-1])

training.probe_with(evaluate)
states = []
for step in range(24):
    sampler.next_batch()
    training.step_end(step)
    states.append(training.state_dict())
training.finish(20)
print(json.dumps({"states": states, "measured": measured}))
dist.destroy_process_group()
"""


DISAGREEING_RANK = """
import json, sys
import torch.distributed as dist
from mixwright_client import Pace, Settings, Training
from mixwright_client.ledger import LedgerError

rank, folder, url = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
domains = ["a", "b", "c"]
settings = Settings(sync_every=2, folder=folder, pace=Pace(0.01, 0.01), patience=60)
body = {"name": "small", "domains": domains, "algorithm": "odm"}

def losses(step):
    return {"a": 3.0 + step, "b": 2.0, "c": 1.0}

def told(act):
    try:
        act()
    except LedgerError as error:
        return str(error)
    return None

training = Training.register(url, body, settings)
states = [training.state_dict()]
for step in range(4):
    training.step_end(step, losses(step))
    states.append(training.state_dict())
skipping = None
for step in range(4, 8):
    if skipping is None and (rank == 0 or step > 5):
        skipping = told(lambda: training.step_end(step, losses(step)))
    if skipping is not None or (rank == 0 and step == 5):
        break
training.finish(20)
dist.barrier()
of_step = told(lambda: Training.from_state(url, states[4 - rank], settings))
other = json.loads(json.dumps(states[4]))
if rank == 1:
    other["ledger"] = states[0]["ledger"]
of_version = told(lambda: Training.from_state(url, other, settings))
print(json.dumps({"skipping": skipping, "of_step": of_step, "of_version": of_version}))
dist.destroy_process_group()
"""


def of_both_ranks(code, server, folder):
    """What two processes print, as JSON."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(folder), server.url],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(output) for output in outputs]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    with FakeServer() as server:
        return of_both_ranks(RANK, server, tmp_path_factory.mktemp("ranks")), server.store


def test_all_ranks_measure_together_and_have_what_rank_0_measured(tmp_path):
    with FakeServer() as server:
        server.store.probe_steps = 2
        first, second = of_both_ranks(PROBING_RANK, server, tmp_path)
        tables = list(server.store.observations.values())
    assert first["states"] == second["states"]
    assert len(first["measured"]) == len(second["measured"]) >= 8
    assert [row[0] for table in tables for row in table["values"]] == first["measured"][:8]
    assert first["states"][-1]["round"]["start"] > first["states"][3]["round"]["start"]


def test_a_rank_that_is_elsewhere_than_rank_0_says_so(tmp_path):
    """It left out two steps; then its checkpoint is another step's, or has other weights."""
    with FakeServer() as server:
        first, second = of_both_ranks(DISAGREEING_RANK, server, tmp_path)
    assert first == {"skipping": None, "of_step": None, "of_version": None}
    assert "rank 0 is before step 6, with version" in second["skipping"]
    assert "this rank is before step 8, with version" in second["skipping"]
    assert "rank 0 is before step 4" in second["of_step"]
    assert "this rank is before step 3" in second["of_step"]
    assert "this rank is before step 4, with version 0 from step 0" in second["of_version"]
    assert "Load the same checkpoint on every rank" in second["of_version"]


def test_all_ranks_have_the_ledger_and_the_batches_of_rank_0(told):
    (first, second), store = told
    assert first["state"] == second["state"]
    assert first["batches"] == second["batches"]
    entries = first["state"]["ledger"]
    assert len(entries) > 1
    assert store.acks == [(entry["version"], entry["effective_step"]) for entry in entries[1:]]


def test_losses_are_those_of_all_ranks_and_rank_0_alone_talks(told):
    _, store = told
    assert store.posted == list(range(1, 16, 2))
    assert store.observations[1] == dict(zip(DOMAINS, (1.5, 5.0, 5.0)))


def test_a_refusal_reaches_every_rank(told):
    (first, second), _ = told
    assert "training cannot begin" in first["refusal"]
    assert first["refusal"] == second["refusal"]


def test_tensors_are_gathered_and_averaged(told):
    (first, second), _ = told
    assert sum(first["shares"] + second["shares"]) == pytest.approx(2)
    assert first["shares"][1] == pytest.approx(second["shares"][1])
    assert first["mean"] == second["mean"] == [1.0]
