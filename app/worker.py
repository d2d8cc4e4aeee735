"""A worker for fits and suggestions: `python -m app.worker`.

Started by `mixwright worker` and `mixwright serve`. One of the queue `fit` does both; one of the
queue `suggest` keeps itself free of fits, which take longer.

Workers that train are `python -m workers`; this module only starts them.

Numeric libraries read their number of threads when they are loaded, so a worker is a process of
its own whose environment says it from the start.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from celery.platforms import SecurityWarning
from celery.signals import task_postrun, task_prerun

from app.celery_app import FIT, SUGGEST, TRAIN, make_celery
from app.logs import configure_logs
from app.settings import Settings

_LOOK_SECONDS = 0.2
_RESTART_SECONDS = 1.0
_STOP_SECONDS = 5.0

log = structlog.get_logger()


def worker(queue: str, concurrency: int = 1) -> None:
    """Become a worker of `queue` that does `concurrency` jobs at a time, and never return."""
    command = [*_command(queue), "--concurrency", str(concurrency)]
    os.execve(command[0], command, one_thread())  # noqa: S606  - our own interpreter


@contextmanager
def local_workers(settings: Settings, url: str, trainers: int) -> Iterator[None]:
    """Keep a worker for fits, and `trainers` for training, beside this process.

    They are started again when they die, and they end when this process does, however that dies:
    they see the end of their standard input.
    """
    stop = threading.Event()
    environment = one_thread() | {"MIXWRIGHT_DATA_DIR": str(settings.data_dir)}
    environment |= {"MIXWRIGHT_URL": url}
    if settings.worker_token is not None:
        environment |= {"MIXWRIGHT_TOKEN": settings.worker_token.get_secret_value()}
    keepers = [
        threading.Thread(target=_keep, args=(queue, environment, stop), name="worker keeper")
        for queue in [FIT, *[TRAIN] * trainers]
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stop.set()
        for keeper in keepers:
            keeper.join()


def can_train() -> bool:
    """Return whether what training needs is installed."""
    return importlib.util.find_spec("torch") is not None


def _keep(queue: str, environment: Mapping[str, str], stop: threading.Event) -> None:
    while not stop.is_set():
        process = subprocess.Popen(  # noqa: S603  - our own interpreter
            [*_command(queue), "--embedded"],
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the terminal is for the server alone
        )
        while process.poll() is None and not stop.wait(_LOOK_SECONDS):
            pass
        process.communicate()  # ends its standard input, and waits for its end
        if not stop.is_set():
            log.warning("the worker died, starting another", status=process.returncode)
            stop.wait(_RESTART_SECONDS)


def _command(queue: str) -> list[str]:
    if queue == TRAIN:
        return [sys.executable, "-m", "workers"]
    return [sys.executable, "-m", "app.worker", "--queue", queue]


def one_thread() -> dict[str, str]:
    """Return the environment with one thread per job, and memory kept once it was had.

    The matrices of a fit, and of a proxy, are small: on a busy machine, threads that wait for each
    other made one twenty times slower. Processors are used by `--concurrency`. Training frees and
    takes large blocks each step: handing them back to the system costs a third of its time.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    waiting = {"KMP_BLOCKTIME": "0"}
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}
    return threads | waiting | malloc | os.environ


def main() -> None:
    """Run a worker until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", choices=(FIT, SUGGEST), default=FIT)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--embedded", action="store_true", help="end with the parent process")
    asked = parser.parse_args()
    settings = Settings()
    configure_logs(as_json=settings.log_json)
    if asked.embedded:
        threading.Thread(target=_end_with_parent, name="parent watch", daemon=True).start()
    pool = "solo" if asked.embedded else "prefork"
    _run(settings, asked.queue, asked.concurrency, pool)


def _run(settings: Settings, queue: str, concurrency: int, pool: str) -> None:
    from app.tasks import add_tasks  # loads the core: the watch for the parent is on by now

    # Celery warns of root because of pickle, which is switched off.
    warnings.simplefilter("ignore", SecurityWarning)
    celery = make_celery(settings)
    add_tasks(celery, settings)
    celery.worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={','.join([FIT, SUGGEST] if queue == FIT else [queue])}",
            f"--pool={pool}",
            f"--concurrency={concurrency}",
            f"--hostname={queue}-{os.getpid()}@%h",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def _end_with_parent() -> None:
    """End soon after the standard input, which the parent holds open, has ended.

    A job that is nearly done may finish; what is not will be done again.
    """
    idle = threading.Event()
    idle.set()
    task_prerun.connect(lambda **_: idle.clear(), weak=False)
    task_postrun.connect(lambda **_: idle.set(), weak=False)
    while os.read(sys.stdin.fileno(), 4096):
        pass
    idle.wait(_STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
