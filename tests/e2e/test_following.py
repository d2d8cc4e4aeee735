"""`mixwright pull` and `mixwright relay` as processes beside a real server."""

import json
import os
import signal
import subprocess
import sys

import pytest
from deployment import ROOT, until

from mixwright_client import Settings, Training
from mixwright_client.courier import Pace

BODY = {
    "name": "toy",
    "domains": ["code", "web"],
    "algorithm": "shearing",
    "options": {"target_losses": {"code": 1.0, "web": 1.0}},
}
EVEN = {"code": 0.5, "web": 0.5}


@pytest.fixture
def mixwright(deployment):
    """Starts a command that knows the server; it is killed in the end."""
    started = []

    def start(*words, url=None):
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}",
            "MIXWRIGHT_URL": url or str(deployment.client.base_url),
        }
        command = [sys.executable, "-c", "from app.cli.main import main; main()", *words]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def tell(deployment, training, step):
    body = {"step": step, "losses": {"code": 2.0, "web": 1.5}}
    return deployment.post(f"/v1/trainings/{training}/observations", body, 200)["weights"]


def test_a_file_follows_a_training_until_it_is_interrupted(deployment, mixwright, tmp_path):
    training, file = deployment.post("/v1/trainings", BODY, 201)["id"], tmp_path / "weights.json"
    process = mixwright("pull", training, str(file), "--watch", "--seconds", "0.1")
    until(file.exists)
    assert json.loads(file.read_text()) == EVEN
    new = tell(deployment, training, 100)
    until(lambda: json.loads(file.read_text()) == pytest.approx(new))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["weights.json"]


def test_weights_are_written_once_or_not_at_all(deployment, mixwright, tmp_path):
    training, file = deployment.post("/v1/trainings", BODY, 201)["id"], tmp_path / "weights.json"
    assert mixwright("pull", training, str(file)).wait(timeout=60) == 0
    assert json.loads(file.read_text()) == EVEN
    other = tmp_path / "other.json"
    assert mixwright("pull", "trn_nonesuch", str(other)).wait(timeout=60) == 1
    assert mixwright("pull", training, str(other), url="http://127.0.0.1:1").wait(timeout=60) == 1
    assert not other.exists()


def test_a_training_without_a_route_goes_through_a_folder(deployment, mixwright, tmp_path):
    folder = tmp_path / "folder"
    mixwright("relay", str(folder))
    until(folder.exists)
    pace = Pace(poll=0.05, retry=0.05)
    settings = Settings(rank=0, sync_every=1, folder=tmp_path / "spool", pace=pace)
    training = Training.register(f"file://{folder}", BODY, settings)
    for step in range(3):
        training.step_end(step, {"code": 2.0, "web": 1.5})
    assert training.finish(60)
    found = deployment.client.get(f"/v1/trainings/{training.id}/weights").json()
    assert found["weights"]["code"] > 0.6
