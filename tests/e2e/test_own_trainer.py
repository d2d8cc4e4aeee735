"""`mixwright run` around a command of one's own, and `mixwright corpus` and `swarm`, for real."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from deployment import Deployment, children_of, until
from small_group import make_texts

STUDY = {
    "name": "own",
    "domains": [{"name": "low", "path": "/data/low"}, {"name": "high", "path": "/data/high"}],
    "metrics": [{"name": "loss/low"}, {"name": "loss/high"}],
    "fidelities": [{"name": "tiny", "tokens": 20_000.0}],
    "budget": {"max_runs": 4},
}
TRAIN = """
import json, os, sys, time
weights = json.loads(os.environ["MIXWRIGHT_WEIGHTS"])
assert "/data/low" in open(os.environ["MIXWRIGHT_MIXTURE_FILE"]).read()
assert os.environ["MIXWRIGHT_FIDELITY"] == "tiny"
{body}
metrics = {{f"loss/{{name}}": 3 - weight for name, weight in weights.items()}}
json.dump({{"metrics": metrics, "cost": 0.5}}, open(os.environ["MIXWRIGHT_RESULT_FILE"], "w"))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("server"))
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def study(server):
    name = f"own-{time.time_ns()}"
    server.post("/v1/studies", {**STUDY, "name": name}, 201)
    return name


@pytest.fixture
def mixwright(server, tmp_path):
    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", *map(str, arguments)],
            env={**os.environ, "MIXWRIGHT_URL": str(server.client.base_url).rstrip("/")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def trainer(tmp_path):
    def write(body=""):
        path = tmp_path / "train.py"
        path.write_text(TRAIN.format(body=textwrap.dedent(body)))
        return [sys.executable, str(path)]

    return write


def ended(process, status=0):
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, out + err
    return out, err


def runs_of(server, study, state):
    return server.client.get(f"/v1/studies/{study}/runs?state={state}").json()["items"]


def test_a_command_is_given_its_mixture_and_its_result_is_kept(server, study, mixwright, trainer):
    process = mixwright(
        "run",
        "--study",
        study,
        "--count",
        2,
        "--strategy",
        "bayesopt",
        "--format",
        "megatron",
        "--json",
        "--",
        *trainer(),
    )
    found = json.loads(ended(process)[0])
    assert [run["state"] for run in found] == ["succeeded"] * 2
    for run in runs_of(server, study, "succeeded"):
        assert run["metrics"]["loss/low"] == pytest.approx(3 - run["weights"]["low"])
        assert run["cost"] == 0.5


def test_climb_s_rounds_are_those_of_the_command_line(server, mixwright, trainer):
    pytest.importorskip("lightgbm")
    study = f"rounds-{time.time_ns()}"
    server.post("/v1/studies", {**STUDY, "name": study, "budget": {}}, 201)

    def climb(rounds, status=0):
        process = mixwright(
            "run", "--study", study, "--strategy", "climb", "--rounds", rounds, "--count", 99,
            "--format", "megatron", "--", *trainer(),
        )  # fmt: skip
        return ended(process, status)[1]

    assert "all rounds" in climb("13,2")
    runs = runs_of(server, study, "succeeded")
    assert len(runs) == 15
    assert "64,32,16" in climb("13;2", 2)
    assert "/options/rounds/0" in climb("2,2", 1)
    assert len(runs_of(server, study, "succeeded")) == 15


def test_when_the_budget_is_spent_it_says_so(study, mixwright, trainer):
    _, err = ended(
        mixwright("run", "--study", study, "--count", 9, "--format", "megatron", "--", *trainer())
    )
    assert err.count("run_") == 4
    assert "budget is spent" in err


def test_a_command_that_fails_fails_its_run(server, study, mixwright, trainer):
    command = trainer("sys.exit(3)")
    _, err = ended(mixwright("run", "--study", study, "--format", "megatron", "--", *command), 1)
    assert "exit code 3" in err
    assert "exit code 3" in runs_of(server, study, "failed")[0]["failure"]


def test_a_command_without_a_result_fails_its_run(study, mixwright):
    _, err = ended(mixwright("run", "--study", study, "--", sys.executable, "-c", "pass"), 1)
    assert "left no result in MIXWRIGHT_RESULT_FILE" in err


def test_a_refused_result_is_shown_and_not_lost(server, study, mixwright, trainer):
    command = trainer('weights = {"nothing": 1.0}')
    _, err = ended(mixwright("run", "--study", study, "--format", "megatron", "--", *command), 1)
    assert "loss/nothing" in err
    assert '"cost": 0.5' in err
    assert len(runs_of(server, study, "leased")) == 1


def test_a_long_run_keeps_its_lease(server, study, mixwright, trainer):
    process = mixwright(
        "run", "--study", study, "--lease-seconds", 3.0, "--format", "megatron",
        "--", *trainer("time.sleep(7)"),
    )  # fmt: skip
    ended(process)
    assert [run["late"] for run in runs_of(server, study, "succeeded")] == [False]


def test_a_preempted_command_is_told_and_its_run_given_back(server, study, mixwright, trainer):
    process = mixwright(
        "run", "--study", study, "--format", "megatron", "--", *trainer("time.sleep(60)")
    )
    until(lambda: children_of(process.pid))
    time.sleep(1)  # until it listens to signals
    process.send_signal(signal.SIGTERM)
    _, err = ended(process, 1)
    assert "interrupted by signal 15" in err
    assert runs_of(server, study, "failed")


def test_a_run_that_another_took_over_is_stopped(server, study, mixwright, trainer):
    process = mixwright(
        "run", "--study", study, "--lease-seconds", 6.0, "--format", "megatron",
        "--", *trainer("time.sleep(60)"),
    )  # fmt: skip
    run = until(lambda: runs_of(server, study, "leased"))[0]
    body = {"lease_token": 1, "metrics": {"loss/low": 1.0}}
    assert server.client.post(f"/v1/runs/{run['id']}/complete", json=body).status_code == 200
    out, _ = ended(process)
    assert out == ""
    assert runs_of(server, study, "succeeded")[0]["metrics"] == {"loss/low": 1.0}


def test_from_files_to_a_trained_swarm_on_the_command_line(server, study, mixwright, tmp_path):
    for name, texts in make_texts().items():
        lines = [json.dumps({"text": text}) for text in texts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    domains = [f"--domain={name}={tmp_path}/{name}.jsonl" for name in ("low", "high")]
    out, _ = ended(
        mixwright("corpus", "build", *domains, "--out", tmp_path / study, "--register", "--json")
    )
    assert json.loads(out)["corpus"]["name"] == study
    worker = server.start_trainer()
    try:
        out, _ = ended(
            mixwright(
                "swarm",
                study,
                "--corpus",
                study,
                "--fidelity",
                "tiny",
                "--count",
                4,
                "--model",
                "65k",
                "--learning-rate",
                "sweep",
                "--batch-sequences",
                4,
                "--json",
            )
        )
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
    swarm = json.loads(out)
    assert (swarm["state"], swarm["runs_done"]) == ("succeeded", 4)
    assert swarm["trainer"]["optimizer"]["learning_rate"] in (0.005, 0.01, 0.02, 0.04)
    assert swarm["trainer"]["parameters"] == {"body": 31_936, "head": 16_384}
    runs = runs_of(server, study, "succeeded")
    assert all(sum(run["realised_tokens"].values()) == 19_968 for run in runs)
    points = server.client.get(f"/v1/runs/{runs[0]['id']}/points").json()["points"]
    assert [point["tokens"] for point in points] == [2560.0, 5120.0, 9984.0, 19_968.0]


def test_a_wrong_store_fails_the_swarm_with_the_reason(server, study, mixwright, tmp_path):
    (tmp_path / "a.txt").write_text("abc " * 9000)
    (tmp_path / "b.txt").write_text("xyz " * 9000)
    domains = [f"--domain=low={tmp_path}/a.txt", f"--domain=high={tmp_path}/b.txt"]
    name = f"broken-{study}"
    ended(mixwright("corpus", "build", *domains, "--out", tmp_path / name, "--register"))
    shard = tmp_path / name / "0000.train.bin"
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    worker = server.start_trainer()
    try:
        _, err = ended(
            mixwright(
                "swarm",
                study,
                "--corpus",
                name,
                "--fidelity",
                "tiny",
                "--count",
                2,
                "--model",
                "65k",
                "--batch-sequences",
                4,
            ),
            1,
        )
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
    assert "0000.train.bin is damaged" in err
    assert "0000.train.bin" in runs_of(server, study, "failed")[0]["failure"]


def test_a_cancelled_swarm_frees_its_worker_at_once(server, study, mixwright, tmp_path):
    (tmp_path / "a.txt").write_text("abc " * 9000)
    (tmp_path / "b.txt").write_text("xyz " * 9000)
    domains = [f"--domain=low={tmp_path}/a.txt", f"--domain=high={tmp_path}/b.txt"]
    name = f"cancel-{study}"
    ended(mixwright("corpus", "build", *domains, "--out", tmp_path / name, "--register"))
    trainer = {
        "corpus": name,
        "model": {"preset": "65k"},
        "optimizer": {"learning_rate": 0.01, "batch_sequences": 8},
        "tokens": 10**8,  # half an hour
    }
    body = {"count": 2, "fidelity": "tiny", "trainer": trainer}
    swarm = server.post(f"/v1/studies/{study}/swarms", body, 202)["id"]
    worker = server.start_trainer()
    try:
        until(lambda: server.client.get(f"/v1/swarms/{swarm}").json()["tokens_per_second"])
        assert server.post(f"/v1/swarms/{swarm}/cancel", {}, 200)["runs_cancelled"] == 2
        short = {**body, "trainer": {**trainer, "tokens": 20_000}}
        following = server.post(f"/v1/studies/{study}/swarms", short, 202)["id"]
        until(
            lambda: server.client.get(f"/v1/swarms/{following}").json()["state"] == "succeeded", 20
        )
    finally:
        os.killpg(worker.pid, signal.SIGKILL)


def test_optimize_proposes_trains_and_keeps_within_its_budget(server, study, mixwright, tmp_path):
    name = f"optimized-{study}"
    fidelities = [
        {"name": "small", "tokens": 4096.0, "cost": 0.25},
        {"name": "large", "tokens": 16_384.0, "cost": 1.0},
    ]
    body = {**STUDY, "name": name, "fidelities": fidelities, "target_fidelity": "large"}
    server.post("/v1/studies", {**body, "budget": {}}, 201)
    for domain, texts in make_texts().items():
        lines = [json.dumps({"text": text}) for text in texts]
        (tmp_path / f"{domain}.jsonl").write_text("\n".join(lines))
    domains = [f"--domain={one}={tmp_path}/{one}.jsonl" for one in ("low", "high")]
    ended(mixwright("corpus", "build", *domains, "--out", tmp_path / name, "--register"))
    worker = server.start_trainer()
    try:
        out, err = ended(
            mixwright(
                "optimize",
                name,
                "--corpus",
                name,
                "--budget",
                4.0,
                "--model",
                "65k",
                "--batch-sequences",
                4,
                "--at-once",
                3,
                "--json",
            )
        )
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
    result = json.loads(out)
    runs = runs_of(server, name, "succeeded")
    assert 2.5 < result["spent"] <= 4.0
    assert sum(result["runs"].values()) == len(runs)
    assert result["runs"]["large"] >= 1
    assert runs_of(server, name, "leased") == []
    assert abs(sum(result["recommendation"]["weights"].values()) - 1) < 1e-9
    assert "expected objective" in err
