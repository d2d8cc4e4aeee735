"""Celery, the doorbell: carries the ids of jobs from the API to workers and nothing else.

Nothing depends on a message arriving, or on its arriving once: see `app.jobs.service`.
"""

from pathlib import Path
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from app.db.session import Bell
from app.settings import Settings

TASK = "mixwright.do_job"
FIT, SUGGEST, TRAIN = "fit", "suggest", "train"
QUEUES = (FIT, SUGGEST, TRAIN)

_POLL_SECONDS = 0.1  # how often the embedded worker looks into the broker's folder
_CONNECT_SECONDS = 2  # a broker that does not answer holds up a request no longer than this

_FOLDERS = ("data_folder_in", "control_folder")

log = structlog.get_logger()


def make_celery(settings: Settings) -> Celery:
    """Return the Celery app of a deployment."""
    celery = Celery("mixwright", set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_CONNECT_SECONDS,
        result_backend=None,
        task_acks_late=True,
        task_default_queue=QUEUES[0],
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        worker_enable_remote_control=not settings.is_embedded,  # for `mixwright worker --ping`
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        **_broker(settings),
    )
    _make_folders(celery)
    return celery


def make_bell(celery: Celery) -> Bell:
    """Return a function that rings for a job, and that only warns when the broker is away."""

    def ring(job_id: str, queue: str) -> None:
        try:
            _make_folders(celery)
            celery.send_task(TASK, args=[job_id], queue=queue, retry=False)
        except (OperationalError, ChannelError, OSError) as error:
            log.warning("could not ring, the sweeper will", job=job_id, error=str(error))

    return ring


def broker_is_ready(celery: Celery) -> bool:
    """Return whether the broker answers."""
    try:
        with celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS)
            connection.default_channel.queue_declare(queue=QUEUES[0], passive=False)
    except (OperationalError, ChannelError, OSError):
        return False
    return True


def _broker(settings: Settings) -> dict[str, Any]:
    if settings.is_embedded:
        return {
            "broker_url": "filesystem://localhost",
            "broker_transport_options": _folder(settings.data_dir / "broker"),
        }
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": {
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": _CONNECT_SECONDS,
        },
    }


def _make_folders(celery: Celery) -> None:
    """Make the embedded broker's folders, which Celery expects to be there."""
    for name in _FOLDERS:
        if name in celery.conf.broker_transport_options:
            Path(celery.conf.broker_transport_options[name]).mkdir(parents=True, exist_ok=True)


def _folder(folder: Path) -> dict[str, Any]:
    """Return the options that make `folder` the broker."""
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "exchanges"),
        "polling_interval": _POLL_SECONDS,
    }
