"""Celery, the doorbell of training workers: a message brings a group's id, the server the rest."""

from typing import Any

from celery import Celery

from workers.settings import WorkerSettings

TASK = "mixwright.do_job"
QUEUE = "train"
_POLL_SECONDS = 0.1
_CONNECT_SECONDS = 2


def make_celery(settings: WorkerSettings) -> Celery:
    """Return the Celery app of a training worker, with its task."""
    celery = Celery("mixwright-train", set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_CONNECT_SECONDS,
        result_backend=None,
        task_acks_late=True,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        worker_enable_remote_control=bool(settings.broker_url),
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        **_broker(settings),
    )

    @celery.task(name=TASK)  # type: ignore[untyped-decorator]  # Celery has no types
    def do(group_id: str) -> None:
        from workers.group import do_group  # loads torch, in the process that trains

        do_group(settings, group_id)

    return celery


def _broker(settings: WorkerSettings) -> dict[str, Any]:
    if settings.broker_url:
        return {"broker_url": settings.broker_url}
    folder = settings.data_dir / "broker"
    options = {
        "data_folder_in": folder / "messages",
        "data_folder_out": folder / "messages",
        "control_folder": folder / "exchanges",
    }
    for path in options.values():
        path.mkdir(parents=True, exist_ok=True)
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport_options": {
            **{name: str(path) for name, path in options.items()},
            "polling_interval": _POLL_SECONDS,
        },
    }
