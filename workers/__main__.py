"""A training worker: `python -m workers`, started by `mixwright worker --queue train`.

One process trains one group at a time. On GPUs start one a device and set `CUDA_VISIBLE_DEVICES`;
on processors start one a core, each with one thread. Threads and malloc read their settings when
a process starts, so whoever starts this one has set them (see `app.worker`).
"""

import argparse
import os
import signal
import sys
import threading
import warnings

import structlog
from celery.platforms import SecurityWarning

from workers.celery_app import QUEUE, make_celery
from workers.settings import WorkerSettings


def main() -> None:
    """Train groups until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--embedded", action="store_true", help="end with the parent process")
    asked = parser.parse_args()
    settings = WorkerSettings()
    if settings.log_json:
        structlog.configure(processors=[structlog.processors.JSONRenderer()])
    if asked.embedded:
        threading.Thread(target=_end_with_parent, name="parent watch", daemon=True).start()
    # Celery warns of root because of pickle, which is switched off.
    warnings.simplefilter("ignore", SecurityWarning)
    pool = "solo" if asked.embedded else "prefork"
    make_celery(settings).worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={QUEUE}",
            f"--pool={pool}",
            f"--concurrency={asked.concurrency}",
            f"--hostname={QUEUE}-{os.getpid()}@%h",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def _end_with_parent() -> None:
    """End when the standard input, which the parent holds open, has ended.

    The group under way goes on from its checkpoint, with whoever claims it next.
    """
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
