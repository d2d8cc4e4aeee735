"""The example for torch: killed with its server in mid-run, it ends with the same bits."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from deployment import ROOT, until

pytest.importorskip("torch")
pytestmark = pytest.mark.slow


@pytest.fixture
def start(deployment):
    """Starts the example on a folder; what is left of it is killed."""
    processes = []

    def spawn(folder):
        command = [sys.executable, ROOT / "examples/online_torch.py", "--folder", folder]
        process = subprocess.Popen(
            [*command, "--url", str(deployment.client.base_url)],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}"},
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield spawn
    for process in processes:
        process.kill()
        process.communicate()


def follow(process, step):
    """Read what a trainer prints, until it is at a step."""
    seen = b""
    while not any(int(found) >= step for found in re.findall(rb"step (\d+) ", seen)):
        chunk = process.stdout.read1()
        assert chunk, "the trainer has ended"
        seen = seen[-20:] + chunk


def kill(process):
    process.kill()
    assert process.wait() == -signal.SIGKILL


def result(process):
    """The weights and the digest of the model that a trainer ends with, as text."""
    output = process.communicate(timeout=240)[0].decode()
    assert process.returncode == 0
    return re.search(r"weights (.*)\nmodel ([0-9a-f]{64})\n$", output).groups()


def ledger(deployment, folder):
    """What holds of the ledger: from which step, really used from which, the weights."""
    (spool,) = folder.glob("trn_*.jsonl")
    found = deployment.client.get(f"/v1/trainings/{spool.stem}/ledger").json()["items"]
    return [
        (one["effective_step"], one["applied_step"], one["weights"])
        for one in found
        if one["state"] == "published"
    ]


def page(deployment, folder):
    """What the training's page draws: weights over steps, and losses."""
    (spool,) = folder.glob("trn_*.jsonl")
    text = deployment.client.get(f"/v1/trainings/{spool.stem}/report").text
    found = re.search(
        r'<script type="application/json" id="report-data">(.*?)</script>', text, re.S
    )
    figures = json.loads(found[1])["charts"]
    return figures["training-weights"], figures["training-probe_losses"]


def test_killed_with_its_server_it_ends_with_the_same_bits(deployment, start, tmp_path):
    calm, hit = tmp_path / "calm", tmp_path / "hit"
    expected = result(start(calm))

    first = start(hit)
    follow(first, 270)  # in the second round's probes, and no step of a checkpoint
    kill(first)
    second = start(hit)
    follow(second, 420)
    os.killpg(deployment.server.pid, signal.SIGKILL)
    deployment.server.wait()
    (spool,) = hit.glob("trn_*.jsonl")
    until(lambda: spool.stat().st_size)  # the losses of a round wait for the server
    kill(second)
    third = start(hit)
    follow(third, 550)  # the server is away still
    deployment.start()

    assert result(third) == expected
    published = ledger(deployment, hit)
    assert published == ledger(deployment, calm)
    assert len(published) == 4
    assert len({tuple(weights.values()) for *_, weights in published}) == 4
    weights, losses = page(deployment, hit)
    for drawn in weights["curves"]:
        told = [round(of[drawn["domain"]], 4) for *_, of in published]
        assert drawn["y"] == pytest.approx([*told, told[-1]], rel=1e-3)
    assert all(len(drawn["y"]) >= 3 for drawn in losses["curves"])
