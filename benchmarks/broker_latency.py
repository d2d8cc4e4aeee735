"""Which broker for `mixwright serve` alone? Prints a Markdown table; see docs/adr/0002.

    python benchmarks/broker_latency.py [--messages 200] [--idle-seconds 20]

Three transports of kombu carry job ids from a server to a worker in a process of its own, or, for
the in-memory transport, in a thread of the server. Measured are: the time from ringing to the
first line of the task, the processor time that an idle worker takes, how many of a burst of
messages arrive, and by how much a thread of the server wakes up late while the worker fits.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from celery import Celery
from celery.worker import WorkController

POLL_SECONDS = 0.1
FIT_SECONDS = 5.0


def transport(name: str, folder: Path) -> dict:
    """Return the settings of a Celery app on the transport `name`."""
    messages, control = folder / "messages", folder / "control"
    options = {"polling_interval": POLL_SECONDS}
    if name == "filesystem":
        messages.mkdir(exist_ok=True)
        control.mkdir(exist_ok=True)
        options |= {
            "data_folder_in": str(messages),
            "data_folder_out": str(messages),
            "control_folder": str(control),
        }
    urls = {
        "filesystem": "filesystem://localhost",
        "sqlalchemy": f"sqla+sqlite:///{folder / 'broker.db'}",
        "memory": "memory://localhost",
        "redis": "redis://127.0.0.1:6379/9",
    }
    if name in ("redis", "sqlalchemy"):  # one does not poll, the other hands options to the engine
        options = {}
    return {"broker_url": urls[name], "broker_transport_options": options}


def make_celery(name: str, folder: Path) -> Celery:
    """Return an app with two tasks: one notes when it starts, the other fits for a while."""
    celery = Celery("bench", set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        **transport(name, folder),
    )

    @celery.task(name="note")
    def note(rung_at: float) -> None:
        with (folder / "notes").open("a") as notes:
            notes.write(f"{time.time() - rung_at}\n")

    @celery.task(name="fit")
    def fit() -> None:
        (folder / "fitting").touch()
        fit_for(FIT_SECONDS)
        (folder / "fitting").unlink()

    return celery


def fit_for(seconds: float) -> None:
    """Fit `share_power` to made-up runs, again and again."""
    from mixwright.surrogates import build_surrogate

    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(17), 512)
    values = 3 + 0.1 * mixtures[:, :3] + 0.01 * rng.normal(size=(512, 3))
    end = time.time() + seconds
    while time.time() < end:
        build_surrogate("share_power", {}).fit(mixtures, values, rng)


def run_worker(celery: Celery) -> None:
    """Take messages until killed."""
    WorkController(
        app=celery,
        pool="solo",
        concurrency=1,
        hostname="bench@localhost",
        loglevel="ERROR",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()


def processor_seconds(pid: int) -> float:
    """Return the processor time a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def received(folder: Path) -> list[float]:
    notes = folder / "notes"
    return [float(line) for line in notes.read_text().split()] if notes.exists() else []


def wait_for(count: int, folder: Path, seconds: float) -> list[float]:
    """Return the latencies noted once there are `count`, or after `seconds`."""
    end = time.time() + seconds
    while time.time() < end and len(received(folder)) < count:
        time.sleep(0.02)
    return received(folder)


def lateness(folder: Path) -> list[float]:
    """Return by how much a thread wakes up late while the worker fits."""
    while not (folder / "fitting").exists():
        time.sleep(0.01)
    late = []
    while (folder / "fitting").exists():
        before = time.perf_counter()
        time.sleep(0.005)
        late.append(time.perf_counter() - before - 0.005)
    return late


def measure(name: str, folder: Path, messages: int, idle_seconds: float) -> str:
    """Return the row of the table for one transport."""
    celery = make_celery(name, folder)
    if name == "memory":
        threading.Thread(target=run_worker, args=(celery,), daemon=True).start()
        worker_pid = os.getpid()
    else:
        command = [sys.executable, __file__, "--worker", name, str(folder)]
        worker = subprocess.Popen(command)
        worker_pid = worker.pid
    celery.send_task("note", args=[time.time()])
    if not wait_for(1, folder, 60):
        raise RuntimeError(f"the worker of '{name}' does not start")
    rng = np.random.default_rng(0)
    for _ in range(messages):
        time.sleep(rng.uniform(0, 2 * POLL_SECONDS))
        celery.send_task("note", args=[time.time()])
    latencies = wait_for(messages + 1, folder, 60)[1:]
    burst = 10 * messages
    for _ in range(burst):
        celery.send_task("note", args=[time.time()])
    arrived = len(wait_for(messages + 1 + burst, folder, 120)) - messages - 1
    before = processor_seconds(worker_pid)
    time.sleep(idle_seconds)
    idle = (processor_seconds(worker_pid) - before) / idle_seconds
    celery.send_task("fit")
    late = lateness(folder)
    if name != "memory":
        worker.kill()
        worker.wait()
    return (
        f"| {name} | {1e3 * statistics.median(latencies):.0f} | "
        f"{1e3 * np.quantile(latencies, 0.99):.0f} | {100 * idle:.2f} | {arrived:,}/{burst:,} | "
        f"{1e3 * np.quantile(late, 0.99):.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--transports", nargs="+", default=["filesystem", "sqlalchemy", "memory"])
    parser.add_argument("--worker", nargs=2, metavar=("TRANSPORT", "FOLDER"))
    parser.add_argument("--measure", help="measure one transport in this process")
    asked = parser.parse_args()
    if asked.worker:
        run_worker(make_celery(asked.worker[0], Path(asked.worker[1])))
    elif asked.measure:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(asked.measure, Path(folder), asked.messages, asked.idle_seconds)
        print(row, flush=True)
        os._exit(0)  # the in-memory worker's thread would not end
    else:
        print(
            f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n\n"
            "| transport | ring to start, p50 ms | p99 ms | idle, % of a processor | "
            "burst arrived | server wakes late during a fit, p99 ms |\n"
            "| --- | --- | --- | --- | --- | --- |",
            flush=True,
        )
        for name in asked.transports:
            command = [sys.executable, __file__, "--measure", name]
            sizes = ["--messages", str(asked.messages), "--idle-seconds", str(asked.idle_seconds)]
            subprocess.run([*command, *sizes], check=True)


if __name__ == "__main__":
    main()
