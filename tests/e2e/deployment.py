"""Real processes for tests that kill them: a server with its worker, embedded or apart."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).parents[2]
LEASE_SECONDS, SWEEP_SECONDS = 2.0, 0.5
SLOW = {"surrogate": "share_power", "options": {"terms": 2, "starts": 2}}  # takes seconds

_SERVE = """
import sys
from app.serving import serve
serve(
    port=int(sys.argv[1]),
    train_workers=0,
    announce=lambda line: print(line, flush=True),
)
"""


class Deployment:
    """A server and its workers. Without `broker_url` the server brings its own worker."""

    def __init__(self, data_dir, database_url="", broker_url=""):
        self.data_dir = data_dir
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "MIXWRIGHT_DATA_DIR": str(data_dir),
            "MIXWRIGHT_DATABASE_URL": database_url,
            "MIXWRIGHT_BROKER_URL": broker_url,
            "MIXWRIGHT_LEASE_SECONDS": str(LEASE_SECONDS),
            "MIXWRIGHT_SWEEP_SECONDS": str(SWEEP_SECONDS),
            "MIXWRIGHT_CHECKPOINT_SECONDS": "0.3",
        }
        self.is_embedded = not broker_url
        self._port = free_port()  # the same after a crash
        self._processes = []
        self._log = (data_dir / "processes.log").open("ab")
        self.server = self.client = None

    def start(self):
        """Start the server and wait until it listens; again on the same port after a crash."""
        command = [sys.executable, "-c", _SERVE, str(self._port)]
        self.server = self._spawn(command, stdout=subprocess.PIPE)
        line = self.server.stdout.readline().decode()
        assert line.startswith("Mixwright listens on http://"), self.log()
        self.announced = line
        url = line.split()[3].rstrip(";")
        if self.client is not None:
            self.client.close()
        self._port = int(url.rpartition(":")[2])
        self.client = httpx.Client(base_url=url, timeout=90)

    def start_worker(self):
        """Start one more worker."""
        options = ["--embedded"] if self.is_embedded else []
        command = [sys.executable, "-m", "app.worker", *options]
        return self._spawn(command, stdin=subprocess.PIPE)

    def start_trainer(self):
        """Start a worker that trains swarms."""
        self._environment["MIXWRIGHT_URL"] = f"http://127.0.0.1:{self._port}"
        options = ["--embedded"] if self.is_embedded else []
        return self._spawn([sys.executable, "-m", "workers", *options], stdin=subprocess.PIPE)

    def embedded_worker(self):
        """The process id of the server's own worker, once it is there."""
        (pid,) = until(lambda: children_of(self.server.pid))
        return pid

    def stop(self):
        """Kill what is left."""
        if self.client is not None:
            self.client.close()
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        self._log.close()

    def log(self):
        self._log.flush()
        return (self.data_dir / "processes.log").read_text()

    def _spawn(self, command, **streams):
        process = subprocess.Popen(
            command,
            env=self._environment,
            cwd=self.data_dir,
            stderr=self._log,
            start_new_session=True,
            **streams,
        )
        self._processes.append(process)
        return process

    def create_study(self, count=96):
        """Store a study of 17 domains and 13 metrics with `count` runs; return its id."""
        domains, metrics = [f"d{i}" for i in range(17)], [f"m{i}" for i in range(13)]
        study = {
            "name": f"study-{time.time_ns()}",
            "domains": [{"name": name} for name in domains],
            "metrics": [{"name": name} for name in metrics],
            "fidelities": [{"name": "1m"}],
        }
        rng = np.random.default_rng(0)
        mixtures = rng.dirichlet(np.ones(17), count)
        values = 3 + mixtures @ rng.normal(size=(17, 13)) + 0.01 * rng.normal(size=(count, 13))
        runs = [
            {
                "fidelity": "1m",
                "weights": dict(zip(domains, weights, strict=True)),
                "metrics": dict(zip(metrics, measured, strict=True)),
            }
            for weights, measured in zip(mixtures.tolist(), values.tolist(), strict=True)
        ]
        study_id = self.post("/v1/studies", study, 201)["id"]
        self.post(f"/v1/studies/{study_id}/runs:batch", {"runs": runs}, 201)
        return study_id

    def post(self, path, body, status):
        response = self.client.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    def ask_for_fit(self, study_id, **body):
        return self.post(f"/v1/studies/{study_id}/fits", {**SLOW, **body}, 202)["id"]

    def read(self, fit_id, wait=0):
        response = self.client.get(f"/v1/fits/{fit_id}", params={"wait": wait})
        assert response.status_code == 200, response.text
        return response.json()

    def ended(self, fit_id):
        """The fit, once it has ended in one way or another."""

        def found():
            fit = self.read(fit_id, wait=60)
            return fit if fit["state"] not in ("queued", "running") else None

        return until(found, 240)

    def wait_until_running(self, fit_id):
        until(lambda: self.read(fit_id)["state"] == "running")


def free_port():
    """A port for a server that will be killed and started again on it.

    Below those that systems give to clients (32768 and above): one of them could take it while the
    server is down, even the client that calls for the server. No two workers of pytest share one.
    """
    first = 20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = first + secrets.randbelow(1_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def children_of(pid):
    """The process ids of the children of `pid`, whichever thread made them."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def is_alive(pid):
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=120.0):
    """Return what `condition` gives once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"it did not happen within {seconds} seconds")
